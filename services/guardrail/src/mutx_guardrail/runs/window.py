"""The texts of a stream, step by step: what has come is judged with the end of what has left, and released in part.

What may still grow into something to be masked is held back (`pipeline.window`). The text of a step ends with the next
step, a tool's use or the run; then it is judged once more as a whole, unless it was seen whole already.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mutx_service.problem import Problem

from mutx_guardrail.growing import Growing
from mutx_guardrail.normalise.tokens import count_tokens, exceeds
from mutx_guardrail.output.truncate import truncate
from mutx_guardrail.pipeline import Pipeline
from mutx_guardrail.runs.answer import Delta
from mutx_guardrail.verdict import Verdict
from mutx_guardrail.window import HELD_BACK, STREAMABLE

WINDOW = 200
"""Characters that come together before they are judged."""
CONTEXT = 2 * HELD_BACK
"""Characters of what has left that are judged with what follows."""
LARGEST_TEXT = 1_000_000
"""Characters of all texts of a stream."""


class RefusedWindow(Exception):  # noqa: N818 - the end of a stream, told as one
    """A piece of the stream may not be passed on. `text` is what was judged."""

    def __init__(self, verdict: Verdict, text: str) -> None:
        super().__init__("refused")
        self.verdict, self.text = verdict, text


@dataclass(slots=True)
class _Step:
    """The text of one step; `tokens` are of what was released."""

    number: int = 0
    is_open: bool = False
    text: Growing = field(default_factory=lambda: Growing(WINDOW))
    tokens: int = 0


class StreamedText:
    """What one run says on its way.

    Args:
        pipeline: judges each window.
        agent: whose stream it is.
        max_tokens: of one step, as the policy's `token_limit` has it; what is longer is cut off.
        largest: characters of all texts together; one more ends the stream.
    """

    def __init__(self, pipeline: Pipeline, agent: str, max_tokens: int, largest: int = LARGEST_TEXT) -> None:
        self._largest = largest
        self._pipeline, self._agent, self._max_tokens = pipeline, agent, max_tokens
        self._step, self._before, self._size = _Step(), "", 0

    async def add(self, delta: Delta) -> list[Delta]:
        """Take a piece, and return those that may leave.

        Raises:
            RefusedWindow: the stream has to end.
            Problem: `agent-malformed` where a step goes on that had ended, `answer-too-large`.
        """
        released: list[Delta] = []
        if delta.step != self._step.number:
            released = await self.close()
            if delta.step < self._step.number:
                raise Problem("agent-malformed", "a step came after a later one")
            self._step = _Step(delta.step, is_open=True)
            # A text of its own: an address at the end of one must not swallow the first word of the next.
            self._before += "\n" if self._before else ""
        elif not self._step.is_open:
            raise Problem("agent-malformed", "a step went on that had ended")
        self._size += len(delta.text)
        if self._size > self._largest:
            raise Problem("answer-too-large", f"more than {self._largest} characters")
        self._step.text.take(delta.text)
        if self._step.text.is_due:
            released += await self._judge(is_last=False)
        return released

    async def tick(self) -> list[Delta]:
        """Judge what has come although no window is full, where some of it could leave; for streams that are slow."""
        if self._step.text.unseen and self._step.text.pending > HELD_BACK:
            return await self._judge(is_last=False)
        return []

    async def close(self, output: str | None = None) -> list[Delta]:
        """End the step: judge what is left, and all of it once more.

        Args:
            output: what is judged as a whole elsewhere, and so not here.

        Raises:
            RefusedWindow: the stream has to end.
        """
        step = self._step
        released = await self._judge(is_last=True) if step.is_open and step.text.pending else []
        if step.is_open and not step.text.was_judged_whole and (whole := step.text.whole()) != output:
            verdict = await self._pipeline.output(whole, self._agent)
            if not verdict.allowed:
                raise RefusedWindow(verdict, whole)
        step.is_open = False
        return released

    async def _judge(self, *, is_last: bool) -> list[Delta]:
        step = self._step
        text = step.text.show()
        step.text.judged(len(text))
        try:
            found = await self._pipeline.window(self._before, text, self._agent, is_last=is_last)
        except ValueError:
            raise Problem("sink-not-streamable") from None
        if not found.verdict.allowed:
            raise RefusedWindow(found.verdict, self._before + text)
        self._before = (self._before + text[: found.taken])[-CONTEXT:]
        step.text.leave(found.taken)
        fitted = self._fit(found.text)
        return [Delta(step=step.number, text=fitted)] if fitted else []

    def _fit(self, text: str) -> str:
        """Return what of a piece is within the step's limit of tokens; nothing follows what was cut."""
        left = self._max_tokens - self._step.tokens
        if exceeds(text, left):
            text, self._step.tokens = truncate(text, left, count_tokens).text, self._max_tokens
            return text
        self._step.tokens += count_tokens(text)
        return text


def is_streamable(sink: str) -> bool:
    """Say whether text for a sink can be escaped piece by piece."""
    return sink in STREAMABLE
