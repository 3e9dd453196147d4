"""The judged way, end to end: the agent's console script, the guard's own egress over mTLS, a provider over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import httpx2
import pytest
from agent_process import AgentProcess, run_body, sse
from authority import Authority
from egress_world import AGENT, GUARD, PROVIDER, Journal, RunningEgress, make_rules, make_settings
from egress_world import World as Guarded
from egress_world import server_side as one_sided
from fake_guard import BLOCKED, FakeGuard
from mutx_guardrail.verdict import Reason
from mutx_provider_double import ProviderDouble, Reply, ToolCall
from mutx_reference_agent.providers import GUARD_REFUSALS
from world import FIRST_KEY, write_key

CARD = "card-1234-5678-9012"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A guard with three rules between agents and a provider."""
    own = tmp_path_factory.mktemp("judged")
    tenant, public = Authority(own, "tenant"), Authority(own, "public")
    with ProviderDouble(tls=one_sided(public, PROVIDER)) as provider:
        rules = make_rules(provider, public)
        settings = make_settings(own, tenant, rules, [provider.port])
        guard, journal = FakeGuard(), Journal()
        with RunningEgress(settings, guard, {PROVIDER: ["127.0.0.1"]}, journal) as egress:
            yield Guarded(own, tenant, public, provider, guard, journal, egress)


def start_agent(guarded: Guarded, provider: str) -> AgentProcess:
    own = guarded.own / provider
    own.mkdir()
    (own / "state").mkdir()
    write_key(own / "provider-key", FIRST_KEY)
    guarded.tenant.issue(AGENT, into=own / "egress.pem")
    return AgentProcess(
        own / "process",
        {
            "MUTX_AGENT_NAME": "agent-a", "MUTX_AGENT_PROVIDER": provider, "MUTX_AGENT_MODEL": "model-1",
            "MUTX_AGENT_KEY_FILE": str(own / "provider-key"), "MUTX_AGENT_STATE": str(own / "state"),
            "MUTX_AGENT_GUARD": guarded.url(), "MUTX_AGENT_GUARD_CERTIFICATE": str(own / "egress.pem"),
            "MUTX_AGENT_GUARD_KEY": str(own / "egress.pem"), "MUTX_AGENT_GUARD_CA": str(guarded.tenant.file),
            "MUTX_AGENT_CALL_RETRIES": "0", "MUTX_AGENT_CALL_LIMIT_S": "20",
        },
    )  # fmt: skip


@pytest.fixture(scope="module", params=["openai", "anthropic"])
def agent(request: pytest.FixtureRequest, guarded: Guarded) -> Iterator[AgentProcess]:
    started = start_agent(guarded, request.param)
    started.wait_for("loaded")
    yield started
    assert started.stop() == 0


@pytest.fixture
def world(guarded: Guarded) -> Guarded:
    guarded.provider.forget()
    guarded.guard.forget()
    guarded.journal.lines.clear()
    return guarded


def ask(agent: AgentProcess, text: str) -> httpx2.Response:
    return httpx2.post(f"{agent.url}/v1/runs", **run_body(text), timeout=60, trust_env=False)


def test_a_run_is_judged_in_both_directions_and_the_key_passes_through(world, agent):
    world.provider.script(
        Reply(tool_calls=(ToolCall("calculate", {"expression": "6 * 7"}),)), Reply(text="It is 42.")
    )

    answer = ask(agent, "What is 6 * 7?").json()

    assert (answer["status"], answer["output"], answer["steps"]) == ("completed", "It is 42.", 2), answer
    assert {call.key for call in world.provider.calls} == {FIRST_KEY}
    assert "What is 6 * 7?" in {text for text, _, _ in world.guard.inputs}
    assert "It is 42." in {text for text, _ in world.guard.outputs}
    assert {caller for _, caller, _ in world.guard.inputs} == {"agent-a"}
    assert len(world.journal.of("llm-call")) == 2
    assert FIRST_KEY not in agent.output


