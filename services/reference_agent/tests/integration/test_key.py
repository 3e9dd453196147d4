"""The provider key: rotated under load without a failed run, and in no output at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from agent_process import run_body
from mutx_provider_double import Reply
from world import FIRST_KEY

SECOND_KEY = "sk-canary-a93be2d4e5f6-second"
PROMPT = "canary-prompt-77c1 of a user"
ANSWER = "canary-answer-e0b4 of a model"


@pytest.fixture
def first_key_again(world):
    yield
    world.write_key(FIRST_KEY)


def test_no_run_fails_while_the_key_is_rotated_and_the_old_one_revoked(world, first_key_again):
    world.provider.accept_keys(FIRST_KEY, SECOND_KEY)
    stop, statuses = threading.Event(), []

    def load() -> None:
        with world.guard() as client:
            while not stop.is_set():
                statuses.append(client.post("/v1/runs", **run_body("go")).status_code)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for old, new in [(FIRST_KEY, SECOND_KEY), (SECOND_KEY, FIRST_KEY)] * 2:
        seen = len(statuses)
        world.provider.accept_keys(old, new)
        world.write_key(new)
        # Revoked at the same moment: calls on their way carry the old one.
        world.provider.accept_keys(new)
        while len(statuses) < seen + 12:
            threading.Event().wait(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    world.provider.accept_keys(FIRST_KEY)

    assert set(statuses) == {200}
    assert {call.key for call in world.provider.calls} == {FIRST_KEY, SECOND_KEY}


def test_a_key_that_is_not_there_makes_the_agent_unready_and_names_it(world, guard, first_key_again):
    (world.own / "provider-key").unlink()

    answers = [guard.get("/readyz"), guard.post("/v1/runs", **run_body("go"))]

    assert [(each.status_code, each.json()["code"]) for each in answers] == [(503, "key-missing")] * 2
    assert guard.get("/healthz").status_code == 200


def test_key_and_text_are_in_no_output_whatever_happens(world, guard):
    """The double's errors quote the key in full, as a careless provider would."""
    replies = [
        Reply(text=ANSWER), Reply(status=401), Reply(status=429), Reply(status=400), Reply(status=500),
        Reply(body=f"{FIRST_KEY} {ANSWER}"), Reply(body=f'{{"choices": "{ANSWER} {FIRST_KEY}"}}'),
    ]  # fmt: skip
    answers = ""
    for reply in replies:
        world.provider.script(reply)
        answers += guard.post("/v1/runs", **run_body(PROMPT)).text
        world.provider.script(reply)
        answers += guard.post("/v1/runs", **run_body(PROMPT, stream=True)).text
    guard.post("/v1/runs", **run_body(PROMPT, nonsense=PROMPT))
    guard.post(
        "/v1/runs", content=f'{{"input": "{PROMPT}'.encode(), headers={"content-type": "application/json"}
    )

    said = world.agent.output
    process = Path(f"/proc/{world.agent.process.pid}")
    about = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
    state = b"".join(file.read_bytes() for file in (world.own / "state").iterdir())
    assert ANSWER.split(maxsplit=1)[0] in answers
    assert "llm-call" in said
    assert [
        secret for secret in ("canary-prompt", "canary-answer", "sk-canary", "sk-") if secret in said
    ] == []
    assert FIRST_KEY not in answers
    assert b"canary" not in about + state


def test_no_library_sends_anything_beside_the_calls(world, guard):
    guard.post("/v1/runs", **run_body("hello"))

    assert [call.dialect for call in world.provider.calls] == ["openai"]
    assert {target.split(":")[1] for target in world.proxy.targets} == {str(world.provider.port)}
