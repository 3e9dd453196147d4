"""Judging the texts of calls: each by the guard, those that it let pass unchanged a moment ago not again.

A provider's API has no memory, so an agent sends the whole conversation with each call. A text that was let pass as it
is, of the same origin and for the same agent, is known by a digest and not judged anew, but for the newest one, which
always is. What is kept are digests under a key of this process, never texts.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Protocol

from mutx_guardrail.document import FOREIGN, LONGEST_TASK, MOST_TURNS, Origin
from mutx_guardrail.egress.refusal import Refusal, refusal_of
from mutx_guardrail.egress.texts import FreeValue, Part, Slot
from mutx_guardrail.known import Known
from mutx_guardrail.verdict import Check, Verdict

Admit = Callable[[str], Awaitable[Check]]
"""Says whether an agent may make a call now: it is not paused, and makes no more than it may."""
JudgeOne = Callable[[str, Origin], Awaitable[str]]

AT_ONCE = 4
MOST_TEXTS = 2_000


class Guard(Protocol):
    """Judges one text. A verdict that is not `allowed` refuses; otherwise `sanitized` is what may be passed on."""

    async def input(
        self, text: str, agent: str, origin: Origin, *, earlier: Sequence[str] = (), task: str = ""
    ) -> Verdict:
        """Judge a text on its way to the model.

        `earlier` are the user's turns before a turn of the user's, `task` the last of them before a foreign text.
        """

    async def output(self, text: str, agent: str) -> Verdict:
        """Judge a text on its way from the model."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the user said before a part: all of it where the part is the user's, the last where it is foreign."""

    earlier: tuple[str, ...] = ()
    task: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """What a verdict on the part depends on beside itself."""
        return (*self.earlier, self.task)


class Judge:
    """Judges requests and answers; used from one event loop only."""

    def __init__(self, guard: Guard, admit: Admit, now: Callable[[], float] = time.monotonic) -> None:
        self._guard, self._admit, self._known = guard, admit, Known(now)
        self._places = asyncio.Semaphore(AT_ONCE)

    async def admit(self, agent: str) -> None:
        """Count a call.

        Raises:
            Refusal: it is one too many, or the agent is paused, or neither can be known.
        """
        verdict = Verdict((await self._admit(agent),), 0.0, "", "")
        if not verdict.allowed:
            raise refusal_of(verdict, "the call")

    async def request(self, parts: Sequence[Part], agent: str) -> None:
        """Judge the texts of a request, and put what the guard changed in their places.

        Raises:
            Refusal: the guard refuses one, or a change that it asks for cannot be made.
        """
        if len(parts) > MOST_TEXTS:
            raise Refusal("request_invalid", f"at most {MOST_TEXTS} texts are taken in one call")
        newest = max(
            (at for at, part in enumerate(parts) if part.origin is not Origin.AGENT), default=len(parts) - 1
        )

        taken: list[tuple[Part, Said]] = []
        is_new_policy = False

        def judge_after(said: Said) -> JudgeOne:
            async def judge(text: str, origin: Origin) -> str:
                nonlocal is_new_policy
                verdict = await self._guard.input(text, agent, origin, earlier=said.earlier, task=said.task)
                if not verdict.allowed:
                    raise refusal_of(verdict, "the request")
                is_new_policy |= self._known.adopt(verdict.policy)
                if verdict.sanitized == text:
                    self._known.add(agent, origin, text, said.texts)
                return verdict.sanitized

            return judge

        async def judge_unless_known(at: int, part: Part, said: Said) -> None:
            if at != newest and self._known.has(agent, part.origin, part.text, said.texts):
                taken.append((part, said))
                return
            await self._apply(part, judge_after(said))

        before = zip(parts, said_before(parts), strict=True)
        await self._all([judge_unless_known(at, part, said) for at, (part, said) in enumerate(before)])
        if is_new_policy:
            # Those that were known passed by the policy before this one.
            await self._all([self._apply(part, judge_after(said)) for part, said in taken])

    async def answer(self, parts: Sequence[Part], agent: str) -> None:
        """Judge the texts of an answer; it raises as `request` does."""

        async def one(text: str, _origin: Origin) -> str:
            return await self.output(text, agent)

        await self._all([self._apply(part, one) for part in parts])

    async def output(self, text: str, agent: str) -> str:
        """Return what may be passed on of a text from the model.

        Raises:
            Refusal: nothing of it.
        """
        verdict = await self._guard.output(text, agent)
        if not verdict.allowed:
            raise refusal_of(verdict, "the answer")
        return verdict.sanitized

    async def _apply(self, part: Part, one: JudgeOne) -> None:
        async with self._places:
            judged = await one(part.text, part.origin)
            if judged == part.text:
                return
            if isinstance(part, Slot):
                part.put(judged)
                part.text = judged
                return
            await self._apply_group(part, one)

    async def _apply_group(self, group: FreeValue, one: JudgeOne) -> None:
        """Judge a free value string by string: what is to be masked of a name, or across strings, cannot be."""
        is_changed = False
        for slot in group.slots:
            judged = await one(slot.text, slot.origin) if slot.text.strip() else slot.text
            if judged != slot.text:
                slot.put(judged)
                slot.text, is_changed = judged, True
        if not is_changed or await one(group.text, group.origin) != group.text:
            raise Refusal("content_not_maskable", "what is to be masked stands where it cannot be")
        group.finish()

    async def _all(self, judging: Sequence[Coroutine[None, None, None]]) -> None:
        """Wait for all; the first refusal ends the others."""
        try:
            async with asyncio.TaskGroup() as group:
                for each in judging:
                    group.create_task(each)
        except BaseExceptionGroup as errors:
            raise _first(errors.subgroup(Refusal) or errors) from None


def said_before(parts: Sequence[Part]) -> list[Said]:
    """Return what the user said before each part."""
    found: list[Said] = []
    turns: deque[str] = deque(maxlen=MOST_TURNS)
    for part in parts:
        is_said = isinstance(part, Slot) and part.is_said
        if is_said:
            found.append(Said(earlier=tuple(turns)))
            turns.append(part.text)
        else:
            last = turns[-1] if turns and part.origin in FOREIGN else ""
            found.append(Said(task=last[:LONGEST_TASK]))
    return found


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
