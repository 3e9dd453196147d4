"""One sandbox for the tests that share a cloud."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.checkout import Checkout, make_checkout

_numbers = count()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout whose sandbox is up."""
    made = make_checkout(tmp_path_factory.mktemp("operator") / "check out")
    made.run("sandbox", "up")
    yield made
    made.run("sandbox", "down")


@pytest.fixture
def tenant(checkout: Checkout) -> str:
    """The id of a tenant that no other test uses, with a spec; the sandbox takes what is left of it along."""
    name = f"tenant-{next(_numbers)}"
    checkout.write_spec(name)
    return name
