"""One sandbox for all modules, given to each as it is after `sandbox up`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.checkout import Checkout, make_checkout

_numbers = count()
_OF_THE_SANDBOX = {"sandbox", "sandbox.lock", "environment"}
"""What of a state directory a running sandbox needs."""


@pytest.fixture(scope="session")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The checkout of a run, or of one of its workers: a sandbox of its own would cost each module 3 s."""
    made = make_checkout(tmp_path_factory.mktemp("operator") / "check out")
    yield made
    made.run("sandbox", "down")


@pytest.fixture(scope="module")
def checkout(operator: Checkout) -> Iterator[Checkout]:
    """The checkout with its sandbox up and empty; what the module leaves is removed."""
    operator.run("sandbox", "up")
    yield operator
    operator.run("sandbox", "reset")
    _remove_all_but(operator.root / ".mutx", _OF_THE_SANDBOX)
    _remove_all_but(operator.root, {".mutx"})
    make_checkout(operator.root)


def _remove_all_but(directory: Path, kept: set[str]) -> None:
    for path in directory.iterdir():
        if path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.fixture
def tenant(checkout: Checkout) -> str:
    """The id of a tenant that no other test uses, with a spec; the sandbox takes what is left of it along."""
    name = f"tenant-{next(_numbers)}"
    checkout.write_spec(name)
    return name
