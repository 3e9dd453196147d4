"""Two trial hosts for the tests that leave them as they found them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.checkout import make_checkout
from tests.support.machines import Hosts


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """A checkout whose sandbox has `trial-1` and `trial-2`."""
    made = Hosts(make_checkout(tmp_path_factory.mktemp("hosts") / "check out"))
    made.up("2")
    yield made
    made.checkout.run("sandbox", "down")
