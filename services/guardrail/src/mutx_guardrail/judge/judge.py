"""Layer 3: has a language model judge a text. It sees the text alone, not what other layers found.

What cannot be judged in time, exactly and whole is not judged (`LayerUnavailable`): a judge never says "safe" by
default. Nothing of a text or an answer is logged or put into an exception.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, NoReturn

from mutx_guardrail.breaker import Breaker, Circuit
from mutx_guardrail.document import Document, Origin
from mutx_guardrail.judge.answer import Answer, Unreadable, read_answer, read_models
from mutx_guardrail.judge.endpoint import Endpoint, Unreached
from mutx_guardrail.judge.family import THRESHOLD, Direction, Family, Question, Reading, Subject
from mutx_guardrail.judge.granite_guardian import GraniteGuardian
from mutx_guardrail.judge.instruct import Instruct
from mutx_guardrail.judge.llama_guard import LlamaGuard
from mutx_guardrail.judge.qwen3guard import Qwen3Guard
from mutx_guardrail.judge.settings import FamilyName, JudgeSettings
from mutx_guardrail.judge.window import split_windows
from mutx_guardrail.layer import LayerUnavailable, Signal
from mutx_guardrail.verdict import CheckName, Finding, Layer, Span

FAMILIES: Final[Mapping[FamilyName, Family]] = {
    FamilyName.QWEN3GUARD: Qwen3Guard(),
    FamilyName.GRANITE_GUARDIAN: GraniteGuardian(),
    FamilyName.LLAMA_GUARD: LlamaGuard(),
    FamilyName.INSTRUCT: Instruct(),
}
HARMLESS: Final = "Good morning! What time does the library open today?"
"""What readiness is tried with."""


def new_nonce() -> str:
    """Return 128 random bits as hexadecimal digits."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the judge can judge, and if not, why."""

    is_ready: bool
    why: str = ""


