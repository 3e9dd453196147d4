"""One sandbox for the tests that share a cloud."""

from collections.abc import Iterator

import pytest

from tests.support.checkout import Checkout, make_checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout whose sandbox is up."""
    made = make_checkout(tmp_path_factory.mktemp("operator") / "check out")
    made.run("sandbox", "up")
    yield made
    made.run("sandbox", "down")
