"""No answer that does not say for certain that a text may pass lets it pass."""

from __future__ import annotations

import copy
import json
import traceback
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutx_guardrail_client import GuardError, GuardUnavailable, Item, Refused
from mutx_guardrail_client.answer import Answer, read_body, read_verdict
from wire import CHECK, REFUSAL, SPOTLIGHT, Guards, allowing, raw, releasing

SECRET = "the text of the tenant"

NAMES = ["allowed", "sanitized", "checks", "unavailable", "action", "passed", "x"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)  # fmt: skip


def without(name):
    return {key: value for key, value in allowing("x").items() if key != name}


MALFORMED = {
    "no-object": [],
    "null": None,
    "empty": {},
    "allowed-missing": without("allowed"),
    "allowed-one": allowing("x", allowed=1),
    "allowed-word": allowing("x", allowed="true"),
    "allowed-null": allowing("x", allowed=None),
    "allowed-list": allowing("x", allowed=[True]),
    "no-text": without("sanitized"),
    "text-null": allowing("x", sanitized=None),
    "text-list": allowing("x", sanitized=["x"]),
    "no-checks": without("checks"),
    "checks-empty": allowing("x", checks=[]),
    "checks-object": allowing("x", checks={"a": CHECK}),
    "check-no-object": allowing("x", checks=[CHECK, "prompt_injection"]),
    "check-unavailable": allowing("x", checks=[{**CHECK, "unavailable": ["judge"]}]),
    "check-unavailable-true": allowing("x", checks=[{**CHECK, "unavailable": True}]),
    "check-unavailable-null": allowing("x", checks=[{**CHECK, "unavailable": None}]),
    "check-passed-one": allowing("x", checks=[{**CHECK, "passed": 1}]),
    "check-failed-without-action": allowing("x", checks=[{**CHECK, "passed": False}]),
    "check-blocks": allowing("x", checks=[{**CHECK, "passed": False, "action": "block"}]),
    "check-passed-and-pauses": allowing("x", checks=[{**CHECK, "action": "pause"}]),
    "check-action-unknown": allowing("x", checks=[{**CHECK, "action": "shrug"}]),
    "check-without-confidence": allowing("x", checks=[{"name": "length", "passed": True}]),
    "check-confidence-2": allowing("x", checks=[{**CHECK, "confidence": 2}]),
    "check-name-text": allowing("x", checks=[{**CHECK, "name": "No Name"}]),
    "reason-beside-allowed": allowing("x", reason="prompt_injection_detected"),
    "action-beside-allowed": allowing("x", action="block"),
    "no-model": without("model"),
    "degraded-word": allowing("x", degraded="judge"),
    "review-text": allowing("x", review="a b c"),
    "refusal-without-reason": {**REFUSAL, "reason": None},
    "refusal-with-mask": {**REFUSAL, "action": "mask"},
    "refusal-reason-is-text": {**REFUSAL, "reason": SECRET},
    "wait-negative": {**REFUSAL, "retry_after_s": -1},
}


@pytest.mark.parametrize("document", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("method", ["input", "output"])
def test_a_malformed_verdict_lets_nothing_pass(document, method):
    guard = Guards(lambda *_: document).sync()

    with pytest.raises(GuardUnavailable) as caught:
        getattr(guard, method)(SECRET)

    assert caught.value.cause == "malformed"


BODIES = {
    "empty": raw(b""),
    "cut": raw(json.dumps(allowing("x")).encode()[:-1]),
    "trailing": raw(json.dumps(allowing("x")).encode() + b"x"),
    "twice": raw(b'{"allowed":false,' + json.dumps(allowing("x")).encode()[1:]),
    "nan": raw(json.dumps(allowing("x", latency_ms=float("nan"))).encode()),
    "latin-1": raw(json.dumps(allowing("é"), ensure_ascii=False).encode("latin-1")),
    "utf-16": raw(json.dumps(allowing("x")).encode("utf-16")),
    "deep": raw(b"[" * 200_000),
    "html": raw(b"<html>", content_type="text/html"),
    "media-type": raw(json.dumps(allowing("x")).encode(), content_type="text/plain"),
    "packed": raw(json.dumps(allowing("x")).encode(), content_encoding="identity"),
    "created": raw(json.dumps(allowing("x")).encode(), 201),
    "moved": raw(json.dumps(allowing("x")).encode(), 307, location="http://127.0.0.1:1/v1/guard/input"),
    "server-error": raw(json.dumps(allowing("x")).encode(), 500),
    "too-large": raw(b" " * (17 << 20)),
}


@pytest.mark.parametrize("response", BODIES.values(), ids=BODIES.keys())
def test_a_body_that_is_no_answer_lets_nothing_pass(response):
    guard = Guards(lambda *_: response).sync()

    with pytest.raises(GuardUnavailable) as caught:
        guard.input(SECRET)

    assert caught.value.cause == "malformed"


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "guard-busy"), (503, "guard-degraded"), (403, "agent-foreign"), (422, "request-invalid")],
)
def test_a_problem_is_told_by_its_code(status, code):
    body = json.dumps({"code": code, "detail": SECRET}).encode()
    guard = Guards(
        lambda *_: raw(body, status, content_type="application/problem+json", retry_after="7")
    ).sync()

    with pytest.raises(GuardUnavailable) as caught:
        guard.output(SECRET)

    assert (caught.value.cause, caught.value.status, caught.value.retry_after_s) == (code, status, 7)
    assert SECRET not in str(caught.value)


