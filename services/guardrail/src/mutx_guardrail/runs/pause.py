"""An agent's own pause (docs/reference/agent-contract.md, "Pause"), beside the guard's: asked for, told and lifted.

The guard refuses for itself; the agent's pause is a second door. When the watch pauses an agent for its errors it is
asked to pause too, again and again in the background until it has. That pause carries a reason of this guard's, by
which any replica knows it and lifts it when the guard's own is over; one that a person made stays.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from mutx_service.journal import write_event
from mutx_service.problem import Problem

from mutx_guardrail.anomaly.errors import Phase
from mutx_guardrail.runs.agents import Agents
from mutx_guardrail.runs.answer import PauseState, parse_answer
from mutx_guardrail.service.judging import Judging

OWN_REASON = "guardrail: too many errors"
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
CALL_S = 10.0
_PATH = "/v1/pause"


class Pauses:
    """Asks agents to pause and to go on.

    Args:
        agents: the way to them.
        judging: tells how the guard itself holds an agent.
        sleep: waits between two tries.
    """

    def __init__(
        self, agents: Agents, judging: Judging, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self._agents, self._judging, self._sleep = agents, judging, sleep
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def read(self, agent: str) -> PauseState:
        """Return an agent's pause.

        Raises:
            Problem: it could not be asked, or what it answered.
        """
        return await self._call(agent, "GET")

    async def set(self, agent: str, reason: str) -> PauseState:
        """Pause an agent; an earlier pause keeps its reason. It raises as `read` does."""
        return await self._call(agent, "PUT", json.dumps({"reason": reason}).encode())

    async def clear(self, agent: str) -> PauseState:
        """End an agent's pause, and whatever asks for one. It raises as `read` does."""
        self._give_up(agent)
        return await self._call(agent, "DELETE")

    async def lift(self, agent: str) -> None:
        """End an agent's pause where it can be asked; where not, `lift_own` is tried at its next run."""
        if agent in self._agents:
            try:
                await self.clear(agent)
            except Problem as problem:
                write_event("agent-not-resumed", {"agent": agent, "code": problem.code})

    def ask(self, agent: str, reason: str = OWN_REASON) -> None:
        """Pause an agent in the background, however long it takes; at once where it is asked already."""
        if agent not in self._agents or agent in self._asking:
            return
        task = asyncio.create_task(self._ask(agent, reason))
        self._asking[agent] = task
        task.add_done_callback(lambda _: self._asking.pop(agent, None))

    async def lift_own(self, agent: str) -> bool:
        """End an agent's pause if it is this guard's and the guard itself lets requests pass; say whether it ended."""
        if await self._phase(agent) not in {Phase.RUNNING, Phase.PROBING}:
            return False
        try:
            pause = await self.read(agent)
            if not pause.paused or pause.reason != OWN_REASON:
                return not pause.paused
            return not (await self.clear(agent)).paused
        except Problem:
            return False

    async def aclose(self) -> None:
        """Give up every try."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, agent: str, reason: str) -> None:
        wait_s, tries = FIRST_WAIT_S, 0
        while True:
            tries += 1
            try:
                await self.set(agent, reason)
            except Problem as problem:
                write_event("agent-not-paused", {"agent": agent, "code": problem.code, "tries": tries})
            else:
                write_event("agent-paused", {"agent": agent, "tries": tries})
                return
            await self._sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            if await self._phase(agent) in {Phase.RUNNING, Phase.PROBING}:
                return

    async def _phase(self, agent: str) -> Phase | None:
        """Return how the guard holds an agent; None where that is not known."""
        try:
            return (await self._judging.state(agent)).phase
        except Problem:
            return None

    def _give_up(self, agent: str) -> None:
        if task := self._asking.pop(agent, None):
            task.cancel()

    async def _call(self, agent: str, method: str, content: bytes = b"") -> PauseState:
        try:
            async with asyncio.timeout(CALL_S), self._agents.call(agent, method, _PATH, content) as answer:
                return parse_answer(await answer.whole(), PauseState)
        except TimeoutError:
            raise Problem("agent-timeout") from None
