"""The agent's own pause beside the guard's, with the reference agent that keeps it in a file."""

from __future__ import annotations

import time

import pytest
from mutx_guardrail.runs.pause import OWN_REASON
from mutx_guardrail.service.settings import AgentAddress
from mutx_provider_double import Reply
from running_guard import RunningGuard

RUNS, PAUSE = "/v1/agents/agent-a/runs", "/v1/agents/agent-a/pause"
FEW = {"anomaly": {"requests": 10_000, "error_minimum": 4, "pause_s": 2}}


def wait_until(is_so, limit_s=8.0):
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_agent_is_held_on_both_sides_and_let_go_on_both(way, caller):
    held = caller.put(PAUSE, json={"reason": "looked at"}).json()
    refused = caller.post(RUNS, json={"input": "hello"})
    its_own = (way.own / "state/paused").exists()
    told = caller.get(PAUSE).json()
    free = caller.delete(PAUSE).json()
    answer = caller.post(RUNS, json={"input": "hello"})

    assert (held["guard"], held["pause"]["paused"], held["pause"]["reason"]) == ("held", True, "looked at")
    assert (refused.status_code, refused.json()["code"], its_own) == (409, "agent-paused", True)
    assert refused.json()["verdict"]["reason"] == "agent_paused"
    assert told == held
    assert (free["guard"], free["pause"]["paused"], answer.status_code) == ("running", False, 200)


def test_the_guard_refuses_for_itself_whatever_the_agent_does(way, caller):
    caller.put(PAUSE)
    (way.own / "state/paused").unlink()

    refused = caller.post(RUNS, json={"input": "hello"})

    assert (refused.status_code, refused.json()["code"]) == (409, "agent-paused")
    assert way.provider.calls == []


def test_a_pause_that_a_person_made_on_the_host_is_told_and_stays(way, caller):
    (way.own / "state/paused").touch()

    answers = [caller.post(RUNS, json={"input": "hello", "stream": stream}) for stream in (False, True)]

    assert [(each.status_code, each.json()["code"]) for each in answers] == [(409, "agent-paused")] * 2
    assert (way.own / "state/paused").exists()


def test_errors_pause_the_agent_on_both_sides_and_a_probe_ends_both(way, guard, caller, journal):
    guard.policy = type(guard.policy).model_validate(FEW)
    way.provider.script(*[Reply(status=500)] * 4)
    codes = [caller.post(RUNS, json={"input": "hello"}).json()["code"] for _ in range(4)]

    refused = caller.post(RUNS, json={"input": "hello"})
    wait_until((way.own / "state/paused").exists)
    told = caller.get(PAUSE).json()
    wait_until(lambda: caller.get("/v1/agents/agent-a/state").json()["wait_s"] == 0)
    probe = caller.post(RUNS, json={"input": "hello"})

    assert codes == ["provider-failed"] * 4
    assert (refused.status_code, refused.json()["code"]) == (409, "agent-paused")
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    assert (told["pause"]["reason"], told["guard"]) == (OWN_REASON, "paused")
    assert journal.of("agent-paused")[-1]["tries"] == 1
    assert (probe.status_code, (way.own / "state/paused").exists()) == (200, False)
    assert caller.get("/v1/agents/agent-a/state").json()["phase"] == "running"


def test_a_resume_by_hand_lifts_both(way, guard, caller):
    guard.policy = type(guard.policy).model_validate({**FEW, "anomaly": {**FEW["anomaly"], "pause_s": 600}})
    way.provider.script(*[Reply(status=500)] * 4)
    for _ in range(4):
        caller.post(RUNS, json={"input": "hello"})
    wait_until((way.own / "state/paused").exists)

    state = caller.post("/v1/agents/agent-a/resume").json()

    assert (state["phase"], (way.own / "state/paused").exists()) == ("running", False)
    assert caller.post(RUNS, json={"input": "hello"}).status_code == 200


def test_an_agent_that_is_not_there_is_held_and_stays_held(way):
    guard = RunningGuard(way.settings(agents={"agent-a": AgentAddress("a.internal", "https://127.0.0.1:9")}))

    with way.client(guard.url) as client:
        held = client.put(PAUSE, json={"reason": "gone"})
        freed = client.delete(PAUSE)
        refused = client.post(RUNS, json={"input": "hello"})
    guard.stop()

    assert (held.status_code, held.json()) == (202, {"agent": "agent-a", "guard": "held", "pause": None})
    assert (freed.status_code, freed.json()["code"]) == (502, "agent-unreachable")
    assert refused.status_code == 409


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_agent_cannot_touch_its_pause(way, guard, method):
    with way.client(guard.url, "agent-a.acme.internal") as client:
        answer = client.request(method, PAUSE)

    assert (answer.status_code, answer.json()["code"]) == (403, "caller-refused")
    assert not (way.own / "state/paused").exists()
