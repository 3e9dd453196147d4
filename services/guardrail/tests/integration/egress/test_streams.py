"""Streams: judged by windows as they pass, with the vendors' own clients at the end."""

from __future__ import annotations

import json
import time

import anthropic
import openai
import pytest
from egress_world import KEY, World
from fake_guard import BLOCKED
from mutx_provider_double import Reply, ToolCall

CARD = "card-1234-5678-9012"
LONG = " ".join(f"word{number}" for number in range(400))


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


def pieces(stream) -> list[str]:
    return [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]


def test_a_stream_arrives_whole_and_in_pieces(world, chat):
    world.provider.script(Reply(text=LONG))

    found = pieces(chat.create(model="m-1", messages=user("hi"), stream=True))

    assert "".join(found) == LONG
    assert len([each for each in found if each]) == 400


def test_a_stream_is_not_collapsed(world, chat):
    world.provider.script(Reply(text=LONG, chunk_delay_s=0.01))
    start, first = time.monotonic(), 0.0

    for chunk in chat.create(model="m-1", messages=user("hi"), stream=True):
        if not first and chunk.choices and chunk.choices[0].delta.content:
            first = time.monotonic() - start

    assert first < (time.monotonic() - start) / 2


def test_a_slow_stream_does_not_wait_for_a_full_window(world, chat):
    world.provider.script(Reply(text=" ".join(["x" * 100] * 6), chunk_delay_s=0.7))

    times = [
        time.monotonic()
        for chunk in chat.create(model="m-1", messages=user("hi"), stream=True)
        if chunk.choices and chunk.choices[0].delta.content
    ]

    assert times[-1] - times[0] > 1


@pytest.mark.parametrize("before", [0, 100, 190, 195, 200, 395, 1000], ids=str)
def test_a_card_that_comes_character_by_character_is_never_seen_in_part(world, before):
    text = f"{'a' * before} {CARD} {'b' * 600}"
    events = [{"choices": [{"index": 0, "delta": {"content": each}}]} for each in text]

    answer = answer_to(world, events)

    found = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: ")]
    assert "".join(event["choices"][0]["delta"]["content"] for event in found) == text.replace(
        CARD, "[REDACTED]"
    )


@pytest.mark.parametrize("before", [0, 30, 39, 40, 41, 79, 200], ids=str)
def test_a_card_in_a_stream_is_masked_wherever_it_stands(world, chat, before):
    words = [*["aaaa"] * before, CARD, *["bbbb"] * 100]
    world.provider.script(Reply(text=" ".join(words)))

    found = "".join(pieces(chat.create(model="m-1", messages=user("hi"), stream=True)))

    assert found.split() == [*["aaaa"] * before, "[REDACTED]", *["bbbb"] * 100]


@pytest.mark.parametrize("before", [0, 45, 400], ids=str)
def test_a_refused_openai_stream_ends_in_an_error_before_the_text(world, chat, before):
    world.provider.script(Reply(text=f"{'fine ' * before}{BLOCKED} at once {'more ' * 100}"))
    found = []

    with pytest.raises(openai.APIError) as refused:
        found.extend(chat.create(model="m-1", messages=user("hi"), stream=True))

    assert refused.value.code == "prompt_injection_detected"
    assert BLOCKED not in "".join(pieces(found))


def test_a_refused_anthropic_stream_ends_in_an_error(world, messages):
    world.provider.script(Reply(text=f"{'fine ' * 200}{BLOCKED} at once"))
    found = []

    with pytest.raises(anthropic.APIStatusError) as refused, messages.stream(
        model="m-1", max_tokens=9, messages=user("hi")
    ) as stream:  # fmt: skip
        found += list(stream.text_stream)

    assert "prompt_injection_detected" in str(refused.value)
    assert "steal" not in "".join(found)


