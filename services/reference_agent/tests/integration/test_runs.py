"""Runs over the whole way: mTLS in, LangChain, egress proxy, a provider over TLS."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from agent_process import run_body, sse
from mutx_provider_double import Reply, ToolCall

SIX_TIMES_SEVEN = ToolCall("calculate", {"expression": "6 * 7"})
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_run_uses_a_tool_and_answers(world, guard):
    world.provider.script(Reply(tool_calls=(SIX_TIMES_SEVEN,)), Reply(text="It is 42."))

    answer = guard.post("/v1/runs", **run_body("What is 6 * 7?", id="run-1")).json()

    assert (answer["id"], answer["status"], answer["output"], answer["steps"]) == (
        "run-1",
        "completed",
        "It is 42.",
        2,
    )
    assert answer["input_tokens"] > 0
    assert world.provider.calls[1].text == "42"


def test_earlier_turns_reach_the_model(world, guard):
    history = [{"role": "user", "content": "I am Ada."}, {"role": "assistant", "content": "Hello, Ada."}]

    guard.post("/v1/runs", **run_body("Who am I?", history=history))

    (call,) = world.provider.calls
    assert [each["content"] for each in call.body["messages"][1:]] == [
        "I am Ada.",
        "Hello, Ada.",
        "Who am I?",
    ]


def test_a_stream_tells_pieces_tools_and_the_end(world, guard):
    world.provider.script(Reply(text="let me see", tool_calls=(SIX_TIMES_SEVEN,)), Reply(text="it is 42"))

    with guard.stream("POST", "/v1/runs", **run_body("6 * 7?", stream=True)) as response:
        events = sse(response)

    kinds = [kind for kind, _ in events]
    deltas = [content for kind, content in events if kind == "delta"]
    assert kinds == ["started", *["delta"] * 3, "tool", *["delta"] * 3, "completed"]
    assert [(each["step"], each["text"]) for each in deltas[2:4]] == [(1, "see"), (2, "it ")]
    assert events[4][1] == {"name": "calculate", "status": "ok"}
    assert events[-1][1]["output"] == "it is 42"


def test_a_stream_stays_a_stream(world, guard):
    world.provider.script(Reply(text="one two three four", chunk_delay_s=0.3))
    start = time.monotonic()

    with guard.stream("POST", "/v1/runs", **run_body("count", stream=True)) as response:
        deltas = (line for line in response.iter_lines() if line.startswith("event: delta"))
        arrivals = [time.monotonic() - start for _ in deltas]
    whole = time.monotonic() - start

    assert len(arrivals) == 4
    assert arrivals[-1] - arrivals[0] > 0.6
    assert whole - arrivals[0] > 1.0


def test_runs_at_once_do_not_mix(world, guard):
    def ask(number: int) -> str:
        return str(guard.post("/v1/runs", **run_body(f"number {number}")).json()["output"])

    with ThreadPoolExecutor(12) as pool:
        outputs = list(pool.map(ask, range(36)))

    assert outputs == [f"echo: number {number}" for number in range(36)]


def test_spans_continue_the_caller_s_trace_and_name_the_llm_call(world, guard):
    answer = guard.post("/v1/runs", **run_body("hello"), headers={"traceparent": CALLER}).json()

    trace_id = CALLER.split("-")[1]
    spans = {each["name"]: each for each in world.agent.events("span") if each["trace_id"] == trace_id}
    assert answer["trace_id"] == trace_id
    assert spans["run"]["parent_span_id"] == CALLER.split("-")[2]
    assert spans["chat"]["parent_span_id"] == spans["run"]["span_id"]
    assert spans["chat"]["attributes"]["gen_ai.request.model"] == "model-1"
    (call,) = [each for each in world.agent.events("llm-call") if each["trace_id"] == trace_id]
    assert (call["agent"], call["provider"], call["model"], call["status"]) == (
        "agent-a",
        "openai",
        "model-1",
        200,
    )
    assert call["duration_ms"] > 0


def test_calls_leave_by_the_egress_proxy(world, guard):
    guard.post("/v1/runs", **run_body("hello"))

    assert set(world.proxy.targets) == {f"CONNECT 127.0.0.1:{world.provider.port}"}


FAILURES = {
    "401": (Reply(status=401), 502, "provider-key-refused"),
    "403": (Reply(status=403), 502, "provider-key-refused"),
    "429": (Reply(status=429, retry_after="7"), 503, "provider-rate-limited"),
    "400": (Reply(status=400), 502, "provider-refused"),
    "500": (Reply(status=500), 502, "provider-failed"),
    "no JSON": (Reply(body="<html>"), 502, "provider-malformed"),
    "other JSON": (Reply(body='{"object": "chat.completion"}'), 502, "provider-malformed"),
    "wrong types": (Reply(body='{"choices": [{"message": 7}]}'), 502, "provider-malformed"),
    "slow": (Reply(text="late", delay_s=5), 504, "provider-timeout"),
}


@pytest.mark.parametrize(("reply", "status", "code"), FAILURES.values(), ids=FAILURES)
def test_a_failure_of_the_provider_has_a_name(world, guard, reply, status, code):
    world.provider.script(reply)

    answer = guard.post("/v1/runs", **run_body("hello"))

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == (reply.retry_after or None)


BREAKS = {
    "reset": (Reply(text="one two three", break_after=2, reset=True), "provider-unreachable"),
    "cut short": (Reply(text="one two three", break_after=3), "provider-malformed"),
    "error": (Reply(status=500), "provider-failed"),
}


@pytest.mark.parametrize(("reply", "code"), BREAKS.values(), ids=BREAKS)
def test_a_stream_that_breaks_ends_in_failed(world, guard, reply, code):
    world.provider.script(reply)

    with guard.stream("POST", "/v1/runs", **run_body("count", stream=True)) as response:
        events = sse(response)

    assert (events[-1][0], events[-1][1]["code"]) == ("failed", code)
    assert "completed" not in dict(events)


def test_a_model_that_never_comes_to_an_end_is_stopped(world, guard):
    world.provider.script(*[Reply(tool_calls=(SIX_TIMES_SEVEN,))] * 9)

    answer = guard.post("/v1/runs", **run_body("loop"))

    assert answer.json()["code"] == "run-steps-exceeded"
    assert len(world.provider.calls) <= 4


@pytest.mark.parametrize("seen", ["started", "delta"])
def test_a_caller_that_hangs_up_ends_the_run_and_its_call(world, guard, seen):
    runs, calls = count(world, "run"), len(world.agent.events("llm-call"))
    world.provider.script(Reply(text="one two three four five six seven", chunk_delay_s=1))

    with guard.stream("POST", "/v1/runs", **run_body("count", stream=True)) as response:
        next(line for line in response.iter_lines() if line == f"event: {seen}")
    hung_up = time.monotonic()

    while count(world, "run") == runs or len(world.agent.events("llm-call-started")) > len(
        world.agent.events("llm-call")
    ):
        assert time.monotonic() < hung_up + 5
        time.sleep(0.05)
    assert [each["status"] for each in world.agent.events("span") if each["name"] == "run"][
        -1
    ] == "CancelledError"
    assert {each["status"] for each in world.agent.events("llm-call")[calls:]} <= {"cancelled"}


def count(world, name: str) -> int:
    return len([each for each in world.agent.events("span") if each["name"] == name])
