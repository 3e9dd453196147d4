"""Clients that a test leaves open are closed after it: each has a thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wire import close_all


@pytest.fixture(autouse=True)
def _no_client_outlives_its_test() -> Iterator[None]:
    yield
    close_all()
