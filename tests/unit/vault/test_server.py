"""What is done with a store before its server starts: only one that nobody can have claimed is removed."""

from __future__ import annotations

from itertools import product

import pytest

from mutx_infra.vault.server import Start, decide_start


@pytest.mark.parametrize(
    ("has_store", "has_begun", "is_complete", "start"),
    [
        (False, False, False, Start.BEGIN),
        (False, True, False, Start.BEGIN),
        (True, True, False, Start.CLEAR),
        (True, False, False, Start.REFUSE_FOREIGN),
        (True, False, True, Start.SERVE),
        (True, True, True, Start.SERVE),
        (False, False, True, Start.REFUSE_LOST),
        (False, True, True, Start.REFUSE_LOST),
    ],
    ids=[
        "new", "cut off before it stored", "cut off", "brought back", "complete", "cut off between the marks",
        "lost", "lost between the marks",
    ],
)  # fmt: skip
def test_what_is_done(has_store: bool, has_begun: bool, is_complete: bool, start: Start) -> None:
    assert decide_start(has_store=has_store, has_begun=has_begun, is_complete=is_complete) is start


def test_a_store_goes_only_where_its_beginning_is_marked_and_its_end_is_not() -> None:
    cleared = [
        case
        for case in product((False, True), repeat=3)
        if decide_start(has_store=case[0], has_begun=case[1], is_complete=case[2]) is Start.CLEAR
    ]

    assert cleared == [(True, True, False)]
