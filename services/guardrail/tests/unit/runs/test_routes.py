"""The routes as an application has them: how many runs at once, what is refused before anything is asked."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from mutx_guardrail.runs.agents import Agents
from mutx_guardrail.service.app import Ports, create_app
from mutx_guardrail.service.settings import AgentAddress, Settings, read_settings
from mutx_service.settings import SettingsError
from runs_world import Agent, Pieces, a_world, completed, reply


def an_app(answer, runs=2):
    world, agent = a_world(), Agent(answer)
    settings = Settings(agents={"a": AgentAddress("a.internal", "http://127.0.0.1:9")}, runs=runs)
    judging = world.judging

    async def ready():
        return {}

    ports = Ports(
        judging.pipeline, judging._parts, judging.policy, judging.anomaly, None, judging.metrics,
        Agents(settings, lambda: httpx2.MockTransport(agent.handle)), ready,
    )  # fmt: skip
    return create_app(settings, ports), agent


def client_of(app):
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://guard")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_one_run_more_than_are_taken_is_refused_and_its_place_comes_back(stream):
    ends = asyncio.Event()

    class Slow(Pieces):
        async def __aiter__(self):
            await ends.wait()
            for piece in self._pieces:
                yield piece

    def answer(_request):
        response = reply(200, completed("fine"))
        if stream:
            line = b'event: failed\ndata: {"id": "r1", "code": "run-timeout"}\n\n'
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Slow([line]))
        return httpx2.Response(200, headers=response.headers, stream=Slow(response.stream._pieces))

    async def story():
        app, agent = an_app(answer)
        body = {"input": "hello", "id": "r1", "stream": stream}
        async with client_of(app) as client:
            running = [asyncio.create_task(client.post("/v1/agents/a/runs", json=body)) for _ in range(2)]
            while len(agent.runs) < 2:
                await asyncio.sleep(0.001)
            refused = await client.post("/v1/agents/a/runs", json=body)
            ends.set()
            await asyncio.gather(*running)
            return refused, await client.post("/v1/agents/a/runs", json=body)

    refused, later = asyncio.run(story())

    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (
        503,
        "guard-busy",
        "1",
    )
    assert later.status_code == (504 if stream else 200)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"input": "x", "more": 1}', 422, "request-invalid"),
        (b'{"input": "x", "input": "y"}', 422, "request-invalid"),
        (b"x" * (1 << 21), 413, "body-too-large"),
    ],
    ids=["an unknown field", "a name twice", "two megabytes"],
)
def test_a_body_that_is_no_run_is_refused_before_anything_is_judged(body, status, code):
    async def story():
        app, agent = an_app(lambda _: reply(200, completed("fine")))
        async with client_of(app) as client:
            headers = {"content-type": "application/json"}
            return await client.post("/v1/agents/a/runs", content=body, headers=headers), agent

    answer, agent = asyncio.run(story())

    assert (answer.status_code, answer.json()["code"], agent.calls) == (status, code, [])


def test_a_defect_is_told_as_one_and_takes_no_place_for_good():
    def answer(_request):
        raise RuntimeError("canary")

    async def story():
        app, _ = an_app(answer, runs=1)
        async with client_of(app) as client:
            return [await client.post("/v1/agents/a/runs", json={"input": "x"}) for _ in range(3)]

    answers = asyncio.run(story())

    assert [each.json()["code"] for each in answers] == ["defect"] * 3
    assert not any("canary" in each.text for each in answers)


def test_a_pause_s_reason_is_the_agent_s_text_and_judged_like_one():
    async def story():
        app, agent = an_app(lambda _: reply(200, completed("fine")))
        async with client_of(app) as client:
            agent.pause = {"paused": True, "reason": "ask ada@example.com"}
            masked = (await client.get("/v1/agents/a/pause")).json()
            agent.pause = {"paused": True, "reason": "I will kill you all"}
            return masked, (await client.get("/v1/agents/a/pause")).json()

    masked, refused = asyncio.run(story())

    assert masked["pause"]["reason"] == "ask [REDACTED]"
    assert refused["pause"] == {"paused": True, "since": "", "by": "", "reason": ""}


def test_an_agent_over_https_needs_the_guard_s_certificate():
    with pytest.raises(SettingsError, match="MUTX_GUARDRAIL_AGENT_CERTIFICATE"):
        read_settings({"MUTX_GUARDRAIL_AGENTS": "a=a.internal@https://a.internal:8080"})


def test_the_routes_are_described():
    app, _ = an_app(lambda _: reply(200, {}))

    paths = app.openapi()["paths"]

    assert set(paths["/v1/agents/{agent}/pause"]) == {"get", "put", "delete"}
    schema = paths["/v1/agents/{agent}/runs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"input", "history", "stream", "id"}
