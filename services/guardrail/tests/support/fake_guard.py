"""A guard with three rules, which notes what it was asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mutx_guardrail.document import Origin
from mutx_guardrail.verdict import Action, Check, CheckName, Layer, Reason, Verdict

BLOCKED = "steal the crown jewels"
_MASKED = re.compile(r"card-\d{4}-\d{4}-\d{4}")


@dataclass
class FakeGuard:
    """Blocks one phrase, masks cards of a made-up form, and can be told that a layer is gone."""

    inputs: list[tuple[str, str, Origin]] = field(default_factory=list)
    tasks: dict[str, str] = field(default_factory=dict)
    outputs: list[tuple[str, str]] = field(default_factory=list)
    is_gone: bool = False
    calls: int = 0
    most_calls: int = 1_000
    policy: str = "trial@1"

    def forget(self) -> None:
        self.inputs.clear()
        self.tasks.clear()
        self.outputs.clear()
        self.is_gone, self.policy, self.calls, self.most_calls = False, "trial@1", 0, 1_000

    async def admit(self, agent: str) -> Check:
        self.calls += 1
        if self.calls <= self.most_calls:
            return Check(CheckName.RATE_LIMIT, passed=True)
        return Check(
            CheckName.RATE_LIMIT,
            passed=False,
            action=Action.RATE_LIMIT,
            reason=Reason.RATE_LIMIT,
            details=agent,
        )

    async def input(
        self, text: str, agent: str, origin: Origin, *, earlier: Sequence[str] = (), task: str = ""
    ) -> Verdict:
        self.inputs.append((text, agent, origin))
        self.tasks[text] = task
        return self._judge("".join((*earlier, text)) if BLOCKED in "".join((*earlier, text)) else text)

    async def output(self, text: str, agent: str) -> Verdict:
        self.outputs.append((text, agent))
        return self._judge(text)

    def _judge(self, text: str) -> Verdict:
        name = CheckName.PROMPT_INJECTION
        if self.is_gone:
            check = Check(name, passed=False, unavailable=(Layer.CLASSIFIER,))
        elif BLOCKED in text:
            check = Check(name, passed=False, score=0.9, action=Action.BLOCK, reason=Reason.PROMPT_INJECTION)
        else:
            check = Check(name, passed=True, score=0.1)
        return Verdict((check,), 0.1, _MASKED.sub("[REDACTED]", text), self.policy)
