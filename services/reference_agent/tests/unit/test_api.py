"""The HTTP side with an agent of a few lines: limits, refusals, concurrency, stops; no socket and no LangChain."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest
from mutx_reference_agent.admission import Admission
from mutx_reference_agent.api import Ports, create_app
from mutx_reference_agent.pause import PauseSwitch
from mutx_reference_agent.problem import KINDS
from mutx_reference_agent.run import Delta, Finished
from mutx_reference_agent.settings import KNOWN, read_settings
from mutx_reference_agent.stream import stream_events
from mutx_service.peer import Peer, check_caller
from mutx_service.problem import Problem

CHECKOUT = Path(__file__).resolve().parents[4]
Answer = TypeVar("Answer")
JSON = {"content-type": "application/json"}


class SlowAgent:
    """Says one word, waits as long as it is told, and fails as it is told."""

    def __init__(self, seconds: float = 0.0, failure: Exception | None = None) -> None:
        self.seconds, self.failure, self.ended = seconds, failure, 0

    async def run(self, request):
        try:
            yield Delta(1, "word")
            await asyncio.sleep(self.seconds)
            if self.failure:
                raise self.failure
            yield Finished(request.input.upper(), 1, 2, 3)
        finally:
            self.ended += 1


class Bench:
    """An application with its parts in reach."""

    def __init__(self, directory, agent, **limits) -> None:
        variables = {
            "MUTX_AGENT_NAME": "a", "MUTX_AGENT_PROVIDER": "openai", "MUTX_AGENT_MODEL": "m",
            "MUTX_AGENT_KEY_FILE": "/none", "MUTX_AGENT_STATE": str(directory), "MUTX_AGENT_MAX_BODY_BYTES": "1000",
        }  # fmt: skip
        settings = read_settings(variables)
        settings = replace(settings, limits=replace(settings.limits, **limits))
        self.pause = PauseSwitch(directory)
        self.admission = Admission(settings.limits, self.pause)
        ports = Ports(lambda: agent, lambda: None, self.pause, self.admission)
        transport = httpx2.ASGITransport(create_app(settings, ports))
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://agent")

    async def run(self, text="hello", **more):
        return await self.client.post("/v1/runs", json={"input": text, **more})


def run_to_the_end(story: Coroutine[object, object, Answer]) -> Answer:
    """Run in a loop of its own: `asyncio.run` would leave the thread without one, which Pulumi asks for."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(story)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def test_a_run_answers_whole(tmp_path):
    answer = run_to_the_end(Bench(tmp_path, SlowAgent()).run(id="one"))

    assert answer.json() | {"trace_id": ""} == {
        "id": "one", "status": "completed", "trace_id": "", "output": "HELLO", "steps": 1,
        "input_tokens": 2, "output_tokens": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("request_of", "status", "code"),
    [
        (("GET", "/v1/runs", b"", {}), 405, "method-not-allowed"),
        (("GET", "/elsewhere", b"", {}), 404, "not-found"),
        (("POST", "/v1/runs", b'{"input": "a"}', {}), 415, "media-type"),
        (("POST", "/v1/runs", b" " * 1001, JSON), 413, "body-too-large"),
        (("POST", "/v1/runs", b"{", JSON), 422, "request-invalid"),
        (("PUT", "/v1/pause", b"{", JSON), 422, "request-invalid"),
    ],
)
def test_every_refusal_is_a_problem(tmp_path, request_of, status, code):
    method, path, body, headers = request_of

    answer = run_to_the_end(
        Bench(tmp_path, SlowAgent()).client.request(method, path, content=body, headers=headers)
    )

    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (status, code, status)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_without_announced_length_is_counted(tmp_path):
    async def parts():
        for _ in range(20):
            yield b" " * 100

    answer = run_to_the_end(
        Bench(tmp_path, SlowAgent()).client.post("/v1/runs", content=parts(), headers=JSON)
    )

    assert answer.json()["code"] == "body-too-large"


