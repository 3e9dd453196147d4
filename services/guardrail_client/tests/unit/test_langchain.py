"""A guarded model and a guarded agent: what reaches the model, its tools and whoever listens."""

from __future__ import annotations

import asyncio
import json

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from mutx_guardrail_client import GuardUnavailable, Refused
from mutx_guardrail_client.conversation import WITHHELD, Conversation
from mutx_guardrail_client.judged import Judged
from mutx_guardrail_client.known import KNOWN_S, MOST_KNOWN, Known
from mutx_guardrail_client.langchain import GuardAgentMiddleware, guarded
from scripted_model import Eavesdropper, ScriptedModel, StreamingModel
from wire import REFUSAL, SPOTLIGHT, Guards, allowing, echo, raw

LONG = " ".join(f"word {number} of jane@example.com is here" for number in range(40))
CLEAN = LONG.replace("jane@example.com", "[REDACTED]")


def call(name="look_up", call_id="call-1", **args):
    return AIMessage(
        content="", tool_calls=[ToolCall(name=name, args=args, id=call_id)],
        additional_kwargs={"raw": [json.dumps(args)]},
    )  # fmt: skip


def texts(messages):
    return [message.content for message in messages]


def test_the_model_is_sent_what_the_guard_made_of_it_and_so_is_the_caller():
    model = ScriptedModel(answers=[AIMessage("write to jane@example.com")])

    answer = guarded(model, Guards().sync()).invoke(
        [SystemMessage("Be kind."), HumanMessage("I am jane@example.com")]
    )

    assert texts(model.sent[0]) == ["Be kind.", "I am [REDACTED]"]
    assert answer.content == "write to [REDACTED]"


def test_a_refused_message_never_reaches_the_model():
    model = ScriptedModel(answers=[AIMessage("x")])

    with pytest.raises(Refused):
        guarded(model, Guards().sync()).invoke("evil")

    assert model.sent == []


@pytest.mark.parametrize(
    "message", [AIMessage("evil"), call(query="evil"), call(evil="x")], ids=["text", "argument", "name"]
)
def test_a_refused_answer_never_reaches_the_caller(message):
    with pytest.raises(Refused):
        guarded(ScriptedModel(answers=[message]), Guards().sync()).invoke("x")


def test_without_the_guard_the_model_is_not_called():
    model = ScriptedModel(answers=[AIMessage("x")])

    with pytest.raises(GuardUnavailable):
        guarded(model, Guards(lambda *_: raw(b"", 503)).sync()).invoke("x")

    assert model.sent == []


def test_a_tools_result_is_marked_and_the_model_told_of_the_mark():
    model = ScriptedModel(answers=[AIMessage("x")])
    guards = Guards()

    guarded(model, guards.sync()).invoke(
        [HumanMessage("x"), call(), ToolMessage("a page of jane@example.com", tool_call_id="call-1")]
    )

    assert model.sent[0][-1].content == f"{SPOTLIGHT['instruction']}\naˆpageˆofˆ[REDACTED]"
    assert [question["origin"] for path, question in guards.asked if path.endswith("/input")] == [
        "user",
        "tool",
    ]


def test_the_guard_is_told_what_was_said_before_and_what_a_tool_was_asked_for():
    model, guards = ScriptedModel(answers=[AIMessage("x")]), Guards()

    guarded(model, guards.sync()).invoke(
        [
            HumanMessage("first"),
            AIMessage("yes?"),
            HumanMessage("book a table"),
            call(),
            ToolMessage("a page", tool_call_id="call-1"),
        ]
    )

    asked = {question["text"]: question for path, question in guards.asked if path.endswith("/input")}
    assert ("earlier" in asked["first"], asked["book a table"]["earlier"]) == (False, ["first"])
    assert asked["a page"]["task"] == "book a table"
    assert "task" not in asked["book a table"]


def test_an_attack_in_two_turns_is_refused_though_each_passed_by_itself():
    def refuse_evil(path, question):
        whole = "".join([*question.get("earlier", []), question["text"]])
        return REFUSAL if "evil" in whole else echo(path, question)

    model = ScriptedModel(answers=[AIMessage("x")])
    turns = [HumanMessage("do ev"), AIMessage("go on"), HumanMessage("il now")]

    with pytest.raises(Refused):
        guarded(model, Guards(refuse_evil).sync()).invoke(turns)

    assert model.sent == []


