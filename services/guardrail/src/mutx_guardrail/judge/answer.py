"""The answer of an OpenAI-compatible server, read strictly: what is not as published is not an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mutx_service.strict_json import JsonError, parse_json

LONGEST_TEXT = 4_000
"""Characters of an answer; the longest that a family allows has a tenth of that."""


class Unreadable(Exception):  # noqa: N818 - the state of an answer, told as one
    """The answer is not what was asked for. `why` holds nothing of it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer, and what could have stood there (logarithms of probabilities)."""

    text: str
    logprob: float
    alternatives: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote; `tokens` is empty where the server gives no probabilities."""

    text: str
    tokens: tuple[Token, ...] = ()

    @property
    def joined(self) -> str:
        """The tokens put together: the text, save what the server stripped."""
        return "".join(token.text for token in self.tokens)


def parse_body(body: bytes | str) -> object:
    """Return what an answer's JSON says.

    Raises:
        Unreadable: it is no JSON.
    """
    try:
        return parse_json(body)
    except JsonError:
        raise Unreadable("the answer is no JSON") from None


def read_answer(body: bytes) -> Answer:
    """Return the one finished answer of a response's body.

    Raises:
        Unreadable: it is not a chat completion with exactly one answer that ended by itself.
    """
    match parse_body(body):
        case {"choices": [{"finish_reason": "stop", "message": {"content": str(text)}} as choice]}:
            if len(text) > LONGEST_TEXT:
                raise Unreadable("the answer is too long")
            return Answer(text, _read_tokens(choice.get("logprobs")))
        case {"choices": [{"finish_reason": "length"}]}:
            raise Unreadable("the answer did not come to an end")
        case _:
            raise Unreadable("the answer is no finished chat completion")


def read_models(body: bytes) -> tuple[str, ...]:
    """Return the names of the models that a server says it has.

    Raises:
        Unreadable: it is no list of models.
    """
    match parse_body(body):
        case {"data": [*models]}:
            return tuple(
                model["id"]
                for model in models
                if isinstance(model, dict) and isinstance(model.get("id"), str)
            )
        case _:
            raise Unreadable("that is no list of models")


def _read_tokens(logprobs: object) -> tuple[Token, ...]:
    match logprobs:
        case None | {"content": None}:
            return ()
        case {"content": [*tokens]} if len(tokens) <= LONGEST_TEXT:
            return tuple(_read_token(token) for token in tokens)
        case _:
            raise Unreadable("the answer's probabilities are not in order")


def _read_token(token: object) -> Token:
    text, logprob = _read_pair(token)
    alternatives = token.get("top_logprobs") if isinstance(token, dict) else None
    if not isinstance(alternatives, list | None):
        raise Unreadable("the answer's probabilities are not in order")
    return Token(text, logprob, dict(_read_pair(each) for each in alternatives or ()))


def _read_pair(token: object) -> tuple[str, float]:
    match token:
        case {"token": str(text), "logprob": int(logprob) | float(logprob)} if math.isfinite(logprob):
            return text, float(logprob)
        case _:
            raise Unreadable("the answer's probabilities are not in order")
