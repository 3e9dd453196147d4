"""What guards as processes know of agents: kept over a restart, shared by Redis, and told when that is gone."""

from __future__ import annotations

import pytest
from guard_process import until
from shared_redis import SharedRedis


def test_a_guard_that_is_started_again_knows_whom_it_paused(start, light, tmp_path):
    (tmp_path / "state").mkdir()
    settings = light | {"STATE": str(tmp_path / "state")}
    first = start(settings)
    with first.client() as client:
        for _ in range(20):
            client.post("/v1/agents/a/outcome", json={"ok": False})
    first.stop()

    with start(settings).client() as client:
        verdict = client.post("/v1/guard/input", json={"text": "hello", "agent": "a"}).json()

    assert verdict["reason"] == "agent_paused"


@pytest.fixture
def shared(tmp_path):
    (tmp_path / "redis").mkdir()
    running = SharedRedis(tmp_path / "redis")
    running.start()
    yield running
    running.stop()


def test_two_guards_that_share_a_redis_let_a_hundred_requests_pass_in_all(start, light, shared, tmp_path):
    guards = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        guards.append(start(light | shared.variables(), own=tmp_path / name))
    with guards[0].client() as one, guards[1].client() as other:
        answers = [
            (one, other)[at % 2].post("/v1/guard/input", json={"text": "hello", "agent": "a"}).json()
            for at in range(101)
        ]

    assert [answer["allowed"] for answer in answers] == [True] * 100 + [False]
    assert answers[100]["reason"] == "rate_limit_exceeded"


def test_while_the_shared_redis_is_gone_the_guard_says_so_and_lets_nothing_pass(start, light, shared):
    guard = start(light | shared.variables())
    with guard.client() as client:

        def told(agent="a"):
            return client.post("/v1/guard/input", json={"text": "hello", "agent": agent}).json()

        def ready():
            return client.get("/readyz")

        before = (told()["allowed"], ready().status_code)
        shared.front.stop()
        lost = told()
        until(lambda: ready().status_code == 503, within_s=20)
        said = ready().json()["detail"]
        shared.front.start()
        until(lambda: ready().status_code == 200, within_s=20)
        after = told()

    assert before == (True, 200)
    assert (lost["allowed"], lost["reason"]) == (False, "check_unavailable")
    assert lost["checks"][0]["unavailable"] == ["anomaly"]
    assert said.startswith("anomaly: the store failed")
    assert after["allowed"] is True
    kinds = [line["kind"] for line in guard.lines if line["event"] == "anomaly"]
    assert kinds == ["store_lost", "store_back"]
    assert "a-password-of-the-guards" not in guard.log.read_text()
