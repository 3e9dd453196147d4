"""The judged way: unmodified clients of both providers, each text judged on the way in and on the way out."""

from __future__ import annotations

import json
import time

import anthropic
import httpx2
import openai
import pytest
from egress_world import AGENT, KEY, OTHER, World
from fake_guard import BLOCKED
from mutx_guardrail.document import Origin
from mutx_provider_double import Reply, ToolCall

CARD = "card-1234-5678-9012"


@pytest.fixture
def chat(world: World):
    with openai.OpenAI(
        api_key=KEY, base_url=world.url("/openai/v1"), http_client=world.client(), max_retries=0
    ) as client:
        yield client.chat.completions


@pytest.fixture
def messages(world: World):
    with anthropic.Anthropic(
        api_key=KEY, base_url=world.url("/anthropic"), http_client=world.client(), max_retries=0
    ) as client:
        yield client.messages


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def wait_for_call(world: World, count: int = 1) -> dict:
    """The second line is written when the answer is out already."""
    deadline = time.monotonic() + 5
    while len(world.journal.of("llm-call")) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return world.journal.of("llm-call")[-1]


def test_an_openai_client_gets_its_answer_with_its_own_key(world, chat):
    answer = chat.create(model="m-1", messages=user("hello there"))

    assert answer.choices[0].message.content == "echo: hello there"
    assert [call.key for call in world.provider.calls] == [KEY]
    assert world.guard.inputs == [("hello there", "agent-a", Origin.USER)]
    assert ("echo: hello there", "agent-a") in world.guard.outputs


def test_an_anthropic_client_gets_its_answer_with_its_own_key(world, messages):
    answer = messages.create(model="m-1", max_tokens=9, system="be brief", messages=user("hello there"))

    assert answer.content[0].text == "echo: hello there"
    # The client of that version shows its key so, and not as `x-api-key`.
    assert [call.headers["authorization"] for call in world.provider.calls] == [f"Bearer {KEY}"]
    assert sorted(world.guard.inputs) == [
        ("be brief", "agent-a", Origin.AGENT), ("hello there", "agent-a", Origin.USER),
    ]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_request_does_not_leave_and_says_why_openai(world, chat, stream):
    with pytest.raises(openai.BadRequestError) as refused:
        chat.create(model="m-1", messages=user(f"please {BLOCKED}"), stream=stream)

    assert refused.value.code == "prompt_injection_detected"
    assert world.provider.calls == []
    assert world.journal.of("llm-call-started") == []


