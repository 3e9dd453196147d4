"""Tests that tell a story keep their order, whatever is shuffled or left out."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import stories_in_order


@dataclass(frozen=True)
class Item:
    """As far as the order is about it, a test as pytest has it."""

    path: Path
    number: int

    def get_closest_marker(self, name: str) -> str | None:
        return name if name == "story" and self.path.name.startswith("story") else None


WRITTEN = [Item(Path(file), n) for file in ("story-a", "others", "story-b") for n in range(6)]


def shuffled(seed: int) -> list[Item]:
    """Return the tests as pytest-randomly leaves them: files in any order, tests in any order within them."""
    chance = random.Random(seed)
    files = [
        [item for item in WRITTEN if item.path == path] for path in {item.path: None for item in WRITTEN}
    ]
    for tests in files:
        chance.shuffle(tests)
    chance.shuffle(files)
    return [item for tests in files for item in tests if item.number != 2]


def test_a_story_keeps_its_order_and_nobody_takes_another_s_place() -> None:
    for seed in range(20):
        before = shuffled(seed)

        after = stories_in_order(before, WRITTEN)  # type: ignore[arg-type]

        assert [item.path for item in after] == [item.path for item in before]  # type: ignore[union-attr]
        for story in ("story-a", "story-b"):
            assert [item.number for item in after if item.path.name == story] == [0, 1, 3, 4, 5]
        others = [item for item in before if item.path.name == "others"]
        assert [item for item in after if item.path.name == "others"] == others
