"""The journal: a line that has to be written fails its writer where it cannot be."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest
from mutx_service.journal import OURS, must_write_event, set_up_logging, write_event


class FullDisk(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(28, "no space left")


@pytest.fixture
def journal():
    root, ours = logging.getLogger(), logging.getLogger(OURS)
    hook = sys.excepthook
    before, levels, raises = root.handlers[:], (root.level, ours.level), logging.raiseExceptions
    yield set_up_logging
    root.handlers[:], logging.raiseExceptions = before, raises
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(capture=False)
    sys.excepthook = hook


def test_a_line_that_must_be_written_fails_where_it_cannot(journal):
    journal(FullDisk())

    with pytest.raises(OSError, match="no space left"):
        must_write_event("llm-call-started", {"agent": "a"})


def test_another_line_is_lost_in_silence(journal):
    journal(FullDisk())

    write_event("listening", {"agent": "a"})


def test_both_are_one_json_object_a_line(journal):
    stream = io.StringIO()
    journal(stream)

    must_write_event("llm-call-started", {"agent": "a"})
    write_event("listening", {"port": 1})

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == [
        "llm-call-started",
        "listening",
    ]
