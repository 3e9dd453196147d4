"""A run as events: it lives as long as its reader and no longer."""

from __future__ import annotations

import asyncio

import pytest
from mutx_guardrail.runs.stream import CallerGone, stream_run, until_hung_up
from mutx_guardrail.service.problems import KINDS
from mutx_service.problem import Problem
from starlette.requests import Request


class Reader:
    """A caller that hangs up when it is told to, and keeps what it got."""

    def __init__(self) -> None:
        self.gone, self.got = asyncio.Event(), []
        self.request = Request({"type": "http", "headers": []}, self.receive)

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.got.append(message)

    @property
    def text(self):
        return b"".join(message.get("body", b"") for message in self.got).decode()


class Run:
    """A run that emits some events, then does what it is told to."""

    def __init__(self, events=(), ends=None, waits_s=0.0) -> None:
        self.events, self.ends, self.waits_s = events, ends, waits_s
        self.was_cancelled, self.has_ended, self.emitted = False, False, 0

    async def perform(self, emit):
        try:
            for event in self.events:
                await emit(*event)
                self.emitted += 1
            await asyncio.sleep(self.waits_s)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if isinstance(self.ends, Exception):
            raise self.ends
        return {"output": "done"}

    def note_end(self):
        self.has_ended = True


def tell(problem):
    return {"id": "r1", **problem.document(KINDS)}


def read(run, keep_alive_s=15.0, hangs_up=None):
    """Read a run's stream to its end, or until `hangs_up` says so."""

    async def story():
        reader = Reader()
        response = await stream_run(
            reader.request, run.perform, tell, run.note_end, keep_alive_s=keep_alive_s
        )
        answering = asyncio.create_task(
            response({"type": "http", "asgi": {"spec_version": "2.3"}}, reader.receive, reader.send)
        )
        while hangs_up and not hangs_up(reader):
            await asyncio.sleep(0.001)
        if hangs_up:
            reader.gone.set()
        async with asyncio.timeout(5):
            await answering
        return reader.text

    return asyncio.run(story())


STARTED = ("started", {"id": "r1"})


def test_events_leave_as_they_come_and_the_result_is_the_last():
    run = Run([STARTED, ("delta", {"step": 1, "text": "ä\u2028\n"})])

    assert read(run) == (
        'event: started\ndata: {"id": "r1"}\n\n'
        'event: delta\ndata: {"step": 1, "text": "ä\u2028\\n"}\n\n'
        'event: completed\ndata: {"output": "done"}\n\n'
    )
    assert run.has_ended


def test_a_problem_after_the_begin_is_the_last_event():
    text = read(Run([STARTED], Problem("agent-timeout")))

    assert text.endswith("}\n\n")
    assert 'event: failed\ndata: {"id": "r1", "type": "urn:mutx:problem:agent-timeout"' in text


def test_a_defect_after_the_begin_is_told_as_one_and_not_in_its_words():
    text = read(Run([STARTED], RuntimeError("canary")))

    assert '"code": "defect"' in text
    assert "canary" not in text


@pytest.mark.parametrize(
    ("ends", "code"), [(Problem("input-refused"), "input-refused"), (ValueError("x"), "defect")]
)
def test_a_problem_before_the_begin_is_raised(ends, code):
    run = Run([], ends)

    with pytest.raises(Problem, match=code):
        read(run)

    assert run.has_ended


def test_a_quiet_stream_says_that_it_lives():
    text = read(Run([STARTED], waits_s=0.2), keep_alive_s=0.05)

    assert 2 <= text.count(": alive\n\n") <= 4


def test_a_reader_that_hangs_up_ends_the_run():
    run = Run([STARTED], waits_s=30)

    read(run, hangs_up=lambda reader: "started" in reader.text)

    assert (run.was_cancelled, run.has_ended) == (True, True)


def test_a_caller_that_hangs_up_before_the_begin_ends_the_run():
    run = Run([], waits_s=30)

    async def story():
        reader = Reader()
        reader.gone.set()
        with pytest.raises(CallerGone):
            await stream_run(reader.request, run.perform, tell, run.note_end)

    asyncio.run(story())

    assert (run.was_cancelled, run.has_ended) == (True, True)


def test_a_run_waits_for_a_reader_that_is_slow():
    run = Run([("delta", {"step": 1, "text": "x"})] * 1_000)

    async def story():
        reader = Reader()
        response = await stream_run(reader.request, run.perform, tell, run.note_end)
        await asyncio.sleep(0.05)
        emitted = run.emitted
        await response._lines.aclose()
        return emitted

    assert asyncio.run(story()) <= 66


def test_a_reader_that_takes_nothing_frees_the_run_and_finds_no_end():
    run = Run([("delta", {"step": 1, "text": "x"})] * 64)

    async def story():
        reader = Reader()
        response = await stream_run(
            reader.request, run.perform, tell, run.note_end, keep_alive_s=0.05, last_word_s=0.1
        )
        await messages_are_full(run)
        await asyncio.sleep(0.3)
        freed = run.has_ended
        await response({"type": "http", "asgi": {"spec_version": "2.3"}}, reader.receive, reader.send)
        return freed, reader.text

    freed, text = asyncio.run(story())

    assert freed
    assert text.count("event: delta") == 64
    assert "alive" not in text


async def messages_are_full(run):
    while run.emitted < len(run.events):
        await asyncio.sleep(0.001)


def test_what_is_asked_ends_when_the_caller_hangs_up():
    async def story():
        reader = Reader()
        asked = asyncio.create_task(asyncio.sleep(30))
        asyncio.get_running_loop().call_soon(reader.gone.set)
        with pytest.raises(CallerGone):
            await until_hung_up(reader.request, asked)
        return asked.cancelled()

    assert asyncio.run(story())


def test_what_fails_fails_its_caller():
    async def story():
        async def fails():
            raise Problem("agent-timeout")

        await until_hung_up(Reader().request, fails())

    with pytest.raises(Problem, match="agent-timeout"):
        asyncio.run(story())
