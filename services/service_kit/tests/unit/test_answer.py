"""Routes: who is let in, and that each failure is told as a problem of the service's own table."""

from __future__ import annotations

import ast
import asyncio
import json
from pathlib import Path

import pytest
from mutx_service.answer import guarded, problem_response
from mutx_service.problem import COMMON_KINDS, Problem, ProblemKind
from starlette.requests import Request
from starlette.responses import Response

KIT = Path(__file__).resolve().parents[2] / "src"
OWN = {**COMMON_KINDS, "own": ProblemKind(503, "Of the service", 7)}


def answer_of(route, check=lambda _: None, headers=()):
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": list(headers)})
    return asyncio.run(guarded(route, OWN, check)(request))


async def fail_with_words(_request: Request) -> Response:
    raise ValueError("canary of a prompt")


def test_a_defect_is_told_without_its_words():
    answer = answer_of(fail_with_words)

    assert answer.status_code == 500
    assert json.loads(answer.body)["code"] == "defect"
    assert b"canary" not in answer.body


def test_a_refused_caller_reaches_no_route():
    def refuse(_request: Request) -> None:
        raise Problem("caller-refused")

    answer = answer_of(fail_with_words, refuse)

    assert (answer.status_code, answer.headers["connection"]) == (403, "close")


def test_a_body_of_two_lengths_reaches_no_route_and_ends_the_connection():
    answer = answer_of(
        fail_with_words, headers=[(b"content-length", b"4"), (b"transfer-encoding", b"chunked")]
    )

    assert (answer.status_code, answer.headers["connection"]) == (400, "close")
    assert json.loads(answer.body)["code"] == "http-invalid"


@pytest.mark.parametrize(("asked", "told"), [(None, "7"), (90, "90")], ids=["the kind's", "the provider's"])
def test_a_retry_is_told_as_the_kind_or_somebody_else_asks(asked, told):
    answer = problem_response(Problem("own", retry_after_s=asked), OWN)

    assert answer.headers["retry-after"] == told


def test_every_code_that_the_kit_raises_is_a_common_one():
    raised = {
        node.args[0].value
        for file in KIT.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem"
        if isinstance(node.args[0], ast.Constant)
    }

    assert len(raised) > 4
    assert raised - COMMON_KINDS.keys() == set()
