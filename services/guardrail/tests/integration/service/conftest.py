"""One guardrail for the tests that only ask it, with everything built in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from guard_process import GuardProcess


@pytest.fixture(scope="session")
def guard(tmp_path_factory) -> Iterator[GuardProcess]:
    own = tmp_path_factory.mktemp("guard")
    (own / "state").mkdir()
    process = GuardProcess(own, {"STATE": str(own / "state")}).wait()
    yield process
    process.stop()


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., GuardProcess]]:
    started = []

    def start(settings: dict[str, str] | None = None, **how) -> GuardProcess:
        process = GuardProcess(tmp_path, settings, **how)
        started.append(process)
        return process.wait()

    yield start
    for process in started:
        process.stop()