def test_more_runs_than_it_takes_are_refused_and_slots_come_back(tmp_path):
    async def story():
        bench = Bench(tmp_path, SlowAgent(0.1), max_runs=2)
        first = await asyncio.gather(*(bench.run(stream=number % 2 == 0) for number in range(5)))
        return [each.status_code for each in first], await bench.run(), bench.admission.running

    statuses, after, running = run_to_the_end(story())

    assert sorted(statuses) == [200, 200, 503, 503, 503]
    assert (after.status_code, running) == (200, 0)


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_run_that_takes_too_long_is_ended(tmp_path, is_stream):
    agent = SlowAgent(5)

    answer = run_to_the_end(Bench(tmp_path, agent, run_s=0.05).run(stream=is_stream))

    assert "run-timeout" in answer.text
    assert (answer.status_code, agent.ended) == (200 if is_stream else 504, 1)


def test_a_stop_shortens_running_runs_and_refuses_new_ones(tmp_path):
    async def story():
        bench = Bench(tmp_path, SlowAgent(5), stop_s=0)
        running = asyncio.create_task(bench.run())
        while not bench.admission.running:
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        bench.admission.stop()
        return await running, await bench.run(), await bench.client.get("/readyz")

    assert [answer.json()["code"] for answer in run_to_the_end(story())] == ["agent-stopping"] * 3


def test_a_paused_agent_refuses_before_it_reads(tmp_path):
    async def story():
        bench = Bench(tmp_path, SlowAgent())
        paused = await bench.client.put("/v1/pause", json={"reason": "r"})
        again = await bench.client.put("/v1/pause", content=b"")
        return (
            paused,
            again,
            await bench.client.post("/v1/runs", content=b"no JSON"),
            await bench.client.get("/healthz"),
        )

    paused, again, refused, health = run_to_the_end(story())

    assert paused.json() == again.json()
    assert (refused.status_code, refused.json()["code"]) == (409, "agent-paused")
    assert health.status_code == 200


def test_a_defect_is_answered_without_its_words(tmp_path):
    for is_stream in (False, True):
        answer = run_to_the_end(Bench(tmp_path, SlowAgent(failure=KeyError("canary"))).run(stream=is_stream))
        assert '"defect"' in answer.text
        assert "canary" not in answer.text


def test_a_stream_whose_reader_never_came_still_ends(tmp_path):
    """The slot must come back even when the answer is never read."""

    async def story():
        ended = asyncio.Event()

        async def perform(emit):
            await emit(Delta(1, "x"), "")

        stream_events("one", perform, ended.set)
        await asyncio.wait_for(ended.wait(), 1)

    run_to_the_end(story())


def test_a_quiet_stream_says_that_it_lives():
    async def story():
        async def perform(emit):
            await asyncio.sleep(0.1)
            raise Problem("provider-timeout")

        response = stream_events("one", perform, lambda: None, keep_alive_s=0.02)
        return [part async for part in response.body_iterator]

    parts = run_to_the_end(story())

    assert b": alive\n\n" in parts
    assert b"provider-timeout" in parts[-1]


@pytest.mark.parametrize(
    ("names", "expires", "code"),
    [
        ({"guard"}, 11.0, None),
        ({"guard"}, 10.0, "caller-expired"),
        ({"other"}, 11.0, "caller-refused"),
        (set(), 11.0, "caller-refused"),
    ],
)
def test_callers_are_known_by_name_and_time(names, expires, code):
    try:
        check_caller(Peer(frozenset(names), expires), {"guard"}, now=10.0)
        found = None
    except Problem as problem:
        found = problem.code

    assert found == code


def test_the_contract_lists_every_problem_and_no_other():
    text = (CHECKOUT / "docs/reference/agent-contract.md").read_text()

    table = text.partition("## Problems")[2].partition("## Settings")[0]
    rows = [
        [cell.strip(" `") for cell in line.split("|")]
        for line in table.splitlines()
        if line.startswith("| `")
    ]
    assert {row[1]: row[2] for row in rows} == {code: str(kind.status) for code, kind in KINDS.items()}


def test_the_contract_lists_every_variable_and_no_other():
    text = (CHECKOUT / "docs/reference/agent-contract.md").read_text().partition("## Settings")[2]

    told = set(re.findall(r"`(MUTX_AGENT_[A-Z_]+[A-Z])`", text))
    assert told == KNOWN
