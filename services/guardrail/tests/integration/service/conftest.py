"""One guardrail for the tests that only ask it, with everything built in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from guard_process import GuardProcess


@pytest.fixture(scope="session")
def guard(tmp_path_factory) -> Iterator[GuardProcess]:
    own = tmp_path_factory.mktemp("guard")
    (own / "state").mkdir()
    process = GuardProcess(own, {"STATE": str(own / "state")}).wait()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def light(tmp_path_factory) -> dict[str, str]:
    """A policy without models: for what is not about them, the service starts in half the time."""
    path = tmp_path_factory.mktemp("policy") / "light.yaml"
    path.write_text("version: 1\nlayers: [normalise, patterns]\n")
    return {"POLICY": str(path)}


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., GuardProcess]]:
    started = []

    def start(settings: dict[str, str] | None = None, own: Path = tmp_path, **how) -> GuardProcess:
        process = GuardProcess(own, settings, **how)
        started.append(process)
        return process.wait()

    yield start
    for process in started:
        process.stop()
