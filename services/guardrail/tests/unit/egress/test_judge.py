"""What the egress tells the guard of the texts of a call."""

from __future__ import annotations

import asyncio

from fake_guard import FakeGuard
from mutx_guardrail.document import LONGEST_TASK, Origin
from mutx_guardrail.egress.judge import Judge
from mutx_guardrail.egress.texts import Slot


def judged(*texts):
    guard = FakeGuard()
    parts = [
        Slot(text, origin, lambda _changed: None, is_said=origin is Origin.USER) for text, origin in texts
    ]
    asyncio.run(Judge(guard, guard.admit).request(parts, "research"))
    return guard


def test_without_a_user_there_is_no_task():
    assert judged(("a page", Origin.TOOL)).tasks == {"a page": ""}


def test_a_long_task_is_cut():
    guard = judged(("x" * (LONGEST_TASK + 1), Origin.USER), ("a page", Origin.TOOL))

    assert len(guard.tasks["a page"]) == LONGEST_TASK
