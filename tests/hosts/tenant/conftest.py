"""One tenant for all files here, which tell its life in the order of their names; the last one ends it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.checkout import Checkout, make_checkout
from tests.support.onboarded import Onboarded, onboard


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The operator's checkout, whose sandbox has a tailnet and runs machines."""
    made = make_checkout(tmp_path_factory.mktemp("tenant") / "check out")
    made.run("sandbox", "up", "--hosts")
    yield made
    made.run("sandbox", "down")


@pytest.fixture(scope="session")
def tenant(checkout: Checkout) -> Onboarded:
    """Its five hosts run, have joined the tailnet, and are hardened over it."""
    return onboard(checkout)