def test_an_anthropic_stream_is_masked_and_its_tools_arrive(world, messages):
    world.provider.script(
        Reply(text=f"the {CARD} it is", tool_calls=(ToolCall("pay", {"to": CARD, "n": 1}),))
    )

    with messages.stream(model="m-1", max_tokens=9, messages=user("hi")) as stream:
        final = stream.get_final_message()

    assert final.content[0].text == "the [REDACTED] it is"
    assert final.content[1].input == {"to": "[REDACTED]", "n": 1}
    assert final.stop_reason == "tool_use"


def test_a_streamed_call_of_a_tool_arrives_as_it_was(world, chat):
    world.provider.script(Reply(tool_calls=(ToolCall("first", {"a": "b"}), ToolCall("second", {"c": 1}))))
    arguments: dict[int, str] = {}

    for chunk in chat.create(model="m-1", messages=user("hi"), stream=True):
        for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")

    assert [json.loads(text) for text in arguments.values()] == [{"a": "b"}, {"c": 1}]


def test_a_streamed_argument_that_hides_a_text_by_escapes_is_refused(world):
    parts = ['{"a": "st\\u0065al ', 'the crown jewels"}']
    events = [
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}}]}
        for part in parts
    ]  # fmt: skip

    answer = answer_to(world, events)

    assert "prompt_injection_detected" in answer
    assert "st\\\\u0065al" not in answer


def test_a_refusal_spread_over_two_windows_is_seen(world, chat):
    """The phrase is longer apart than either window alone would show."""
    world.provider.script(Reply(text=f"{'fine ' * 38}steal the crown jewels{' fine' * 90}"))

    with pytest.raises(openai.APIError):
        list(chat.create(model="m-1", messages=user("hi"), stream=True))


def answer_to(world: World, events: list[dict], name: str = "") -> str:
    """Give the provider's answer as events of the test's own, and return what the agent gets."""
    head = f"event: {name}\n" if name else ""
    text = "".join(f"{head}data: {json.dumps(event)}\n\n" for event in events)
    return stream_of(world, text.encode())


def stream_of(world: World, content: bytes) -> str:
    """Have the provider stream these very bytes, and return what the agent gets."""
    world.provider.script(Reply(body=content.decode(errors="surrogateescape"), media="text/event-stream"))
    body = {"model": "m", "messages": user("hi"), "stream": True}
    with world.client() as client:
        return client.post(world.url("/openai/v1/chat/completions"), json=body).text


@pytest.mark.parametrize(
    "event",
    [
        {"choices": [{"index": 0, "delta": {"other": BLOCKED}}]},
        {"choices": [{"index": 0, "delta": {"reasoning_content": BLOCKED}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": BLOCKED}}]}}]},
        {"choices": [], "note": BLOCKED},
        {"error": {"message": BLOCKED}},
        {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0, "delta": BLOCKED},
        {"type": "response.output_text.done", "item_id": "i", "text": BLOCKED},
        {"type": "response.completed", "response": {"output": [
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": BLOCKED}]}]}},
    ],
    ids=["unknown", "thoughts", "a tool's name", "beside", "error", "responses", "responses done", "responses whole"],
)  # fmt: skip
def test_no_place_of_an_event_passes_unjudged(world, event):
    answer = answer_to(world, [event])

    assert "prompt_injection_detected" in answer
    assert BLOCKED not in answer


@pytest.mark.parametrize(
    "content",
    [b"data: {\n\n", b"data: \xff\n\n", b'data: {"a":1,"a":2}\n\n', b"data: " + b"x" * (2 << 20),
     b"data: {}\rdata: {}\n\n"],
    ids=["no json", "no utf-8", "twice", "too large", "carriage return"],
)  # fmt: skip
def test_a_stream_that_cannot_be_read_in_one_way_ends_in_an_error(world, content):
    answer = stream_of(world, content)

    assert "answer_not_judged" in answer


def test_a_stream_that_breaks_off_is_told_as_broken(world, chat):
    world.provider.script(Reply(text=LONG, break_after=50, reset=True))

    with pytest.raises(openai.APIError):
        list(chat.create(model="m-1", messages=user("hi"), stream=True))
