"""A second process, Anthropic's wire on plain loopback: pause over a restart, and a stop in the middle of a run."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from agent_process import AgentProcess, run_body, sse
from mutx_provider_double import ProviderDouble, Reply, ToolCall
from world import write_key


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderDouble]:
    with ProviderDouble() as double:
        yield double


@pytest.fixture
def start(tmp_path: Path, provider: ProviderDouble) -> Iterator:
    """Start an agent on the same state directory each time; every one ends with the test."""
    (tmp_path / "state").mkdir()
    write_key(tmp_path / "key", "made-up")
    started: list[AgentProcess] = []

    def start(**more: str) -> AgentProcess:
        variables = {
            "MUTX_AGENT_NAME": "agent-c", "MUTX_AGENT_PROVIDER": "anthropic", "MUTX_AGENT_MODEL": "model-2",
            "MUTX_AGENT_BASE_URL": provider.anthropic_url, "MUTX_AGENT_KEY_FILE": str(tmp_path / "key"),
            "MUTX_AGENT_STATE": str(tmp_path / "state"), "MUTX_AGENT_CALL_RETRIES": "1", **more,
        }  # fmt: skip
        started.append(AgentProcess(tmp_path / f"process-{len(started)}", variables))
        return started[-1]

    yield start
    for agent in started:
        agent.process.kill()
        agent.process.wait()


def test_a_pause_lets_runs_end_and_outlives_a_restart_and_a_stop_waits_as_long_as_it_may(
    start, provider, tmp_path
):
    """One story in one test: each start costs seconds of loading LangChain."""
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.bind(str(tmp_path / "notify"))
    agent = start(NOTIFY_SOCKET=str(tmp_path / "notify"), MUTX_AGENT_STOP_LIMIT_S="1")
    assert httpx2.get(f"{agent.url}/healthz").status_code == 200
    agent.wait_for("loaded")
    assert notified.recv(200).startswith(b"READY=1")
    notified.close()

    tool = ToolCall("tell_time", {"zone": "Asia/Tokyo"})
    provider.script(Reply(text="let me see", tool_calls=(tool,)), Reply(text="late there", chunk_delay_s=0.4))
    with httpx2.stream(
        "POST", f"{agent.url}/v1/runs", timeout=60, **run_body("when?", stream=True)
    ) as running:
        paused = httpx2.put(f"{agent.url}/v1/pause", json={"reason": "too many errors"}).json()
        refused = httpx2.post(f"{agent.url}/v1/runs", **run_body("go"))
        events = sse(running)

    assert (paused["paused"], paused["by"], paused["reason"]) == (True, "loopback", "too many errors")
    assert (refused.status_code, refused.json()["code"]) == (409, "agent-paused")
    assert (events[-1][0], events[-1][1]["output"]) == ("completed", "late there")
    assert events[-1][1]["steps"] == 2

    httpx2.delete(f"{agent.url}/v1/pause")
    provider.script(Reply(text="one two three four five six seven eight", chunk_delay_s=1))
    with httpx2.stream("POST", f"{agent.url}/v1/runs", timeout=60, **run_body("go", stream=True)) as running:
        paused = httpx2.put(f"{agent.url}/v1/pause", content=b"").json()
        agent.process.terminate()
        events = sse(running)

    assert (events[-1][0], events[-1][1]["code"]) == ("failed", "agent-stopping")
    assert agent.process.wait(timeout=30) == 0

    agent = start(MUTX_AGENT_STOP_LIMIT_S="20")
    agent.wait_for("loaded")
    assert httpx2.get(f"{agent.url}/readyz").json()["code"] == "agent-paused"
    assert httpx2.get(f"{agent.url}/v1/pause").json() == paused
    assert httpx2.delete(f"{agent.url}/v1/pause").json() == {"paused": False}
    assert httpx2.get(f"{agent.url}/readyz").json()["status"] == "ready"

    provider.script(Reply(status=529), Reply(text="after one retry", chunk_delay_s=0.3))
    answers = []
    whole = threading.Thread(
        target=lambda: answers.append(httpx2.post(f"{agent.url}/v1/runs", timeout=60, **run_body("go")))
    )
    whole.start()
    agent.wait_for("llm-call", more_than=0)
    agent.process.terminate()
    agent.wait_for("stopping")
    whole.join()

    assert answers[0].json()["output"] == "after one retry"
    assert agent.process.wait(timeout=30) == 0
    assert [each["event"] for each in agent.events() if each["event"] != "span"][-1] == "stopped", (
        agent.output
    )
