"""What is sent to a model: each message judged as what it is.

What a person wrote is input; what a tool or a page said is foreign, and marked; what the model itself said was judged
as output, and is judged as the agent's where that is not known any more. A system message is the developer's own and
is not judged. What is no text is refused. The guard is told what the person wrote before a turn, and what they asked
for last before a tool's result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from mutx_guardrail_client.client import GuardClient
from mutx_guardrail_client.errors import Refused
from mutx_guardrail_client.judged import LONGEST_TASK, MOST_EARLIER, Judged, Origin
from mutx_guardrail_client.known import Known
from mutx_guardrail_client.model_answer import NOT_JUDGED, answered, plain_name

WITHHELD = "The guard withheld the result."
"""What the model is told instead of a tool's result; in the client's own words, and so not judged."""
_OWN_BLOCKS = frozenset({"text"})

Content = str | list[str | dict[str, Any]]


class Conversation:
    """Judges messages; safe to use from several threads. All methods raise `Refused` and `GuardUnavailable`.

    Args:
        guard: judges.
        unjudged: kinds of content that pass although nobody can judge them, as `image_url`.
    """

    def __init__(self, guard: GuardClient, unjudged: Sequence[str] = ()) -> None:
        self.guard, self._unjudged, self._known = guard, frozenset(unjudged), Known()

    def messages(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return what may be sent to the model."""
        said: list[str] = []
        return [self._sent(message, said) for message in messages]

    def person(self, message: HumanMessage) -> HumanMessage:
        """Return what may be kept of what a person wrote."""
        content = self._content(message.content, lambda text: self._input(text, "user").text)
        return message if content == message.content else message.model_copy(update={"content": content})

    def tool_result(self, message: ToolMessage) -> ToolMessage:
        """Return what may be kept of a tool's result; it is marked when it is sent. A refused one is withheld."""
        try:
            content = self._content(message.content, self._tool_text)
        except Refused as refused:
            if refused.rate_limited or refused.paused:
                raise
            told = {"guard_reason": refused.reason}
            return message.model_copy(
                update={"content": WITHHELD, "status": "error", "artifact": None, "response_metadata": told}
            )
        return message.model_copy(update={"content": content, "additional_kwargs": {}})

    def answer(self, message: AIMessage) -> AIMessage:
        """Return what may be used of a model's answer, made anew: what nobody knows of it is left out."""
        return answered(message, self.output)

    def confirmed(self, message: AIMessage) -> AIMessage:
        """Return an answer of which each text was judged a moment ago, or is now."""
        return answered(message, lambda text: self._said(text) or self.output(text))

    def output(self, text: str) -> str:
        """Return what may be used of a text of the model's."""
        judged = self.guard.output(text).text
        self.remember(judged)
        return judged

    def remember(self, text: str) -> None:
        """Keep that a text of the model's may be used: with the next call it is sent back."""
        self._known.add(text, "agent", Judged(text, ()))

    def _sent(self, message: BaseMessage, said: list[str]) -> BaseMessage:
        """Return what may be sent of a message; what a person says in it is added to what they said before."""
        if isinstance(message, SystemMessage):
            return message
        if isinstance(message, AIMessage):
            return answered(message, self._own)
        if isinstance(message, HumanMessage):
            content = self._content(message.content, lambda text: self._turn(text, said))
        elif isinstance(message, ToolMessage | FunctionMessage):
            task = said[-1][:LONGEST_TASK] if said else ""
            content = self._content(message.content, lambda text: self._marked(text, task))
        else:
            raise Refused(NOT_JUDGED, details="a message is of a kind that is not known")
        return message.model_copy(
            update={"content": content, "additional_kwargs": {}, "name": plain_name(message.name)}
        )

    def _own(self, text: str) -> str:
        """Return what may be sent back to the model of its own words."""
        return self._said(text) or self._input(text, "agent").text

    def _said(self, text: str) -> str | None:
        known = self._known.get(text, "agent")
        return known.text if known else None

    def _tool_text(self, text: str) -> str:
        return text if text == WITHHELD else self._input(text, "tool").text

    def _turn(self, text: str, said: list[str]) -> str:
        judged = self._input(text, "user", earlier=tuple(said[-MOST_EARLIER:]))
        said.append(text)
        return judged.text

    def _marked(self, text: str, task: str) -> str:
        if text == WITHHELD:
            return text
        spotlight = self._input(text, "tool", task=task).spotlight
        return f"{spotlight.instruction}\n{spotlight.text}" if spotlight else ""

    def _input(self, text: str, origin: Origin, *, earlier: tuple[str, ...] = (), task: str = "") -> Judged:
        """Judge a text on its way to the model, unless it passed a moment ago; so did then what was made of it."""
        beside = (*earlier, task)
        known = self._known.get(text, origin, beside)
        if known is not None:
            return known
        judged = self.guard.input(text, origin, earlier=earlier, task=task)
        for passed in {text, judged.text}:
            self._known.add(passed, origin, judged, beside)
        return judged

    def _content(self, content: Content, judge: Callable[[str], str]) -> Content:
        if isinstance(content, str):
            return judge(content) if content else content
        return [self._block(block, judge) for block in content]

    def _block(self, block: str | dict[str, Any], judge: Callable[[str], str]) -> str | dict[str, Any]:
        if isinstance(block, str):
            return judge(block) if block else block
        kind, text = block.get("type"), block.get("text")
        if kind in self._unjudged:
            return block
        if kind not in _OWN_BLOCKS or not isinstance(text, str):
            raise Refused(NOT_JUDGED, details="content that is no text cannot be judged")
        return {"type": "text", "text": judge(text) if text else text}
