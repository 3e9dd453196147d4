"""A stream shows what a whole would have, in pieces, and nothing that was not judged."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutx_guardrail_client import GuardUnavailable, Refused
from mutx_guardrail_client.window import CONTEXT, LARGEST_PIECE, LONGEST
from wire import REFUSAL, Guards, allowing, echo, raw, releasing

TEXT = "A word or two, then jane@example.com and some more. " * 40


def chunks(text, size):
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 7, 100, 5_000])
def test_a_stream_equals_the_whole(size):
    guard = Guards().sync()

    shown = list(guard.stream().through(chunks(TEXT, size)))

    assert "".join(shown) == guard.output(TEXT).text
    assert "jane" not in "".join(shown)


@given(
    st.lists(st.sampled_from(["jane@example.com", " ", "word", "é", "🙂", "\n", "x" * 90]), max_size=60),
    st.integers(1, 50),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_written_a_stream_equals_the_whole(words, size):
    text = "".join(words)
    guard = Guards().sync()

    assert "".join(guard.stream(step=40).through(chunks(text, size))) == guard.output(text).text
    guard.close()


def test_a_stream_comes_in_pieces():
    shown = list(Guards().sync().stream().through(chunks(TEXT, 10)))

    assert len(shown) > 5
    assert max(map(len, shown)) < 500


def test_nothing_of_a_piece_is_shown_before_it_was_judged():
    guards = Guards()
    stream = guards.sync().stream()

    assert stream.feed("x" * 199) == ""
    assert guards.asked == []


def test_what_was_shown_is_judged_again_with_what_follows():
    guards = Guards()
    text = " ".join(str(number) for number in range(2_000))

    "".join(guards.sync().stream().through(chunks(text, 50)))

    windows = [question for path, question in guards.asked if path.endswith("/window")]
    assert len(windows) > 20
    assert windows[0]["before"] == ""
    assert {len(each["before"]) for each in windows[-5:]} == {CONTEXT}
    assert all(each["before"] + each["text"] in text for each in windows)


def test_a_refusal_in_mid_stream_ends_it_for_good():
    stream = Guards().sync().stream()
    shown = stream.feed("word " * 100)

    with pytest.raises(Refused):
        stream.feed("evil " * 100)
    with pytest.raises(GuardUnavailable):
        stream.feed("word " * 100)
    with pytest.raises(GuardUnavailable):
        stream.flush()

    assert shown
    assert "evil" not in shown


def test_what_only_the_whole_tells_keeps_the_end_back():
    def answer(path, question):
        return REFUSAL if path.endswith("/output") else echo(path, question)

    stream = Guards(answer).sync().stream()
    stream.feed(TEXT)

    with pytest.raises(Refused):
        stream.flush()


def test_a_flushed_stream_takes_no_more():
    stream = Guards().sync().stream()
    stream.flush()

    with pytest.raises(GuardUnavailable):
        stream.feed("x")


def test_a_whole_that_is_cut_ends_the_stream_there():
    def answer(path, question):
        return allowing(question["text"][:3]) if path.endswith("/output") else echo(path, question)

    stream = Guards(answer).sync().stream()

    assert stream.feed("word " * 100)
    assert stream.flush() == ""


def test_a_whole_that_was_judged_otherwise_leaves_the_rest_to_its_own_judgement():
    def answer(path, question):
        return allowing("[something else]") if path.endswith("/output") else echo(path, question)

    guards = Guards(answer)
    shown = "".join(guards.sync().stream().through([TEXT]))

    assert shown == TEXT.replace("jane@example.com", "[REDACTED]")
    assert guards.asked[-1][1]["final"] is True


def test_a_sink_that_escapes_wholes_shows_all_at_the_end():
    def answer(path, question):
        if path.endswith("/window"):
            return raw(b'{"code":"sink-not-streamable"}', 409, content_type="application/problem+json")
        return echo(path, question)

    guards = Guards(answer)
    shown = list(guards.sync().stream().through(chunks(TEXT, 100)))

    assert shown == [TEXT.replace("jane@example.com", "[REDACTED]")]
    assert guards.paths() == ["/v1/guard/output/window", "/v1/guard/output"]


def test_a_text_that_is_held_back_is_not_asked_about_each_time():
    def answer(path, question):
        return releasing("", 0) if path.endswith("/window") else echo(path, question)

    guards = Guards(answer)
    list(guards.sync().stream().through(chunks("x" * 20_000, 100)))

    asked = sum(len(question["text"]) for _, question in guards.asked)
    assert len(guards.asked) < 25
    assert asked < 6 * 20_000


def test_a_very_long_piece_is_asked_in_parts():
    guards = Guards()
    text = "word " * 40_000

    assert "".join(guards.sync().stream().through([text])) == text
    assert max(len(q["text"]) for p, q in guards.asked if p.endswith("/window")) == LARGEST_PIECE


def test_a_piece_that_can_grow_no_more_is_refused():
    guard = Guards(lambda *_: releasing("", 0)).sync()

    with pytest.raises(GuardUnavailable):
        guard.stream().feed("x" * LARGEST_PIECE)


def test_an_endless_output_is_refused():
    with pytest.raises(GuardUnavailable) as caught:
        Guards().sync().stream().feed("x" * (LONGEST + 1))

    assert caught.value.cause == "stream-too-long"


def test_the_asynchronous_stream_does_the_same():
    async def written():
        for each in chunks(TEXT, 33):
            yield each

    async def use():
        guard = Guards().aio()
        return [shown async for shown in guard.stream().through(written())], (await guard.output(TEXT)).text

    shown, whole = asyncio.run(use())

    assert len(shown) > 5
    assert "".join(shown) == whole