def test_what_passed_a_moment_ago_is_not_asked_again():
    model = ScriptedModel(answers=[AIMessage("one answer"), AIMessage("two")])
    guards = Guards()
    chat = guarded(model, guards.sync())
    said = [HumanMessage("one question")]
    said.append(chat.invoke(said))
    before = len(guards.asked)

    chat.invoke([*said, HumanMessage("another")])

    assert [question["text"] for _, question in guards.asked[before:]] == ["another", "two"]


def test_what_the_model_is_said_to_have_said_is_judged():
    model = ScriptedModel(answers=[AIMessage("x")])

    with pytest.raises(Refused):
        guarded(model, Guards().sync()).invoke([HumanMessage("x"), AIMessage("evil"), HumanMessage("y")])


def test_arguments_are_masked_string_by_string():
    message = call(to=["jane@example.com", "somebody"], count=3)

    answer = guarded(ScriptedModel(answers=[message]), Guards().sync()).invoke("x")

    assert answer.tool_calls[0]["args"] == {"to": ["[REDACTED]", "somebody"], "count": 3}


def test_a_name_of_an_argument_that_would_have_to_be_masked_refuses():
    message = call(**{"jane@example.com": 1})

    with pytest.raises(Refused) as caught:
        guarded(ScriptedModel(answers=[message]), Guards().sync()).invoke("x")

    assert caught.value.reason == "content_not_maskable"


def test_what_nobody_judged_beside_an_answer_is_left_out():
    message = AIMessage(
        "fine", additional_kwargs={"refusal": "jane@example.com"}, id="run 1 jane@example.com",
        response_metadata={"model_name": "m", "logprobs": ["jane@example.com"], "finish_reason": "a b c", "id": "x"},
    )  # fmt: skip

    answer = guarded(ScriptedModel(answers=[message]), Guards().sync()).invoke("x")

    assert "jane" not in repr(answer)
    assert {name: answer.response_metadata[name] for name in ("model_name", "id")} == {
        "model_name": "m",
        "id": "x",
    }
    assert "finish_reason" not in answer.response_metadata


def test_thoughts_are_judged_and_a_changed_one_is_left_out():
    content = [
        {"type": "thinking", "thinking": "a thought", "signature": "s"},
        {"type": "thinking", "thinking": "of jane@example.com", "signature": "s"},
        {"type": "text", "text": "to jane@example.com"},
        {"type": "tool_use", "id": "1", "name": "x", "input": {"a": "jane@example.com"}},
    ]

    answer = guarded(ScriptedModel(answers=[AIMessage(content)]), Guards().sync()).invoke("x")

    assert answer.content == [content[0], {"type": "text", "text": "to [REDACTED]"}]


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    "message", [HumanMessage([IMAGE]), ToolMessage([IMAGE], tool_call_id="1"), ChatMessage("x", role="boss")],
    ids=["image", "image-of-a-tool", "another-role"],
)  # fmt: skip
def test_what_is_no_text_is_refused(message):
    model = ScriptedModel(answers=[AIMessage("x")])

    with pytest.raises(Refused) as caught:
        guarded(model, Guards().sync()).invoke([message])

    assert caught.value.reason == "content_not_judged"
    assert model.sent == []


def test_what_is_no_text_passes_where_that_is_permitted():
    model = ScriptedModel(answers=[AIMessage("x")])
    given = HumanMessage([IMAGE, {"type": "text", "text": "of jane@example.com"}])

    guarded(model, Guards().sync(), unjudged=["image_url"]).invoke([given])

    assert model.sent[0][0].content == [IMAGE, {"type": "text", "text": "of [REDACTED]"}]


def test_an_answer_that_is_no_text_is_refused():
    with pytest.raises(Refused):
        guarded(ScriptedModel(answers=[AIMessage([IMAGE])]), Guards().sync()).invoke("x")


def test_a_stream_equals_the_whole_and_comes_in_pieces():
    chat = guarded(StreamingModel(answers=[AIMessage(LONG)]), Guards().sync())

    shown = [chunk.text for chunk in chat.stream("x")]

    assert "".join(shown) == CLEAN
    assert len([each for each in shown if each]) > 3


def test_the_asynchronous_stream_does_the_same():
    async def use():
        chat = guarded(StreamingModel(answers=[AIMessage(LONG)]), Guards().sync())
        return [chunk.text async for chunk in chat.astream("x")]

    shown = asyncio.run(use())

    assert "".join(shown) == CLEAN
    assert len([each for each in shown if each]) > 3


