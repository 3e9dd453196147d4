"""A sandbox with a tailnet for each module, empty for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.checkout import Checkout, make_checkout
from tests.support.tailnet_checkout import Tailnet


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    made = make_checkout(tmp_path_factory.mktemp("tailnet") / "check out")
    made.run("sandbox", "up", "--tailnet")
    yield made
    made.run("sandbox", "down")


@pytest.fixture
def tailnet(checkout: Checkout) -> Iterator[Tailnet]:
    yield Tailnet(checkout)
    checkout.run("sandbox", "reset")
