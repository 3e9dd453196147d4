"""Agents that are dead, slow, taken over or talk nonsense: what a caller is told, and that no word comes through."""

from __future__ import annotations

import json
import ssl
import time

import pytest
from agent_process import sse
from authority import Authority
from misbehaving import closed_at_once, endless_headers, garbage, other_protocol, packed, silence
from mutx_guardrail.service.settings import AgentAddress
from mutx_provider_double import ProviderDouble
from mutx_service.settings import TlsFiles
from running_guard import RunningGuard
from scripted_agent import JSON_HEAD, STREAM_HEAD, ScriptedAgent, event, fails, raw, streams, whole

RUNS = "/v1/agents/agent-a/runs"
CANARY = "canary-7c41"


@pytest.fixture(scope="module")
def bad(shared_way):
    """One agent that does what it is told to, and a guard that gives it a second."""
    with ScriptedAgent() as agent:
        address = AgentAddress("agent-a.acme.internal", agent.url)
        guard = RunningGuard(shared_way.settings(agents={"agent-a": address}, run_s=1.0))
        yield agent, guard
        guard.stop()


@pytest.fixture
def ask(way, bad):
    """Run the agent once by a script; returns the status, a document or a stream's events, and the guard."""
    agent, guard = bad
    guard.anomaly.resume("agent-a")

    def run(script, *, is_stream=False, headers=None):
        agent.script = script
        body = {"input": "hello", "stream": is_stream}
        with (
            way.client(guard.url) as client,
            client.stream("POST", RUNS, json=body, headers=headers) as response,
        ):
            if response.headers["content-type"].startswith("text/event-stream"):
                return response.status_code, sse(response), guard
            return response.status_code, json.loads(response.read()), guard

    return run


def endless_answer(size=1 << 20):
    async def script(talk):
        await talk.say(JSON_HEAD + b"transfer-encoding: chunked\r\n\r\n")
        await talk.say_for_ever(b"%x\r\n" % size + b" " * size + b"\r\n")

    return script


WHOLE = {
    "silence": (silence, 504, "agent-timeout"),
    "endless headers": (endless_headers, 502, "agent-malformed"),
    "garbage": (garbage, 502, "agent-malformed"),
    "another protocol": (other_protocol, 504, "agent-timeout"),
    "closed at once": (closed_at_once, 502, "agent-malformed"),
    "packed": (packed, 502, "agent-malformed"),
    "an endless answer": (endless_answer(), 502, "answer-too-large"),
    "no JSON": (
        raw(JSON_HEAD + b"content-length: 11\r\n\r\n" + CANARY.encode(), closes=False),
        502,
        "agent-malformed",
    ),
    "broken off": (raw(JSON_HEAD + b"content-length: 99\r\n\r\n{"), 502, "agent-malformed"),
    "another run's answer": (whole("hi", id=CANARY), 502, "agent-malformed"),
    "no text": (whole(None), 502, "agent-malformed"),
    "half a character": (whole("\ud800"), 502, "agent-malformed"),
    "a redirect": (fails(302, b"", head=b"location: http://127.0.0.1:9/\r\n"), 502, "agent-malformed"),
    "a problem of the contract": (fails(503, {"code": "agent-busy", "detail": CANARY}), 503, "agent-busy"),
    "a problem of its own": (fails(500, {"code": CANARY, "title": CANARY}), 502, "agent-failed"),
    "a problem with another status": (fails(400, {"code": "agent-busy"}), 502, "agent-malformed"),
    "an error page": (fails(500, CANARY.encode(), media="text/html"), 502, "agent-failed"),
}


@pytest.mark.parametrize(("script", "status", "code"), WHOLE.values(), ids=WHOLE)
def test_what_is_no_answer_has_a_name_and_no_words(ask, journal, script, status, code):
    began = time.monotonic()

    told_status, document, guard = ask(script)

    assert (told_status, document["code"]) == (status, code)
    assert CANARY not in json.dumps(document) + journal.text
    assert time.monotonic() - began < 6
    state = guard.anomaly.state("agent-a", guard.policy.anomaly)
    assert (state.requests, state.errors) == (1, 1)


STREAMS = {
    "broken off": (streams(("delta", {"step": 1, "text": "one"})), "agent-malformed"),
    "silent": (raw(STREAM_HEAD, closes=False), "agent-timeout"),
    "silent after its begin": (streams(("delta", {"step": 1, "text": "x"}), pause_s=30.0), "agent-timeout"),
    "no JSON": (raw(STREAM_HEAD, b"event: delta\ndata: {\n\n"), "agent-malformed"),
    "an unknown event": (streams(("canary-7c41", {}), output="x"), "agent-malformed"),
    "another run's begin": (raw(STREAM_HEAD, event("started", {"id": CANARY})), "agent-malformed"),
    "a step that goes on after a later one": (
        streams(("delta", {"step": 2, "text": "a"}), ("delta", {"step": 1, "text": "b"}), output="b"),
        "agent-malformed",
    ),
    "a step that goes on after a tool": (
        streams(
            ("delta", {"step": 1, "text": "a"}), ("tool", {"name": "t", "status": "ok"}),
            ("delta", {"step": 1, "text": "b"}), output="b",
        ),
        "agent-malformed",
    ),
    "a tool's name that is a text": (
        streams(("tool", {"name": f"{CANARY} is the key", "status": "ok"})),
        "agent-malformed",
    ),
    "its own failure": (streams(("failed", {"code": "provider-failed", "detail": CANARY})), "provider-failed"),
    "an unknown failure": (streams(("failed", {"code": CANARY})), "agent-failed"),
    "a line without end": (raw(STREAM_HEAD, b"data: " + b"x" * (2 << 20)), "agent-malformed"),
}  # fmt: skip


