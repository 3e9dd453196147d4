"""What holds for the service's tests: no network in `unit`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_socket

TESTS = Path(__file__).resolve().parent

# The support modules are imported by name; appended, so that nothing installed is shadowed.
sys.path += [str(TESTS / "support"), str(TESTS.parents[1] / "service_kit/tests/support")]


@pytest.fixture(autouse=True)
def _no_network_in_the_unit_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    if "unit" not in request.path.relative_to(TESTS).parts:
        yield
        return
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()
