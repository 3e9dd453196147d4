"""Reading the guard's answers. One that does not say for certain that a text may pass is no answer.

The form is that of `POST /v1/guard/…`; fields that are not known here may be there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

from mutx_guardrail_client.errors import GuardUnavailable, Refused
from mutx_guardrail_client.judged import FOREIGN, Check, Judged, Spotlight
from mutx_guardrail_client.strict_json import Json, JsonError, read_json

CHANGES = frozenset({"mask", "truncate", "flag"})
"""Actions with which a text passes."""
REFUSES = frozenset({"block", "rate_limit", "pause"})

_OK = 200
_WORD = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CODE = re.compile(r"[a-z][a-z0-9-]{0,63}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,199}")
_LONGEST_DETAILS = 2_000
_LONGEST_WAIT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP; the body is not part of the repr."""

    status: int
    media_type: str
    body: bytes = field(repr=False)
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """What of a stream may be shown now, and how many characters of the question it stands for."""

    text: str = field(repr=False)
    taken: int


def read_verdict(document: Json, origin: str = "") -> Judged:
    """Return what may be used of the text that a verdict is about.

    Args:
        document: the verdict.
        origin: of an input; a foreign one has to come back marked. Empty for an output.

    Raises:
        Refused: the guard says no.
        GuardUnavailable: `malformed`.
    """
    whole = _allowing(document)
    return Judged(
        text=_text(whole, "sanitized"),
        checks=_checks(whole),
        degraded=_words(whole, "degraded"),
        spotlight=_spotlight(whole, is_needed=origin in FOREIGN),
        review=_label(whole, "review"),
        policy=_label(whole, "policy"),
        model=_label(whole, "model"),
    )


def read_release(document: Json, asked: int, *, is_last: bool) -> Release:
    """Return what a window lets go; it raises as `read_verdict` does.

    Args:
        document: the verdict on the window.
        asked: how many characters the question had.
        is_last: all of them have to be taken.
    """
    whole = _allowing(document)
    _checks(whole)
    text, taken = _text(whole, "release"), whole.get("taken")
    if not isinstance(taken, int) or isinstance(taken, bool) or not 0 <= taken <= asked:
        _malformed()
    if (is_last and taken != asked) or (text and not taken):
        _malformed()
    return Release(text, taken)


def read_batch(document: Json, origins: list[str]) -> list[Judged | Refused]:
    """Return what the guard says of each text, in their order.

    Raises:
        GuardUnavailable: `malformed`, where one of the verdicts is.
    """
    items = document.get("items") if isinstance(document, dict) else None
    if not isinstance(items, list) or len(items) != len(origins):
        _malformed()
    found: list[Judged | Refused] = []
    for item, origin in zip(items, origins, strict=True):
        try:
            found.append(read_verdict(item, origin))
        except Refused as refused:
            found.append(refused)
    return found


def read_body(answer: Answer) -> Json:
    """Return the document of a good answer.

    Raises:
        GuardUnavailable: the answer is a problem, or none that can be read.
    """
    if answer.status != _OK:
        raise _problem(answer)
    document = _document(answer, "application/json")
    if document is None:
        _malformed()
    return document


def _allowing(document: Json) -> dict[str, Json]:
    """Return a verdict that says that the text may pass, in so many words."""
    if not isinstance(document, dict) or not isinstance(document.get("allowed"), bool):
        _malformed()
    if document["allowed"] is not True:
        raise _refusal(document)
    if document.get("reason") is not None or document.get("action") is not None:
        _malformed()
    if not isinstance(document.get("model"), str):
        _malformed()
    return document


def _refusal(whole: dict[str, Json]) -> Refused:
    reason, action, details = whole.get("reason"), whole.get("action"), whole.get("details")
    confidence = _fraction(whole.get("confidence"))
    if not isinstance(reason, str) or not _WORD.fullmatch(reason) or confidence is None:
        _malformed()
    if not isinstance(action, str) or action not in REFUSES or not isinstance(details, str):
        _malformed()
    return Refused(
        reason, action, confidence, details[:_LONGEST_DETAILS],
        retry_after_s=_wait(whole.get("retry_after_s")), review=_label(whole, "review"),
    )  # fmt: skip


def _checks(whole: dict[str, Json]) -> tuple[Check, ...]:
    """Return the checks; none may have been left out, failed without a change, or refuse."""
    found = whole.get("checks")
    if not isinstance(found, list) or not found:
        _malformed()
    return tuple(_check(each) for each in found)


def _check(each: Json) -> Check:
    if not isinstance(each, dict) or each.get("unavailable", []) != []:
        _malformed()
    name, passed, action = each.get("name"), each.get("passed"), each.get("action")
    confidence = _fraction(each.get("confidence"))
    if not isinstance(name, str) or not _WORD.fullmatch(name) or not isinstance(passed, bool):
        _malformed()
    if confidence is None or not isinstance(each.get("findings", []), list):
        _malformed()
    if action is None and passed:
        return Check(name, passed, confidence)
    if not isinstance(action, str) or action not in CHANGES:
        _malformed()
    return Check(name, passed, confidence, action)


def _spotlight(whole: dict[str, Json], *, is_needed: bool) -> Spotlight | None:
    found = whole.get("spotlight")
    if found is None and not is_needed:
        return None
    if not isinstance(found, dict):
        _malformed()
    text, mark, instruction = (_text(found, name) for name in ("text", "mark", "instruction"))
    if not mark or not instruction:
        _malformed()
    return Spotlight(text, mark, instruction)


def _problem(answer: Answer) -> GuardUnavailable:
    document = _document(answer, "application/problem+json")
    code = document.get("code") if isinstance(document, dict) else None
    cause = code if isinstance(code, str) and _CODE.fullmatch(code) else "malformed"
    wait = float(answer.retry_after) if re.fullmatch(r"[0-9]{1,5}", answer.retry_after) else None
    return GuardUnavailable(cause, status=answer.status, retry_after_s=wait)


def _document(answer: Answer, media_type: str) -> Json:
    """Return the document of an answer, None where it has none."""
    if answer.media_type.partition(";")[0].strip().lower() != media_type:
        return None
    try:
        return read_json(answer.body)
    except JsonError:
        return None


def _text(whole: dict[str, Json], name: str) -> str:
    found = whole.get(name)
    if not isinstance(found, str):
        _malformed()
    return found


def _label(whole: dict[str, Json], name: str) -> str:
    """Return an identifier; empty where none is there."""
    found = whole.get(name, "")
    if not isinstance(found, str) or (found and not _LABEL.fullmatch(found)):
        _malformed()
    return found


def _words(whole: dict[str, Json], name: str) -> tuple[str, ...]:
    found = whole.get(name, [])
    if not isinstance(found, list):
        _malformed()
    words = tuple(each for each in found if isinstance(each, str) and _WORD.fullmatch(each))
    if len(words) != len(found):
        _malformed()
    return words


def _fraction(value: Json) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)


def _wait(value: Json) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST_WAIT_S:
        _malformed()
    return float(value)


def _malformed() -> NoReturn:
    raise GuardUnavailable("malformed")
