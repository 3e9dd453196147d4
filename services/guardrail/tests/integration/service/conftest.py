"""One guardrail for the tests that only ask it, with everything built in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from guard_process import GuardProcess


def until(holds: Callable[[], bool], *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def guard(tmp_path_factory) -> Iterator[GuardProcess]:
    own = tmp_path_factory.mktemp("guard")
    (own / "state").mkdir()
    process = GuardProcess(own, {"STATE": str(own / "state")}).wait(until)
    yield process
    process.stop()


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., GuardProcess]]:
    started = []

    def start(settings: dict[str, str] | None = None, **how) -> GuardProcess:
        process = GuardProcess(tmp_path, settings, **how)
        started.append(process)
        return process.wait(until)

    yield start
    for process in started:
        process.stop()