class Judge:
    """The judge behind one endpoint; of one event loop.

    Args:
        endpoint: how the server is reached; by default as the settings say.
        nonce: makes a text that the judged one cannot hold.
        clock: seconds that only go forward.
    """

    layer = Layer.JUDGE

    def __init__(
        self,
        settings: JudgeSettings,
        endpoint: Endpoint | None = None,
        nonce: Callable[[], str] = new_nonce,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._nonce = settings, nonce
        self._family = FAMILIES[settings.family]
        self._endpoint = endpoint or Endpoint(settings)
        self._breaker = Breaker(settings.failures, settings.rest_s, clock)
        self._turns = asyncio.Semaphore(settings.concurrency)
        self._texts = 0

    @property
    def circuit(self) -> Circuit:
        """Whether the server is asked at present."""
        return self._breaker.circuit

    def checks(self, direction: Direction) -> tuple[CheckName, ...]:
        """Return what this judge's model tells of a text."""
        return self._family.checks(direction)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._endpoint.aclose()

    async def judge(
        self, document: Document, direction: Direction, purpose: str = ""
    ) -> dict[CheckName, Signal]:
        """Return what the model says of a text; of a long one, the worst that it says of a window.

        Args:
            document: its plain reading is judged.
            direction: whether it goes to the agent or comes from it.
            purpose: what the agent is there for; part of the question, so it comes from the policy alone.

        Raises:
            LayerUnavailable: the model did not judge all of the text.
        """
        text, settings = document.plain.text, self._settings
        windows = split_windows(len(text), settings.window_chars, settings.overlap_chars)
        if len(windows) > settings.windows:
            _refuse(f"the text needs {len(windows)} windows, and {settings.windows} are judged")
        subjects = [
            Subject(text[window.start : window.end], direction, self._nonce(), document.origin, purpose)
            for window in windows
        ]
        async with self._admitted():
            outcome = await self._within_deadline(subjects)
        if isinstance(outcome, str):
            # Here, and not where it failed: an error on the way there may hold the request, and so the text.
            _refuse(outcome)
        calibrated = [_calibrate(reading, settings) for reading in outcome]
        spans = [document.plain.original(window.start, window.end) for window in windows]
        return {check: self._signal(check, calibrated, spans) for check in self.checks(direction)}

    async def probe(self) -> Readiness:
        """Say whether the server has the model and judges a harmless text; asks even while the breaker is open."""
        subject = Subject(HARMLESS, Direction.INPUT, self._nonce(), Origin.USER)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                if self._settings.model not in read_models(await self._endpoint.send("GET", "models")):
                    return Readiness(is_ready=False, why="the server does not have the model")
                await self._read_one(subject)
        except TimeoutError:
            return Readiness(is_ready=False, why=self._too_late)
        except (Unreached, Unreadable) as error:
            return Readiness(is_ready=False, why=error.why)
        return Readiness(is_ready=True)

    @property
    def _too_late(self) -> str:
        return f"no answer within {self._settings.timeout_s:g} s"

    @asynccontextmanager
    async def _admitted(self) -> AsyncIterator[None]:
        """Hold a place among the texts that are judged or wait; there is no waiting for one."""
        if self._texts >= self._settings.concurrency + self._settings.queue:
            _refuse("too many texts wait")
        if not self._breaker.enter():
            _refuse("the server failed and is left alone for a while")
        self._texts += 1
        try:
            yield
        finally:
            self._texts -= 1
            self._breaker.leave()

    async def _within_deadline(self, subjects: list[Subject]) -> list[Reading] | str:
        """Judge windows side by side; why they were not judged, where they were not.

        Only what is the server's fault counts against it: no text, and no crowd of texts, can have it shunned.
        """
        attempt = _Attempt()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                readings = await _all_or_none([self._take_turn(subject, attempt) for subject in subjects])
        except TimeoutError:
            if attempt.is_sent:
                self._breaker.fail()
            return self._too_late
        except Unreached as error:
            self._breaker.fail()
            return error.why
        except Unreadable as error:
            self._breaker.succeed()
            return error.why
        self._breaker.succeed()
        return readings

    async def _take_turn(self, subject: Subject, attempt: _Attempt) -> Reading:
        async with self._turns:
            attempt.is_sent = True
            return await self._read_one(subject)

    async def _read_one(self, subject: Subject) -> Reading:
        """Ask all that is to be asked of one window, one question after another."""
        scores: dict[CheckName, float] = {}
        labels: dict[CheckName, str] = {}
        for question in self._family.questions(subject):
            reading = self._family.read(question, await self._ask(question))
            scores |= reading.scores
            labels |= reading.labels
        return Reading(scores, labels)

    async def _ask(self, question: Question) -> Answer:
        body = await self._endpoint.send("POST", "chat/completions", question.document(self._settings.model))
        return read_answer(body)

    def _signal(self, check: CheckName, readings: list[Reading], spans: list[Span]) -> Signal:
        """Return the worst of all windows; a finding is a whole window, for the model names no place."""
        score = max(reading.scores[check] for reading in readings)
        findings = tuple(
            Finding(check.value, span, reading.scores[check], self.layer, rule=self._rule(check, reading))
            for reading, span in zip(readings, spans, strict=True)
            if reading.scores[check] >= THRESHOLD
        )
        return Signal(self.layer, score, findings)

    def _rule(self, check: CheckName, reading: Reading) -> str:
        label = reading.labels.get(check)
        return f"{self._settings.family.value}: {label}" if label else self._settings.family.value


@dataclass(slots=True)
class _Attempt:
    """Whether anything of a text went to the server."""

    is_sent: bool = False


async def _all_or_none(readings: Sequence[Coroutine[None, None, Reading]]) -> list[Reading]:
    """Return every reading, or raise the first failure once the others have ended."""
    tasks = [asyncio.create_task(reading) for reading in readings]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _calibrate(reading: Reading, settings: JudgeSettings) -> Reading:
    scores = {check: settings.calibration.apply(score) for check, score in reading.scores.items()}
    return Reading(scores, reading.labels)


def _refuse(why: str) -> NoReturn:
    raise LayerUnavailable(Layer.JUDGE, why)