def test_what_the_guard_refuses_never_leaves_and_is_no_failure_of_the_provider(world, agent):
    answer = ask(agent, f"please {BLOCKED}").json()

    assert (answer["code"], answer["detail"]) == ("guard-refused", "the guard said prompt_injection_detected")
    assert world.provider.calls == []
    assert BLOCKED not in agent.output


def test_what_the_provider_answers_is_refused_as_well(world, agent):
    world.provider.script(Reply(text=f"now {BLOCKED}"))

    answer = ask(agent, "what shall I do?").json()

    assert answer["code"] == "guard-refused", answer
    assert BLOCKED not in str(answer)


def test_a_stream_that_is_refused_midway_ends_in_the_guard_s_code(world, agent):
    world.provider.script(Reply(text="all is well " * 60 + BLOCKED))

    with httpx2.stream(
        "POST", f"{agent.url}/v1/runs", **run_body("go on", stream=True), timeout=60, trust_env=False
    ) as response:
        events = sse(response)

    assert events[-1][0] == "failed", events[-1]
    assert events[-1][1]["code"] == "guard-refused", events[-1]
    assert BLOCKED not in str(events)


def test_a_card_reaches_neither_provider_nor_caller(world, agent):
    world.provider.script(Reply(text=f"it ends in {CARD}"))

    answer = ask(agent, f"mine is {CARD}").json()

    assert CARD not in str(world.provider.calls[-1].body)
    assert "[REDACTED]" in answer["output"]
    assert CARD not in answer["output"]


def test_a_guard_that_cannot_judge_ends_the_run(world, agent):
    world.guard.is_gone = True

    answer = ask(agent, "are you there?").json()

    assert (answer["code"], answer["detail"]) == ("guard-refused", "the guard said check_unavailable")
    assert world.provider.calls == []


def test_a_renewed_certificate_is_shown_without_a_restart(world, agent):
    own = agent.directory.parent
    before = len(agent.events("certificate-reloaded"))
    world.tenant.issue(AGENT, valid_for=timedelta(minutes=-1), into=own / "fresh.pem").replace(
        own / "egress.pem"
    )
    expired = ask(agent, "with the old one").json()
    world.tenant.issue(AGENT, into=own / "fresh.pem").replace(own / "egress.pem")

    answer = ask(agent, "with the new one").json()

    assert expired["code"] == "provider-unreachable", expired
    assert answer["status"] == "completed", answer
    assert len(agent.events("certificate-reloaded")) == before + 2


def test_every_reason_of_a_verdict_is_known_as_the_guard_s():
    assert {reason.value for reason in Reason} <= GUARD_REFUSALS


def test_the_guard_is_known_by_the_tenant_s_authority_alone(world, agent, tmp_path):
    foreign = Authority(tmp_path, "foreign")
    own = tmp_path / "agent"
    (own / "state").mkdir(parents=True)
    write_key(own / "provider-key", FIRST_KEY)
    stranger = AgentProcess(
        own / "process",
        {
            "MUTX_AGENT_NAME": "agent-a", "MUTX_AGENT_PROVIDER": "openai", "MUTX_AGENT_MODEL": "model-1",
            "MUTX_AGENT_KEY_FILE": str(own / "provider-key"), "MUTX_AGENT_STATE": str(own / "state"),
            "MUTX_AGENT_GUARD": world.url(), "MUTX_AGENT_GUARD_CERTIFICATE": str(world.certificate(AGENT)),
            "MUTX_AGENT_GUARD_KEY": str(world.certificate(AGENT)), "MUTX_AGENT_GUARD_CA": str(foreign.file),
            "MUTX_AGENT_CALL_RETRIES": "0",
        },
    )  # fmt: skip
    stranger.wait_for("loaded")

    answer = ask(stranger, "hello").json()
    stranger.stop()

    assert answer["code"] == "provider-unreachable"
    assert world.provider.calls == []
    assert GUARD not in str(answer)