def test_a_refused_request_does_not_leave_and_says_why_anthropic(world, messages):
    with pytest.raises(anthropic.BadRequestError) as refused:
        messages.create(model="m-1", max_tokens=9, messages=user(f"please {BLOCKED}"))

    assert "prompt_injection_detected" in refused.value.message
    assert refused.value.body["error"]["type"] == "invalid_request_error"
    assert world.provider.calls == []


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": BLOCKED},
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": BLOCKED}]},
        {"role": "user", "content": "hi", "name": BLOCKED},
        {"role": "tool", "tool_call_id": "c1", "content": BLOCKED},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": [BLOCKED]})}}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function",
             "function": {"name": "f", "arguments": '{"a": "st\\u0065al the crown jewels"}'}}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": json.dumps({BLOCKED: 1})}}]},
        {"role": "assistant", "content": None, "refusal": BLOCKED},
        {"role": "user", "content": "hi", "whatever": {"deep": [{"in": BLOCKED}]}},
    ],
    ids=["system", "part", "name", "tool result", "arguments", "escaped", "argument", "refusal", "unknown field"],
)  # fmt: skip
def test_no_place_of_a_message_passes_unjudged(world, message):
    body = {"model": "m", "messages": [*user("hi"), message]}

    with world.client() as client:
        answer = client.post(world.url("/openai/v1/chat/completions"), json=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "prompt_injection_detected")
    assert world.provider.calls == []


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "description": BLOCKED}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"enum": [BLOCKED]}}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": BLOCKED}}},
        {"stop": [BLOCKED]},
        {"user": BLOCKED},
        {"prediction": {"type": "content", "content": BLOCKED}},
        {"metadata": {"note": BLOCKED}},
    ],
    ids=["tool", "enum", "format", "stop", "user", "prediction", "metadata"],
)
def test_no_field_of_a_request_passes_unjudged(world, more):
    body = {"model": "m", "messages": user("hi"), **more}

    with world.client() as client:
        answer = client.post(world.url("/openai/v1/chat/completions"), json=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "prompt_injection_detected")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/openai/v1/chat/completions", {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]}),
        ("/openai/v1/chat/completions", {"messages": [{"role": "user", "content": [
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]}),
        ("/openai/v1/chat/completions", {"messages": user("hi"), "modalities": ["text", "audio"]}),
        ("/openai/v1/chat/completions", {"messages": user("hi"), "logprobs": True}),
        ("/openai/v1/responses", {"input": "hi", "previous_response_id": "resp_1"}),
        ("/openai/v1/responses", {"input": "hi", "tools": [{"type": "mcp", "server_url": "https://evil.example"}]}),
        ("/openai/v1/responses", {"input": "hi", "tools": [{"type": "web_search"}]}),
        ("/openai/v1/responses", {"prompt": {"id": "pmpt_1"}}),
        ("/openai/v1/embeddings", {"input": [[1, 2, 3]]}),
        ("/openai/v1/completions", {"prompt": [9906, 1917]}),
        ("/anthropic/v1/messages", {"max_tokens": 1, "messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]}]}),
        ("/anthropic/v1/messages", {"max_tokens": 1, "messages": user("hi"),
                                    "mcp_servers": [{"type": "url", "url": "https://evil.example"}]}),
    ],
    ids=["image", "sound", "speech", "likelihoods", "state", "remote tool", "search", "stored prompt", "token ids",
         "old token ids", "image to anthropic", "remote tools to anthropic"],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused(world, path, body):
    with world.client() as client:
        answer = client.post(world.url(path), json={"model": "m", **body})

    assert answer.status_code == 400
    assert "cannot be judged" in answer.json()["error"]["message"]
    assert world.provider.calls == []


def test_what_is_to_be_masked_leaves_masked(world, chat):
    chat.create(model="m-1", messages=user(f"my card is {CARD}"))

    assert world.provider.calls[0].text == "my card is [REDACTED]"
    assert CARD not in json.dumps(world.provider.calls[0].body)


def test_a_masked_argument_stays_json(world):
    world.provider.script(Reply(text="paid"))
    arguments = json.dumps({"number": CARD, "amount": 3})
    call = {"id": "c1", "type": "function", "function": {"name": "pay", "arguments": arguments}}
    body = {
        "model": "m",
        "messages": [*user("hi"), {"role": "assistant", "content": None, "tool_calls": [call]}],
    }

    with world.client() as client:
        answer = client.post(world.url("/openai/v1/chat/completions"), json=body)

    assert answer.status_code == 200
    sent = world.provider.calls[0].body["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(sent) == {"number": "[REDACTED]", "amount": 3}


def test_an_answer_that_is_blocked_does_not_arrive(world, chat):
    world.provider.script(Reply(text=f"now {BLOCKED} and go"))

    with pytest.raises(openai.BadRequestError) as refused:
        chat.create(model="m-1", messages=user("hi"))

    assert refused.value.code == "prompt_injection_detected"
    assert wait_for_call(world)["status"] == "prompt_injection_detected"


def test_an_answer_is_masked_and_so_are_a_tool_s_arguments(world, messages):
    world.provider.script(Reply(text=f"it is {CARD}.", tool_calls=(ToolCall("pay", {"to": CARD}),)))

    answer = messages.create(model="m-1", max_tokens=9, messages=user("hi"))

    assert answer.content[0].text == "it is [REDACTED]."
    assert answer.content[1].input == {"to": "[REDACTED]"}


def test_a_layer_that_is_gone_refuses_with_that_reason(world, chat):
    world.guard.is_gone = True

    with pytest.raises(openai.BadRequestError) as refused:
        chat.create(model="m-1", messages=user("hi"))

    assert refused.value.code == "check_unavailable"
    assert world.provider.calls == []


def test_one_call_too_many_is_refused_before_a_text_is_looked_at(world, chat):
    world.guard.most_calls = 1
    chat.create(model="m-1", messages=user("hi"))
    world.guard.inputs.clear()

    with pytest.raises(openai.BadRequestError) as refused:
        chat.create(model="m-1", messages=user("hi"))

    assert refused.value.code == "rate_limit_exceeded"
    assert world.guard.inputs == []
    assert len(world.provider.calls) == 1


def test_a_conversation_is_judged_where_it_is_new_and_its_newest_always(world, chat):
    first = [*user("first question"), {"role": "assistant", "content": "an answer"}]
    chat.create(model="m-1", messages=[*first, *user("second question")])
    world.guard.inputs.clear()

    chat.create(model="m-1", messages=[*first, *user("second question"), *user("third question")])
    chat.create(model="m-1", messages=[*first, *user("second question"), *user("third question")])

    assert [text for text, _, _ in world.guard.inputs] == ["third question", "third question"]


def test_another_policy_is_asked_again(world, chat):
    chat.create(model="m-1", messages=[*user("first question"), *user("second question")])
    world.guard.inputs.clear()
    world.guard.policy = "trial@2"

    chat.create(model="m-1", messages=[*user("first question"), *user("third question")])

    assert "first question" in [text for text, _, _ in world.guard.inputs]


def test_what_one_agent_may_say_is_judged_anew_for_another(world):
    body = {"model": "m", "messages": [*user("shared text"), *user("newest")]}

    for name in (AGENT, OTHER):
        with world.client(name) as client:
            client.post(world.url("/openai/v1/chat/completions"), json=body).raise_for_status()

    asked = [(agent, text) for text, agent, _ in world.guard.inputs]
    assert {("agent-a", "shared text"), ("agent-b", "shared text")} <= set(asked)


def test_each_call_has_two_lines_and_neither_holds_a_text_or_the_key(world, chat):
    chat.create(model="m-1", messages=user("canary of a prompt"))

    ended, started = wait_for_call(world), world.journal.of("llm-call-started")[0]
    assert started == {"event": "llm-call-started", "agent": "agent-a", "provider": "openai", "model": "m-1"}
    assert (ended["status"], ended["model"]) == (200, "m-1")
    assert ended["duration_ms"] > 0
    assert ended["bytes_out"] > 50
    assert ended["bytes_in"] > 100
    assert "canary" not in json.dumps(world.journal.lines)


def test_a_call_that_cannot_be_logged_is_not_made(world, chat):
    world.journal.is_full = True

    with pytest.raises(openai.InternalServerError) as refused:
        chat.create(model="m-1", messages=user("hi"))

    assert refused.value.code == "not_logged"
    assert world.provider.calls == []


def test_a_provider_s_error_comes_through_with_its_status_and_wait(world, chat):
    world.provider.script(Reply(status=429, retry_after="7"))

    with pytest.raises(openai.RateLimitError) as limited:
        chat.create(model="m-1", messages=user("hi"))

    assert limited.value.response.headers["retry-after"] == "7"
    assert wait_for_call(world)["status"] == 429


@pytest.mark.parametrize(
    "body", ["<html>", '{"a": 1, "a": 2}', "[1]", '{"a": NaN}'], ids=["html", "twice", "list", "nan"]
)
def test_an_answer_that_cannot_be_read_in_one_way_does_not_arrive(world, chat, body):
    world.provider.script(Reply(body=body))

    with pytest.raises(openai.InternalServerError) as refused:
        chat.create(model="m-1", messages=user("hi"))

    assert (refused.value.status_code, refused.value.code) == (502, "answer_not_judged")


def test_an_agent_that_hangs_up_ends_the_provider_s_call(world):
    world.provider.script(Reply(delay_s=3))
    with world.client() as client, pytest.raises(httpx2.ReadTimeout):
        client.post(
            world.url("/openai/v1/chat/completions"), json={"model": "m", "messages": user("hi")}, timeout=0.5
        )

    assert wait_for_call(world)["status"] in {"cancelled", "hung-up"}
    assert wait_for_call(world)["duration_ms"] < 2500


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/openai/v1/files", 404), ("/openai/v1/chat/completions/../files", 404), ("/other/v1/chat/completions", 404),
        ("/openai/v1/chat/completions?x=%2e%2e", 404), ("/openai//v1/chat/completions", 404), ("/", 404),
        ("/openai/v1/%63hat/completions", 404), ("/anthropic/v1/messages/batches", 404), ("/openai/v1/models", 405),
    ],
)  # fmt: skip
def test_only_paths_that_are_judged_exist(world, path, status):
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    )

    answer = world.say(head.encode())

    assert answer.split(b" ", 2)[1] == str(status).encode()
    assert world.provider.calls == []


def test_a_provider_that_the_agent_may_not_use_is_refused(world):
    with world.client(OTHER) as client:
        answer = client.post(
            world.url("/anthropic/v1/messages"), json={"model": "m", "max_tokens": 1, "messages": user("hi")}
        )

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "provider_not_permitted")


def test_a_key_in_the_header_of_old_passes_untouched(world):
    body = {"model": "m", "max_tokens": 1, "messages": user("hi")}

    with world.client() as client:
        client.post(
            world.url("/anthropic/v1/messages"), json=body, headers={"x-api-key": KEY}
        ).raise_for_status()

    assert [call.key for call in world.provider.calls] == [KEY]


def test_a_header_that_is_not_the_provider_s_stays_here(world):
    headers = {
        "authorization": f"Bearer {KEY}",
        "x-mutx-agent": "agent-b",
        "traceparent": "00-1-1-01",
        "cookie": "a=b",
    }

    with world.client() as client:
        client.post(
            world.url("/openai/v1/chat/completions"),
            json={"model": "m", "messages": user("hi")},
            headers=headers,
        )

    seen = world.provider.calls[0].headers
    assert seen["authorization"] == f"Bearer {KEY}"
    assert not {"x-mutx-agent", "traceparent", "cookie"} & seen.keys()
    assert world.journal.of("llm-call-started")[0]["agent"] == "agent-a"