WINDOWS = {
    "taken-missing": {key: value for key, value in releasing("x", 1).items() if key != "taken"},
    "taken-true": releasing("x", True),  # noqa: FBT003 - a wrong value
    "taken-negative": releasing("x", -1),
    "taken-too-much": releasing("x", 10_000),
    "text-for-nothing": releasing("x", 0),
    "text-missing": {key: value for key, value in releasing("x", 1).items() if key != "release"},
    "a-verdict": allowing("x"),
}


@pytest.mark.parametrize("document", WINDOWS.values(), ids=WINDOWS.keys())
def test_a_malformed_window_lets_nothing_pass(document):
    stream = Guards(lambda *_: document).sync().stream()

    with pytest.raises(GuardUnavailable):
        stream.feed("word " * 100)


@pytest.mark.parametrize(
    "items",
    [None, {}, [], [allowing("x")] * 3, [allowing("x"), None], [allowing("x"), allowing("x", allowed=1)]],
    ids=["none", "object", "empty", "too-many", "null", "one-malformed"],
)
def test_a_malformed_batch_lets_nothing_pass(items):
    guard = Guards(lambda *_: {"items": items}).sync()

    with pytest.raises(GuardUnavailable):
        guard.batch([Item("a"), Item("b", "output")])


@pytest.mark.parametrize(
    "spotlight", [None, "x", {}, {**SPOTLIGHT, "text": None}, {**SPOTLIGHT, "mark": ""}],
    ids=["none", "word", "empty", "no-text", "no-mark"],
)  # fmt: skip
@pytest.mark.parametrize("origin", ["tool", "retrieved"])
def test_a_foreign_text_has_to_come_back_marked(spotlight, origin):
    guard = Guards(lambda *_: allowing("x", spotlight=spotlight)).sync()

    with pytest.raises(GuardUnavailable):
        guard.input("x", origin)


def oracle(document):
    """Say whether a verdict lets a text pass, in the plainest words there are."""
    return (
        isinstance(document, dict)
        and document.get("allowed") is True
        and isinstance(document.get("sanitized"), str)
        and isinstance(document.get("checks"), list)
        and len(document["checks"]) > 0
        and all(
            isinstance(each, dict)
            and not each.get("unavailable")
            and (each.get("passed") is True or each.get("action") in ("mask", "truncate", "flag"))
            and each.get("action") not in ("block", "pause", "rate_limit")
            for each in document["checks"]
        )
    )


@st.composite
def changed_verdicts(draw):
    """Draw a verdict of which some members are missing or something else."""
    document = copy.deepcopy(draw(st.sampled_from([allowing("x"), REFUSAL])))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(
            st.sampled_from([document, document["checks"][0]] if document.get("checks") else [document])
        )
        if not isinstance(place, dict):
            continue
        name = draw(st.sampled_from([*place, "unavailable", "action", "reason", "sanitized"]))
        if draw(st.booleans()):
            place.pop(name, None)
        else:
            place[name] = draw(JSON)
        if not isinstance(document.get("checks"), list) or not document["checks"]:
            break
    return document


@given(JSON | changed_verdicts(), st.sampled_from(["", "user", "tool"]))
@settings(max_examples=600, deadline=None)
def test_only_what_certainly_allows_allows(document, origin):
    body = json.dumps(document).encode()

    judged = None
    with suppress(Refused, GuardUnavailable):
        judged = read_verdict(read_body(Answer(200, "application/json", body)), origin)

    assert judged is None or (oracle(document) and judged.text == document["sanitized"])


@given(st.binary(max_size=200), st.integers(100, 599), st.text(max_size=30), st.text(max_size=6))
@settings(max_examples=300, deadline=None)
def test_no_bytes_allow(body, status, media_type, retry_after):
    with pytest.raises(GuardError):
        read_verdict(read_body(Answer(status, media_type, body, retry_after)))


@pytest.mark.parametrize("method", ["input", "output", "feed", "batch"])
@pytest.mark.parametrize("answer", ["refusal", "malformed", "problem", "broken"])
def test_no_error_holds_the_text(method, answer, caplog):
    """Neither in its words, nor in what hangs on it: an HTTP client's error would hold the request."""

    def respond(*_):
        if answer == "broken":
            raise ConnectionResetError(SECRET)
        if answer == "problem":
            return raw(json.dumps({"code": "defect", "detail": SECRET}).encode(), 500)
        document = REFUSAL if answer == "refusal" else {"allowed": SECRET}
        return {"items": [document]} if method == "batch" else document

    guard = Guards(respond).sync()
    caplog.set_level("DEBUG")
    text = SECRET * 20
    asks = {
        "input": guard.input, "output": guard.output, "feed": guard.stream().feed,
        "batch": lambda text: guard.batch([Item(text)])[0],
    }  # fmt: skip

    error = caught_of(asks[method], text)

    assert isinstance(error, GuardError)
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = repr(error) + str(error) + repr(error.args) + "".join(traceback.format_exception_only(error))
    assert SECRET not in shown + caplog.text


def caught_of(ask, text):
    """Return the error that comes back or is raised."""
    try:
        return ask(text)
    except GuardError as error:
        return error


def test_no_repr_holds_the_text():
    guard = Guards(lambda path, _: allowing(SECRET, spotlight={**SPOTLIGHT, "text": SECRET})).sync()

    judged = guard.input(SECRET, "tool")

    assert SECRET not in repr(judged) + str(judged) + repr(Item(SECRET)) + repr(
        Answer(200, "", SECRET.encode())
    )
    assert judged.text == SECRET
