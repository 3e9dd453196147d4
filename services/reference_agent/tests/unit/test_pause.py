"""The pause: it is the file, and what cannot be known counts as paused."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest
from mutx_reference_agent.pause import Pause, PauseSwitch
from mutx_service.problem import Problem


def a_switch(directory) -> PauseSwitch:
    return PauseSwitch(directory, now=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def test_a_pause_is_seen_by_another_process_until_it_is_cleared(tmp_path):
    mine, other = a_switch(tmp_path), a_switch(tmp_path)

    pause = mine.set("guard.acme.internal", "too many errors")

    assert pause == Pause("2026-01-02T03:04:05+00:00", "guard.acme.internal", "too many errors")
    assert other.read() == pause
    other.clear()
    assert (mine.is_paused(), mine.read()) == (False, None)


def test_a_second_pause_keeps_the_first_s_beginning(tmp_path):
    first = a_switch(tmp_path).set("guard", "one")

    assert PauseSwitch(tmp_path).set("other", "two") == first


@pytest.mark.parametrize("content", ["", "{", "[]", '{"since": 1}'])
def test_a_file_made_by_hand_pauses_too(tmp_path, content):
    (tmp_path / "paused").write_text(content)

    assert a_switch(tmp_path).read() == Pause()


def test_a_link_that_leads_nowhere_pauses_too(tmp_path):
    (tmp_path / "paused").symlink_to(tmp_path / "nowhere")

    assert a_switch(tmp_path).is_paused()


def test_a_state_directory_that_went_away_pauses(tmp_path):
    switch = a_switch(tmp_path / "state")
    (tmp_path / "state").mkdir()
    assert not switch.is_paused()

    shutil.rmtree(tmp_path / "state")

    assert switch.is_paused()


def test_a_pause_that_cannot_be_kept_holds_in_this_process(tmp_path):
    switch = a_switch(tmp_path / "state")
    (tmp_path / "state").mkdir()
    shutil.rmtree(tmp_path / "state")

    with pytest.raises(Problem) as told:
        switch.set("guard", "x")

    (tmp_path / "state").mkdir()
    assert told.value.code == "pause-unwritable"
    assert switch.is_paused()
    switch.clear()
    assert not switch.is_paused()
