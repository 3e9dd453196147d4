"""One set of detectors for all: loading takes a second."""

from __future__ import annotations

import pytest
from mutx_guardrail.classifiers import Classifiers, load_classifiers


@pytest.fixture(scope="session")
def classifiers() -> Classifiers:
    return load_classifiers()
