"""What is fuzzed: each target takes any bytes, and fails by an AssertionError, or by an exception that none may raise.

None of them needs a model or a network. The first bytes of some choose how the rest is asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import cache, lru_cache

from mutx_guardrail.document import Document
from mutx_guardrail.egress.client_hello import HelloError, client_hello, server_name
from mutx_guardrail.normalise.reading import read_text
from mutx_guardrail.panel import Panel
from mutx_guardrail.parts import Parts, build_parts
from mutx_guardrail.pipeline import Pipeline
from mutx_guardrail.policy import PolicyError, parse_policy
from mutx_guardrail.runs.request import parse_pause, parse_run
from mutx_guardrail.service.problems import KINDS
from mutx_guardrail.service.question import (
    BatchQuestion,
    InputQuestion,
    MarkQuestion,
    OutcomeQuestion,
    OutputQuestion,
    WindowQuestion,
    parse_question,
)
from mutx_guardrail.sse import EventError, RawEvent, read_events, write_event
from mutx_guardrail.verdict import CheckName, Layer, Span
from mutx_service.answer import problem_response
from mutx_service.problem import Problem
from mutx_service.strict_json import JsonError, read_json, write_json

QUESTIONS = (InputQuestion, OutputQuestion, WindowQuestion, BatchQuestion, OutcomeQuestion, MarkQuestion)
SINKS = ("text", "html", "markdown", "sql", "shell", "json", "csv")
ACTIONS = ("mask", "flag", "block")
FEW_TOKENS = 40


def fuzz_normalise(data: bytes) -> None:
    """Every reading of any text is a text, and every place of it lies within what was given."""
    document = read_text(text_of(data))
    for view in document.views:
        write_utf8(view.text)
        for at in range(len(view.text)):
            check_span(view.original(at, at + 1), document)
        check_span(view.original(0, len(view.text)), document)
        assert view.original(len(view.text), len(view.text)).end <= len(document.text)
    ends = [0]
    for edit in document.edits:
        assert ends[-1] <= edit.start < edit.end <= len(document.text)
        ends.append(edit.end)
    for finding in document.removed:
        check_span(finding.span, document)


def fuzz_question(data: bytes) -> None:
    """Any body is a question, or a problem that can be told; what strict JSON is, is so again when written."""
    parsers: list[Callable[[bytes], object]] = [
        lambda body, kind=kind: parse_question(body, kind) for kind in QUESTIONS
    ]
    for parse in [*parsers, parse_run, parse_pause]:
        try:
            parse(data)
        except Problem as problem:
            told = problem_response(problem, KINDS)
            assert told.status_code in {413, 422}
            assert len(told.body) < 10_000
    try:
        value = read_json(data)
    except JsonError:
        return
    assert read_json(write_json(value)) == value


def fuzz_pipeline(data: bytes) -> None:
    """Any text has a verdict that was judged by all layers, can be sent, and points into the text."""
    chosen, text = data[:3].ljust(3, b"\0"), text_of(data[3:])
    pipeline, defects = _pipeline(chosen[0] % len(SINKS), chosen[1] % len(ACTIONS))
    side = chosen[2] % 3
    run = _loop().run_until_complete
    if side == 0:
        document = run(pipeline.input(text)).document()
    elif side == 1 or chosen[0] % len(SINKS) > 1:
        document = run(pipeline.output(text)).document()
    else:
        half = len(text) // 2
        released = run(pipeline.window(text[:half], text[half:], is_last=bool(chosen[2] & 128)))
        assert 0 <= released.taken <= len(text) - half
        document = released.document()
    assert not defects, defects
    write_utf8(json.dumps(document, ensure_ascii=False, allow_nan=False))
    assert document["allowed"] is all(
        check.get("action") != "block" and "unavailable" not in check for check in document["checks"]
    )
    for check in document["checks"]:
        assert "unavailable" not in check
        assert check["name"] in set(CheckName)
        assert 0 <= check["confidence"] <= 1
        for found in check["findings"]:
            assert 0 <= found["start"] <= found["end"] <= len(text)


def fuzz_stream(data: bytes) -> None:
    """A stream of events is the same however it is cut, and is read again as it was written."""
    size, content = (data[0] % 17) + 1 if data else 1, data[1:]
    whole, pieces = (
        _events([content]),
        _events([content[at : at + size] for at in range(0, len(content), size)]),
    )
    assert whole == pieces
    if isinstance(whole, list):
        named = [event for event in whole if "\r" not in event.name]
        assert _events([b"".join(map(write_event, named))]) == named


def fuzz_policy(data: bytes) -> None:
    """Any file is a policy that is the same when it is written out, or is told as none."""
    try:
        policy = parse_policy(data.decode("utf-8", "replace"))
    except PolicyError as error:
        write_utf8(str(error))
        return
    assert parse_policy(json.dumps(policy.model_dump(mode="json"))) == policy
    assert policy.digest


def fuzz_patterns(data: bytes) -> None:
    """The engine finds each pattern together with all others where it finds it alone, within the text."""
    text, parts = text_of(data), _parts()
    document = read_text(text)
    for detector in (parts.injection_patterns, parts.toxicity_patterns, parts.personal, parts.secrets):
        signal = detector.judge(document)
        assert 0 <= signal.score <= 1
        for finding in signal.findings:
            check_span(finding.span, document)
            assert finding.span.start < finding.span.end
    rules = parts.injection_patterns._ordinary
    plain = document.plain.text
    assert {at for at, _ in rules.find(plain)} == {
        at for at, pattern in enumerate(rules._single) if pattern.search(plain)
    }


def fuzz_hello(data: bytes) -> None:
    """Whatever opens a tunnel names a host, is waited for, or is refused."""
    try:
        hello = client_hello(data)
        if hello is not None:
            name = server_name(hello.message)
            assert name.isascii()
    except HelloError:
        return


TARGETS: dict[str, Callable[[bytes], None]] = {
    "normalise": fuzz_normalise,
    "question": fuzz_question,
    "pipeline": fuzz_pipeline,
    "stream": fuzz_stream,
    "policy": fuzz_policy,
    "patterns": fuzz_patterns,
    "hello": fuzz_hello,
}


class _Here(Executor):
    """Computes at once, in the thread that asks: what a fuzzer sees of it is the same every time."""

    def submit(self, work, /, *given, **named):
        future: Future = Future()
        try:
            future.set_result(work(*given, **named))
        except Exception as error:  # noqa: BLE001 - handed on to whoever asked
            future.set_exception(error)
        return future


def text_of(data: bytes) -> str:
    """Return a text; bytes that are no UTF-8 become halves of surrogate pairs."""
    return data.decode("utf-8", "surrogateescape")


def write_utf8(text: str) -> bytes:
    return text.encode()


def check_span(span: Span, document: Document) -> None:
    assert 0 <= span.start <= span.end <= len(document.text), span


def _events(pieces: list[bytes]) -> list[RawEvent] | str:
    async def content():
        for piece in pieces:
            yield piece

    async def read() -> list[RawEvent]:
        return [event async for event in read_events(content(), 4_096)]

    reading = read()
    try:
        # It waits for nothing, so it needs no loop.
        reading.send(None)
    except StopIteration as ended:
        return ended.value
    except EventError as error:
        return str(error)
    raise AssertionError("it waits")


@lru_cache(maxsize=1)
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@lru_cache(maxsize=1)
def _parts() -> Parts:
    return build_parts((Layer.NORMALISE, Layer.PATTERNS))


@cache
def _pipeline(sink: int, action: int) -> tuple[Pipeline, list[BaseException]]:
    what, defects = ACTIONS[action], []
    checks = f"pii_detection: {{action: {what}}}, encoding: {{action: {what}}}"
    policy = parse_policy(
        f"{{version: 1, layers: [normalise, patterns], input: {{{checks}, length: {{action: truncate, max_tokens: "
        f"{FEW_TOKENS}}}}}, output: {{{checks}, secret_detection: {{action: {what}}}, sink: {{kind: {SINKS[sink]}}}, "
        f"token_limit: {{action: truncate, max_tokens: {FEW_TOKENS}}}}}}}"
    )
    return Pipeline(lambda: policy, Panel(_parts(), _Here(), 60.0, defects.append)), defects
