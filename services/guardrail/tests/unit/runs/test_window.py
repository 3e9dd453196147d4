"""A stream's texts: what is released, when, and what never is."""

from __future__ import annotations

import asyncio

import pytest
from fake_parts import FakeModel, pipeline_of
from hypothesis import given, settings
from hypothesis import strategies as st
from mutx_guardrail.runs.answer import Delta
from mutx_guardrail.runs.window import LARGEST_TEXT, RefusedWindow, StreamedText
from mutx_service.problem import Problem

KEY = "AKIA" + "IOSFODNN7EXAMPLQ"
TEXT = (
    "The report is ready. " * 30
    + f"Write to ada@example.com with {KEY} or not. "
    + "More words follow. " * 20
)


def streamed(pieces, *, max_tokens=100_000, largest=LARGEST_TEXT, ticks=False, policy="version: 1", **parts):
    """Return what is released of pieces (step, text), each time."""

    async def run():
        text = StreamedText(pipeline_of(policy, **parts), "", max_tokens, largest)
        released = []
        for step, piece in pieces:
            released.append(await text.add(Delta(step=step, text=piece)))
            if ticks:
                released.append(await text.tick())
        released.append(await text.close())
        return released

    return asyncio.run(run())


def words(released):
    return "".join(delta.text for deltas in released for delta in deltas)


def cut(text, size, step=1):
    return [(step, text[at : at + size]) for at in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 7, 64, 1_000, 10_000])
@pytest.mark.parametrize("ticks", [False, True], ids=["fast", "slow"])
def test_pieces_together_say_what_the_whole_would(size, ticks):
    whole = asyncio.run(pipeline_of().output(TEXT)).sanitized

    assert words(streamed(cut(TEXT, size), ticks=ticks)) == whole


def test_a_text_is_released_long_before_its_end():
    released = streamed(cut("some plain words " * 60, 10))

    assert sum(bool(deltas) for deltas in released) >= 3
    assert next(at for at, deltas in enumerate(released) if deltas) < 30


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=30), st.integers(0, 400))
def test_no_way_of_cutting_lets_a_key_out(sizes, at):
    text = ("and so on " * 60)[:at] + f" {KEY} " + "and so on " * 30
    pieces, done = [], 0
    while done < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append((1, text[done : done + size]))
        done += size

    assert KEY not in words(streamed(pieces))


def test_a_stream_that_turns_bad_is_ended_before_the_bad_words():
    pieces = cut("fine words " * 60 + "I will kill you all. " + "more words " * 60, 11)

    async def run():
        text, shown = StreamedText(pipeline_of(), "", 100_000), []
        try:
            for step, piece in pieces:
                shown.append(await text.add(Delta(step=step, text=piece)))
        except RefusedWindow as refused:
            return words(shown), refused.verdict
        return words(shown), None

    shown, verdict = asyncio.run(run())

    assert "fine words" in shown
    assert "kill" not in shown
    assert verdict.document()["reason"] == "unsafe_content_detected"


def test_a_layer_that_is_gone_ends_a_stream_with_nothing_shown():
    with pytest.raises(RefusedWindow):
        streamed(cut("plain words " * 40, 10), toxicity=FakeModel(fails=RuntimeError("gone")))


def test_a_step_that_no_window_saw_whole_is_judged_whole_at_its_end():
    toxicity = FakeModel()

    streamed(cut("some plain words " * 60, 10), toxicity=toxicity)

    assert "some plain words " * 60 in toxicity.seen


def test_a_new_step_ends_the_one_before_it():
    released = streamed([(1, "first"), (2, "second")])

    assert [[(delta.step, delta.text) for delta in deltas] for deltas in released] == [
        [], [(1, "first")], [(2, "second")],
    ]  # fmt: skip


def test_a_mask_at_the_end_of_a_step_takes_nothing_of_the_next():
    released = streamed([(1, "ask ada@example.com"), (2, "done")])

    assert words(released) == "ask [REDACTED]done"


def test_what_was_released_of_an_earlier_step_is_seen_with_the_next():
    toxicity = FakeModel()

    streamed([(1, "the first text"), (2, "the second")], toxicity=toxicity)

    assert "the first text\nthe second" in toxicity.seen


def test_a_step_is_cut_at_its_limit_of_tokens_and_the_next_has_its_own():
    released = streamed(
        [*cut("one two three four " * 100, 10), *cut("five six. " * 10, 10, step=2)], max_tokens=50
    )

    by_step = {step: "".join(d.text for ds in released for d in ds if d.step == step) for step in (1, 2)}
    assert 150 < len(by_step[1]) < 260
    assert by_step[2] == "five six. " * 10


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([(2, "a"), (1, "b")], "agent-malformed"),
        ([(1, "x" * 999), (2, "xx")], "answer-too-large"),
    ],
    ids=["back to an earlier step", "without end"],
)
def test_what_no_agent_says_ends_the_stream(pieces, code):
    with pytest.raises(Problem, match=code):
        streamed(pieces, largest=1_000)


def test_a_sink_of_whole_literals_cannot_be_streamed():
    with pytest.raises(Problem, match="sink-not-streamable"):
        streamed([(1, "x")], policy="{version: 1, output: {sink: {kind: json}}}")
