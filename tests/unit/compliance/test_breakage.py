"""Every control that a suite looks at is broken by some test: a check that nobody has seen fail proves nothing."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.breakage import BREAKAGES, BROKEN_ELSEWHERE, UNBREAKABLE

SUITES = Path(__file__).resolve().parents[2] / "compliance"
HOSTS = SUITES.with_name("hosts")


def test_every_control_that_is_looked_at_is_broken_somewhere() -> None:
    looked_at = {
        name
        for suite in SUITES.glob("test_*.py")
        for name in re.findall(r'mark\.control\("([^"]+)"\)', suite.read_text(encoding="utf-8"))
    }

    told = [*BREAKAGES, *BROKEN_ELSEWHERE, *UNBREAKABLE]
    assert {*told} == looked_at
    assert len(told) == len({*told})


def test_what_is_broken_elsewhere_is() -> None:
    missing = [
        control
        for control, file in BROKEN_ELSEWHERE.items()
        if not re.search(rf'"{control.partition("-")[0]}-', (HOSTS / file).read_text(encoding="utf-8"))
    ]

    assert missing == []
