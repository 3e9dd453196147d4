"""What is done around each verdict: an agent is admitted, its answer learned from, the verdict counted and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from mutx_service.journal import write_event
from mutx_service.problem import Problem

from mutx_guardrail.anomaly.errors import AgentState
from mutx_guardrail.anomaly.store import StoreUnavailable
from mutx_guardrail.anomaly.watch import Anomaly, Probe
from mutx_guardrail.parts import Parts
from mutx_guardrail.pipeline import Pipeline
from mutx_guardrail.policy import Policy
from mutx_guardrail.review import ReviewStore, ReviewsUnavailable
from mutx_guardrail.service.metrics import Metrics
from mutx_guardrail.verdict import Action, Check, Verdict

MOST_PURPOSES = 256
_T = TypeVar("_T")


class Judging:
    """The pipeline with the watch over agents, the metrics and the reviews.

    Args:
        pipeline: judges texts.
        policy: returns what holds now.
        anomaly: the watch; it is asked in threads.
        parts: whose embedding measures drift.
        reviews: None keeps none.
        metrics: counts verdicts.
        on_paused: is told the name of an agent that was paused for its errors just now.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        policy: Callable[[], Policy],
        anomaly: Anomaly,
        parts: Parts,
        reviews: ReviewStore | None,
        metrics: Metrics,
        on_paused: Callable[[str], None] = lambda _agent: None,
    ) -> None:
        self.pipeline, self.policy, self.anomaly = pipeline, policy, anomaly
        self._parts, self._reviews, self.metrics = parts, reviews, metrics
        # An agent's purpose stays the same from one output to the next.
        self._embed_purpose = lru_cache(MOST_PURPOSES)(parts.embed) if parts.embed else None
        self._on_paused = on_paused

    async def admit(self, agent: str) -> Check:
        """Say whether a request to an agent may go on."""
        return await asyncio.to_thread(self.anomaly.admit, agent, self.policy().anomaly_for(agent))

    async def give_back(self, agent: str, admitted: Check) -> None:
        """Let another request be the probe, where this one was and never told anything of the agent."""
        if isinstance(admitted, Probe):
            limits = self.policy().anomaly_for(agent)
            await asyncio.to_thread(self.anomaly.give_back, agent, admitted, limits)

    async def standing(self, agent: str) -> Check:
        """Say whether an agent is paused; nothing is counted."""
        return await asyncio.to_thread(self.anomaly.standing, agent, self.policy().anomaly_for(agent))

    async def observe(self, agent: str, tokens: int, *, ok: bool, text: str) -> tuple[Check, ...]:
        """Learn how a request ended; `text` is the output, empty where there is none."""
        policy, embed = self.policy(), self._parts.embed
        purpose = policy.purpose_of(agent)

        def observe() -> tuple[Check, ...]:
            seen = embed(text) if embed and purpose and text.strip() else None
            meant = self._embed_purpose(purpose) if seen is not None and self._embed_purpose else None
            return self.anomaly.observe(
                agent, tokens, policy.anomaly_for(agent), ok=ok, embedding=seen, purpose=meant
            )

        checks = await asyncio.to_thread(observe)
        if any(check.action is Action.PAUSE for check in checks):
            self._on_paused(agent)
        return checks

    async def note(self, verdict: Verdict, agent: str, direction: str, text: str) -> dict[str, object]:
        """Count a verdict, keep what a person may review, and return its JSON form."""
        self.metrics.count(verdict, direction)
        document = verdict.document()
        if self._reviews is not None and any(not check.passed for check in verdict.checks):
            try:
                document["review"] = await asyncio.to_thread(
                    self._reviews.add, verdict, agent, direction, text, keeps_text=self.policy().log_text
                )
            except ReviewsUnavailable as error:
                # What was found is told all the same; only nobody can say later whether it was right.
                write_event("review-not-kept", {"why": str(error)})
        return document

    async def state(self, agent: str) -> AgentState:
        """Return how an agent stands.

        Raises:
            Problem: `store-unavailable`.
        """
        return await self._asked(lambda: self.anomaly.state(agent, self.policy().anomaly_for(agent)))

    async def hold(self, agent: str) -> None:
        """Let nothing pass to an agent until it is resumed; it raises as `state` does."""
        await self._asked(lambda: self.anomaly.hold(agent, self.policy().anomaly_for(agent)))

    async def resume(self, agent: str) -> None:
        """End an agent's pause or hold; it raises as `state` does."""
        await self._asked(lambda: self.anomaly.resume(agent))

    @staticmethod
    async def _asked(ask: Callable[[], _T]) -> _T:
        try:
            return await asyncio.to_thread(ask)
        except StoreUnavailable:
            raise Problem("store-unavailable") from None
