"""No test under a service's `tests/unit` opens a connection: each conftest of a service takes this fixture in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import pytest_socket


@pytest.fixture(autouse=True)
def no_network_in_the_unit_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse sockets, but for unix ones, while a unit test runs."""
    tests = next(parent for parent in request.path.parents if parent.name == "tests")
    if "unit" not in request.path.relative_to(tests).parts:
        yield
        return
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()
