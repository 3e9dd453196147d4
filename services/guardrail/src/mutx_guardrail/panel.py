"""Asks all detectors about one text, side by side, each within its time."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from mutx_guardrail.combine import Outcome
from mutx_guardrail.deadline import TooLate, working_until
from mutx_guardrail.document import FOREIGN, Document, Origin
from mutx_guardrail.judge.family import Direction
from mutx_guardrail.layer import LayerUnavailable, Signal
from mutx_guardrail.normalise.reading import read_text
from mutx_guardrail.parts import Broken, Parts
from mutx_guardrail.verdict import CheckName, Layer

T = TypeVar("T")
_LONG = 10_000
"""Characters: with less, handing work over takes as long as the work."""
Outcomes = Mapping[CheckName, list[Outcome]]
_JUDGED = frozenset({CheckName.PROMPT_INJECTION, CheckName.TOXIC_CONTENT, CheckName.SAFE_CONTENT})
_Question = tuple[CheckName, Callable[[], Signal]]


@dataclass(frozen=True, slots=True)
class Case:
    """A text, and what is to be found out about it.

    Args:
        checks: those that the policy wants.
        layers: those that have to judge.
        exempt: rules that are not counted.
        purpose: what the agent is declared to be there for.
        task: what its user asked of it now.
        variants: the text as single checks are to see it, where an exception takes a piece out of their sight.
    """

    document: Document
    direction: Direction
    checks: frozenset[CheckName]
    layers: tuple[Layer, ...]
    exempt: frozenset[str] = frozenset()
    purpose: str = ""
    task: str = ""
    variants: Mapping[CheckName, Document] = field(default_factory=dict)

    def seen_by(self, check: CheckName) -> Document:
        """Return the text as a check is to see it."""
        return self.variants.get(check, self.document)


class Panel:
    """The detectors, and the threads that they compute in.

    Args:
        executor: None takes the event loop's own threads.
        limit_s: how long each layer may take for one text; the judge has a limit of its own.
        on_defect: is told of an exception that no detector should raise.
    """

    def __init__(
        self,
        parts: Parts,
        executor: Executor | None = None,
        limit_s: float = 10.0,
        on_defect: Callable[[BaseException], None] = lambda _error: None,
    ) -> None:
        self.parts, self._executor = parts, executor
        self._limit_s, self._on_defect = limit_s, on_defect

    async def read(self, text: str, origin: Origin) -> Document:
        """Return a text with its readings.

        Raises:
            LayerUnavailable: it could not be read in time, or at all.
        """
        document: list[Document] = []

        def work() -> Signal:
            document.append(read_text(text, origin))
            return Signal(Layer.NORMALISE, 0.0)

        outcomes = await self._run(Layer.NORMALISE, [(CheckName.ENCODING, work)])
        for _, outcome in outcomes:
            if isinstance(outcome, LayerUnavailable):
                raise outcome
        return document[0]

    async def aside(self, text: str, work: Callable[[], T]) -> T:
        """Return what `work` makes of a text; of a long one in a thread, so that others are served meanwhile."""
        if len(text) < _LONG:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def hear(self, case: Case) -> Outcomes:
        """Return what every layer says, by check: a signal, or that it could not judge."""
        questions = {
            Layer.PATTERNS: self._of_patterns(case),
            Layer.CLASSIFIER: self._of_classifiers(case),
            Layer.INTENT: self._of_intent(case),
            Layer.NAMES: self._of_names(case),
        }
        runs = [
            self._run(layer, asked) for layer, asked in questions.items() if layer in case.layers and asked
        ]
        if Layer.JUDGE in case.layers:
            runs.append(self._judged(case))
        heard: dict[CheckName, list[Outcome]] = defaultdict(list)
        for answers in await asyncio.gather(*runs):
            for check, outcome in answers:
                heard[check].append(outcome)
        return heard

    def _of_patterns(self, case: Case) -> list[_Question]:
        parts = self.parts
        questions: list[_Question] = [
            (CheckName.PROMPT_INJECTION, lambda: parts.injection_patterns.judge(
                case.seen_by(CheckName.PROMPT_INJECTION), case.exempt)),
            *(
                (check, partial(parts.toxicity_patterns.judge, case.seen_by(check), case.exempt))
                for check in (CheckName.TOXIC_CONTENT, CheckName.SAFE_CONTENT)
            ),
            (CheckName.PII_DETECTION, lambda: parts.personal.judge(case.seen_by(CheckName.PII_DETECTION))),
            (CheckName.SECRET_DETECTION, lambda: parts.secrets.judge(case.seen_by(CheckName.SECRET_DETECTION))),
        ]  # fmt: skip
        return [(check, ask) for check, ask in questions if check in case.checks]

    def _of_classifiers(self, case: Case) -> list[_Question]:
        injection, toxicity = self.parts.injection, self.parts.toxicity
        questions: list[_Question] = []
        if injection and CheckName.PROMPT_INJECTION in case.checks:
            seen = case.seen_by(CheckName.PROMPT_INJECTION)
            questions.append((CheckName.PROMPT_INJECTION, lambda: injection.judge(seen)))
        wanted = case.checks & {CheckName.TOXIC_CONTENT, CheckName.SAFE_CONTENT} if toxicity else ()
        return [
            *questions,
            *((check, partial(toxicity.judge, case.seen_by(check))) for check in wanted if toxicity),
        ]

    def _of_intent(self, case: Case) -> list[_Question]:
        """Return nothing for what a user writes: a user's request is no foreign one."""
        check = CheckName.PROMPT_INJECTION
        if check not in case.checks or case.document.origin not in FOREIGN:
            return []
        intent = self.parts.intent or Broken(Layer.INTENT, "it was not built")
        return [(check, lambda: intent.judge(case.seen_by(check), case.purpose, case.task, case.exempt))]

    def _of_names(self, case: Case) -> list[_Question]:
        names, check = self.parts.names, CheckName.PII_DETECTION
        if names is None or check not in case.checks:
            return []
        return [(check, lambda: names.judge(case.seen_by(check)))]

    async def _judged(self, case: Case) -> list[tuple[CheckName, Outcome]]:
        judge, wanted = self.parts.judge, case.checks & _JUDGED
        if judge is None:
            return _all_unavailable(wanted, "no judge is configured")
        asked = wanted & set(judge.checks(case.direction))
        # A model that does not tell one of them is no judge of it.
        untold = _all_unavailable(wanted - asked, "its model does not tell this")
        try:
            signals = await judge.judge(case.document, case.direction, case.purpose)
        except LayerUnavailable as error:
            return _all_unavailable(wanted, error.why)
        except Exception as error:  # noqa: BLE001 - whatever it was, the judge did not judge
            self._on_defect(error)
            return _all_unavailable(wanted, "a defect")
        return [*untold, *((check, signals[check]) for check in asked)]

    async def _run(self, layer: Layer, questions: list[_Question]) -> list[tuple[CheckName, Outcome]]:
        """Ask one layer's questions one after another in a thread."""
        loop, end = asyncio.get_running_loop(), time.monotonic() + self._limit_s
        try:
            async with asyncio.timeout(self._limit_s):
                return await loop.run_in_executor(self._executor, self._answer, layer, questions, end)
        except TimeoutError:
            return [(check, self._late(layer)) for check, _ in questions]

    def _answer(
        self, layer: Layer, questions: list[_Question], end: float
    ) -> list[tuple[CheckName, Outcome]]:
        answers: list[tuple[CheckName, Outcome]] = []
        for check, ask in questions:
            try:
                with working_until(end):
                    answers.append((check, ask()))
            except TooLate:
                answers.append((check, self._late(layer)))
            except LayerUnavailable as error:
                answers.append((check, error))
            except Exception as error:  # noqa: BLE001 - whatever it was, the detector did not judge
                self._on_defect(error)
                answers.append((check, LayerUnavailable(layer, "a defect")))
        return answers

    def _late(self, layer: Layer) -> LayerUnavailable:
        return LayerUnavailable(layer, f"no answer within {self._limit_s:g} s")


def _all_unavailable(checks: Iterable[CheckName], why: str) -> list[tuple[CheckName, Outcome]]:
    return [(check, LayerUnavailable(Layer.JUDGE, why)) for check in checks]