def test_a_model_that_cannot_stream_answers_whole():
    chat = guarded(ScriptedModel(answers=[AIMessage(LONG), call(to="jane@example.com")]), Guards().sync())

    assert "".join(chunk.text for chunk in chat.stream("x")) == CLEAN
    whole = None
    for chunk in chat.stream("x"):
        whole = chunk if whole is None else whole + chunk
    assert whole.tool_calls[0]["args"] == {"to": "[REDACTED]"}


def test_arguments_that_are_streamed_are_judged_before_they_leave():
    chat = guarded(StreamingModel(answers=[call(to="jane@example.com")]), Guards().sync())

    chunks = list(chat.stream("x"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk

    assert [(each["name"], each["args"]) for each in whole.tool_calls] == [("look_up", {"to": "[REDACTED]"})]
    assert "jane" not in repr(chunks)


def test_a_refusal_in_mid_stream_ends_it():
    chat = guarded(StreamingModel(answers=[AIMessage(f"{LONG} evil {LONG}")]), Guards().sync())
    shown = []

    with pytest.raises(Refused):
        shown += (chunk.text for chunk in chat.stream("x"))

    assert "evil" not in "".join(shown)


@pytest.mark.parametrize("way", ["invoke", "stream", "astream_events"])
def test_whoever_listens_hears_of_judged_text_alone(way):
    chat = guarded(StreamingModel(answers=[AIMessage(LONG)]), Guards().sync())
    listener = Eavesdropper()

    async def listen():
        return [
            repr(event)
            async for event in chat.astream_events("x", config={"callbacks": [listener]}, version="v2")
        ]

    config = {"callbacks": [listener]}
    told = {
        "invoke": lambda: [repr(chat.invoke("x", config))],
        "stream": lambda: [repr(chunk) for chunk in chat.stream("x", config)],
        "astream_events": lambda: asyncio.run(listen()),
    }[way]()

    assert listener.heard
    assert "jane@" not in "".join([*told, *listener.heard])
    assert "[REDACTED]" in "".join(told)


def test_bound_tools_keep_the_guard():
    model = ScriptedModel(answers=[call(to="jane@example.com")])

    bound = guarded(model, Guards().sync()).bind_tools([{"name": "look_up"}])

    assert bound.invoke("x").tool_calls[0]["args"] == {"to": "[REDACTED]"}
    assert model.tools == [{"name": "look_up"}]


PAGES = {"fine": "a page of jane@example.com", "bad": "evil words"}


def agent_of(model, guards=None, *, more=(), ran=None, **options):
    @tool
    def look_up(query: str) -> str:
        """Look something up."""
        if ran is not None:
            ran.append(query)
        return PAGES.get(query, query)

    middleware = [GuardAgentMiddleware((guards or Guards()).sync()), *more]
    return create_agent(model, tools=[look_up], middleware=middleware, **options)


def ask(text):
    return {"messages": [HumanMessage(text)]}


def test_an_agent_keeps_and_sends_judged_text_alone():
    model = ScriptedModel(answers=[call(query="fine"), AIMessage("jane@example.com says so")])

    state = agent_of(model, system_prompt="Be kind.").invoke(ask("I am jane@example.com"))

    assert texts(state["messages"]) == ["I am [REDACTED]", "", "a page of [REDACTED]", "[REDACTED] says so"]
    assert texts(model.sent[1]) == [
        "Be kind.",
        "I am [REDACTED]",
        "",
        f"{SPOTLIGHT['instruction']}\naˆpageˆofˆ[REDACTED]",
    ]


def test_a_poisoned_page_is_withheld_and_the_agent_goes_on():
    model = ScriptedModel(answers=[call(query="bad"), AIMessage("I could not read it")])

    state = agent_of(model).invoke(ask("x"))

    result = state["messages"][2]
    assert (result.status, result.content) == ("error", WITHHELD)
    assert result.response_metadata == {"guard_reason": "prompt_injection_detected"}
    assert model.sent[1][-1].content == WITHHELD
    assert "evil" not in repr(model.sent)


def test_a_tool_is_not_run_with_arguments_that_are_refused():
    ran = []

    with pytest.raises(Refused):
        agent_of(ScriptedModel(answers=[call(query="evil")]), ran=ran).invoke(ask("x"))

    assert ran == []


def test_a_tool_is_run_with_what_the_guard_made_of_its_arguments():
    ran = []

    agent_of(ScriptedModel(answers=[call(query="jane@example.com"), AIMessage("x")]), ran=ran).invoke(
        ask("x")
    )

    assert ran == ["[REDACTED]"]


@pytest.mark.parametrize("asked", ["user", "tool"])
def test_an_agent_ends_where_the_guard_is_gone(asked):
    def answer(path, question):
        return raw(b"", 503) if question.get("origin") == asked else echo(path, question)

    with pytest.raises(GuardUnavailable):
        agent_of(ScriptedModel(answers=[call(query="fine"), AIMessage("x")]), Guards(answer)).invoke(ask("x"))


def test_a_paused_agent_does_not_take_the_pause_for_a_result():
    def answer(path, question):
        paused = {**REFUSAL, "action": "pause", "reason": "agent_paused"}
        return paused if question.get("origin") == "tool" else echo(path, question)

    with pytest.raises(Refused):
        agent_of(ScriptedModel(answers=[call(query="fine"), AIMessage("x")]), Guards(answer)).invoke(ask("x"))


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_nothing_that_an_agent_streams_was_not_judged(is_async):
    model = StreamingModel(answers=[call(query="fine"), AIMessage(LONG)])
    agent, modes = agent_of(model), ["messages", "updates", "values"]
    listener = Eavesdropper()
    config = {"callbacks": [listener]}

    async def listen():
        return [each async for each in agent.astream(ask("x"), config, stream_mode=modes)]

    told = asyncio.run(listen()) if is_async else list(agent.stream(ask("x"), config, stream_mode=modes))

    pieces = [
        each[0].text for mode, each in told if mode == "messages" and each[1]["langgraph_node"] == "model"
    ]
    assert "jane@" not in repr(told) + "".join(listener.heard)
    assert "".join(pieces) == CLEAN
    assert len([each for each in pieces if each]) > 3


def test_a_model_that_other_middleware_puts_in_is_judged_as_well():
    class Swapping(AgentMiddleware):
        def wrap_model_call(self, request, handler):
            return handler(request.override(model=ScriptedModel(answers=[AIMessage("by jane@example.com")])))

    state = agent_of(ScriptedModel(answers=[]), more=[Swapping()]).invoke(ask("x"))

    assert state["messages"][-1].content == "by [REDACTED]"


def test_a_tools_update_of_the_state_is_judged():
    @tool
    def move() -> Command:
        """Change the state."""
        return Command(update={"messages": [ToolMessage("of jane@example.com", tool_call_id="call-1")]})

    agent = create_agent(
        ScriptedModel(answers=[call("move"), AIMessage("x")]), tools=[move],
        middleware=[GuardAgentMiddleware(Guards().sync())],
    )  # fmt: skip

    assert agent.invoke(ask("x"))["messages"][2].content == "of [REDACTED]"


def test_what_a_checkpoint_keeps_is_judged():
    saver = InMemorySaver()
    agent = agent_of(ScriptedModel(answers=[AIMessage("jane@example.com")]), checkpointer=saver)
    config = {"configurable": {"thread_id": "1"}}

    agent.invoke(ask("I am jane@example.com"), config)

    assert texts(agent.get_state(config).values["messages"]) == ["I am [REDACTED]", "[REDACTED]"]


def test_a_marked_result_that_is_not_known_any_more_is_judged_and_marked_again():
    model = ScriptedModel(answers=[AIMessage("x")])
    result = Conversation(Guards().sync()).tool_result(ToolMessage("a page", tool_call_id="call-1"))

    guarded(model, Guards().sync()).invoke([HumanMessage("x"), call(), result])

    assert model.sent[0][-1].content.endswith("aˆpage")


def test_what_passed_is_known_for_its_time_its_origin_and_its_policy_only():
    now = [0.0]
    known = Known(lambda: now[0])
    known.add("text", "user", Judged("made of it", (), policy="one"))

    found = [known.get("text", "user"), known.get("text", "tool"), known.get("other", "user")]
    now[0] = KNOWN_S + 1
    late = known.get("text", "user")
    now[0] = 0
    known.add("x", "user", Judged("x", (), policy="two"))

    assert [each and each.text for each in found] == ["made of it", None, None]
    assert late is None
    assert known.get("text", "user") is None


def test_few_texts_are_kept():
    known = Known(lambda: 0.0)
    for number in range(MOST_KNOWN + 10):
        known.add(str(number), "user", Judged("x", ()))
    known.add("big", "user", Judged("x" * (9 << 20), ()))

    assert known.get("0", "user") is None
    assert known.get("big", "user") is None


def test_a_spotlight_that_lacks_lets_no_result_pass():
    guard = Guards(lambda _path, question: allowing(question["text"])).sync()

    with pytest.raises(GuardUnavailable):
        guarded(ScriptedModel(answers=[]), guard).invoke([call(), ToolMessage("x", tool_call_id="call-1")])