@pytest.mark.parametrize(("script", "code"), STREAMS.values(), ids=STREAMS)
def test_a_stream_that_goes_wrong_ends_in_the_problem(ask, journal, script, code):
    status, told, guard = ask(script, is_stream=True)

    failed = told[-1][1] if isinstance(told, list) else told
    assert failed["code"] == code
    assert status == (200 if isinstance(told, list) else failed["status"])
    assert not isinstance(told, list) or (told[-1][0], "completed" in dict(told)) == ("failed", False)
    assert CANARY not in json.dumps(told) + journal.text
    assert guard.anomaly.state("agent-a", guard.policy.anomaly).errors == 1


def test_what_an_agent_adds_to_its_answer_stays_behind(ask):
    _, document, _ = ask(whole("fine", secret=CANARY, trace_id=CANARY))

    assert document["output"] == "fine"
    assert CANARY not in json.dumps(document)


def test_a_secret_split_over_pieces_of_a_stream_is_never_whole_outside(ask):
    key = "AKIA" + "IOSFODNN7EXAMPLQ"
    pieces = [
        ("delta", {"step": 1, "text": piece})
        for piece in ["filler words " * 40, key[:7], key[7:], " and more " * 40]
    ]

    _, events, _ = ask(streams(*pieces, output="done"), is_stream=True)

    text = "".join(content["text"] for name, content in events if name == "delta")
    assert key not in text
    assert "[REDACTED]" in text
    assert events[-1][0] == "completed"


def test_the_caller_s_own_headers_stay_at_the_guard(ask, bad):
    ask(whole("fine"), headers={"cookie": CANARY, "x-forwarded-for": CANARY})

    head = bad[0].heads[-1]
    assert CANARY.encode() not in head
    assert b"traceparent: 00-" in head


def test_an_agent_that_is_not_there_is_unreachable(way):
    guard = RunningGuard(
        way.settings(agents={"agent-a": AgentAddress("agent-a.acme.internal", "https://127.0.0.1:9")})
    )

    with way.client(guard.url) as client:
        answer = client.post(RUNS, json={"input": "hello"})
    guard.stop()

    assert (answer.status_code, answer.json()["code"]) == (502, "agent-unreachable")


def test_an_agent_with_another_s_certificate_gets_no_run(way):
    calls = len(way.agent.events("span"))
    guard = RunningGuard(
        way.settings(agents={"agent-b": AgentAddress("agent-b.acme.internal", way.agent.url)})
    )

    with way.client(guard.url) as client:
        answer = client.post("/v1/agents/agent-b/runs", json={"input": "hello"})
    guard.stop()

    assert (answer.status_code, answer.json()["code"]) == (502, "agent-unreachable")
    assert len(way.agent.events("span")) == calls


@pytest.mark.parametrize(
    ("name", "agent", "status", "code"),
    [
        ("agent-a.acme.internal", "agent-a", 403, "caller-refused"),
        ("stranger.acme.internal", "agent-a", 403, "caller-refused"),
        ("control-plane.mutx.internal", "agent-x", 404, "agent-unknown"),
        ("control-plane.mutx.internal", "agent-listed", 404, "agent-unknown"),
    ],
    ids=["the agent itself", "a stranger", "no such agent", "one without an address"],
)
def test_who_may_not_run_it_does_not(way, name, agent, status, code):
    agents = {
        "agent-a": AgentAddress("agent-a.acme.internal", way.agent.url),
        "agent-listed": AgentAddress("l"),
    }
    guard = RunningGuard(way.settings(agents=agents))

    with way.client(guard.url, name) as client:
        answer = client.post(f"/v1/agents/{agent}/runs", json={"input": "hello"})
    guard.stop()

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_agent_of_another_authority_gets_no_run(way, tmp_path):
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stranger.load_cert_chain(Authority(tmp_path, "public").issue("agent-a.acme.internal"))

    with ProviderDouble(tls=stranger) as impostor:
        address = AgentAddress("agent-a.acme.internal", f"https://127.0.0.1:{impostor.port}")
        guard = RunningGuard(way.settings(agents={"agent-a": address}))
        with way.client(guard.url) as client:
            answer = client.post(RUNS, json={"input": "hello"})
        guard.stop()

    assert (answer.status_code, answer.json()["code"]) == (502, "agent-unreachable")
    assert impostor.calls == []


def test_the_guard_s_certificate_is_the_file_s_of_the_moment(way, tmp_path):
    file = way.tenant.issue("stranger.acme.internal", into=tmp_path / "client.pem")
    guard = RunningGuard(way.settings(agent_tls=TlsFiles(file, file, way.tenant.file)))

    with way.client(guard.url) as client:
        refused = client.post(RUNS, json={"input": "hello"})
        way.tenant.issue("guard.acme.internal", into=file)
        taken = client.post(RUNS, json={"input": "hello"})
    guard.stop()

    assert (refused.status_code, taken.status_code) == (502, 200)
