"""The guardrail without a service: judges texts in this process, for the command line and for measurements."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from mutx_guardrail.document import Origin
from mutx_guardrail.panel import Panel
from mutx_guardrail.parts import Models, build_parts
from mutx_guardrail.pipeline import Pipeline
from mutx_guardrail.policy import Policy
from mutx_guardrail.verdict import Verdict

LIMIT_S = 120.0
"""Nobody waits at the other end of a connection."""


class OfflineGuard:
    """Judges texts one after another; what is remembered of agents is not asked."""

    def __init__(self, policy: Policy, models: Models | None = None) -> None:
        parts = build_parts(policy.layers, models=models)
        self._pipeline = Pipeline(lambda: policy, Panel(parts, limit_s=LIMIT_S))

    async def judge(
        self,
        text: str,
        side: str,
        agent: str = "",
        origin: Origin = Origin.USER,
        *,
        earlier: Sequence[str] = (),
        task: str = "",
    ) -> Verdict:
        """Return the verdict on one text; `side` is `input` or `output`, the rest as the pipeline's."""
        if side == "output":
            return await self._pipeline.output(text, agent)
        return await self._pipeline.input(text, agent, origin, earlier=earlier, task=task)

    def judge_lines(
        self,
        texts: Iterable[str],
        side: str,
        agent: str = "",
        origin: Origin = Origin.USER,
        task: str = "",
    ) -> Iterator[dict[str, object]]:
        """Yield the JSON form of each text's verdict, in order."""
        with asyncio.Runner() as runner:
            for text in texts:
                yield runner.run(self.judge(text, side, agent, origin, task=task)).document()
