"""The guard for asynchronous code. Every method returns what may be used, or raises `Refused` or `GuardUnavailable`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Generator, Mapping, Sequence
from types import TracebackType
from typing import Self

from mutx_guardrail_client.answer import read_batch, read_body, read_release, read_verdict
from mutx_guardrail_client.errors import GuardError, GuardUnavailable, Refused
from mutx_guardrail_client.judged import InputQuestion, Item, Judged, Origin
from mutx_guardrail_client.outcome import Outcome, logger, note_output
from mutx_guardrail_client.settings import Settings, read_settings
from mutx_guardrail_client.strict_json import Json
from mutx_guardrail_client.transport import MakeTransport, Transport
from mutx_guardrail_client.window import STEP, Windows

MOST_ITEMS = 64
"""Texts of one batch."""


class AsyncGuardClient:
    """One guard, asked about one agent's texts; used from one event loop.

    Args:
        make: builds the connections; for tests.
    """

    def __init__(self, settings: Settings, make: MakeTransport | None = None) -> None:
        self.agent = settings.agent
        self._transport = Transport(settings, make)

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] | None = None) -> Self:
        """Return the guard that `MUTX_GUARD_…` describes; raises `SettingsError`."""
        return cls(read_settings(variables))

    def input(
        self, text: str, origin: Origin = "user", *, earlier: Sequence[str] = (), task: str = ""
    ) -> JudgingInput:
        """Judge a text that is to go to the agent: `await` it, or `async with` it and the outcome is told as well.

        `earlier` are the user's turns before it, oldest first: an attack that began in them is found where it ends.
        `task` is what the user asked for (at most 4,000 characters): a tool's or a page's text may hold what serves it.
        """
        return JudgingInput(self, InputQuestion(text, origin, tuple(earlier), task))

    async def output(self, text: str) -> Judged:
        """Judge a text that the agent wrote; it counts as a request that went well."""
        judged = read_verdict(await self._ask("/v1/guard/output", {"text": text, "agent": self.agent}))
        note_output(self.agent)
        return judged

    async def batch(self, items: Sequence[Item]) -> list[Judged | Refused]:
        """Judge up to 64 texts side by side; a refusal stands in its text's place and is not raised."""
        if not items:
            return []
        if len(items) > MOST_ITEMS:
            raise ValueError(f"at most {MOST_ITEMS} texts go into one batch")
        question = {
            "items": [
                {"direction": each.direction, "text": each.text, "agent": self.agent, "origin": each.origin}
                | ({"task": each.task} if each.task else {})
                for each in items
            ]
        }
        origins = [each.origin if each.direction == "input" else "" for each in items]
        found = read_batch(await self._ask("/v1/guard/batch", question), origins)
        if any(each.direction == "output" for each in items):
            note_output(self.agent)
        return found

    def stream(self, step: int = STEP) -> AsyncOutputStream:
        """Judge an output while it is written; `step` characters come together before they are judged."""
        return AsyncOutputStream(self, step)

    async def outcome(self, ok: bool) -> None:
        """Tell how a request to the agent ended whose output the guard did not judge."""
        if not self.agent:
            raise ValueError("an outcome is an agent's: name it (MUTX_GUARD_AGENT)")
        await self._ask(f"/v1/agents/{self.agent}/outcome", {"ok": ok})

    async def aclose(self) -> None:
        """Close every connection; the guard cannot be asked afterwards."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.aclose()

    async def _ask(self, path: str, question: object) -> Json:
        return read_body(await self._transport.post(path, question))

    async def _input(self, question: InputQuestion) -> Judged:
        document = question.document(self.agent)
        return read_verdict(await self._ask("/v1/guard/input", document), question.origin)

    async def _window(self, windows: Windows, question: dict[str, object], *, is_last: bool) -> str:
        answer = await self._ask("/v1/guard/output/window", {**question, "agent": self.agent})
        return windows.release(read_release(answer, len(str(question["text"])), is_last=is_last))

    async def _report(self, ok: bool) -> None:
        """Tell an outcome; what is lost with it is a count, and no text."""
        try:
            await self.outcome(ok)
        except GuardError as error:
            logger.warning("an outcome was not told: %s", error)


class JudgingInput:
    """A text that is being judged; made by `AsyncGuardClient.input`. Nothing of it can be used before."""

    def __init__(self, guard: AsyncGuardClient, question: InputQuestion) -> None:
        self._guard, self._question = guard, question
        self._outcome = Outcome(guard.agent)

    def __await__(self) -> Generator[object, None, Judged]:
        return self._guard._input(self._question).__await__()

    async def __aenter__(self) -> Judged:
        judged = await self
        self._outcome.begin()
        return judged

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        ok = self._outcome.end(error)
        if ok is not None:
            await self._guard._report(ok)


class AsyncOutputStream:
    """One output that is still being written. After an error nothing more comes out of it."""

    def __init__(self, guard: AsyncGuardClient, step: int = STEP) -> None:
        self._guard, self._windows = guard, Windows(step)
        self._is_over = False

    @property
    def taken(self) -> int:
        """How many characters of what was fed are decided."""
        return self._windows.taken

    async def feed(self, text: str) -> str:
        """Take what the model wrote, and return what may be shown now; often nothing.

        Raises:
            Refused: the guard refuses what was written so far; what waits is never shown.
            GuardUnavailable: it was not judged.
        """
        self._begin()
        self._windows.feed(text)
        shown = ""
        while (question := self._windows.question()) is not None:
            shown += await self._ask(question)
        self._is_over = False
        return shown

    async def flush(self) -> str:
        """Return the last piece, once the whole was judged. It raises as `feed` does."""
        self._begin()
        windows, guard = self._windows, self._guard
        rest = windows.rest(await guard.output(windows.whole))
        if rest is None:
            # What was shown cannot be changed any more; what follows it is judged by itself.
            rest = ""
            while windows.taken < len(windows.whole):
                rest += await guard._window(windows, windows.last_question(), is_last=True)
        windows.finish()
        return rest

    async def through(self, chunks: AsyncIterable[str]) -> AsyncIterator[str]:
        """Yield what may be shown of an output as it comes."""
        async for chunk in chunks:
            if shown := await self.feed(chunk):
                yield shown
        if shown := await self.flush():
            yield shown

    async def _ask(self, question: dict[str, object]) -> str:
        try:
            return await self._guard._window(self._windows, question, is_last=False)
        except GuardUnavailable as error:
            if error.cause != "sink-not-streamable":
                raise
        self._windows.collapse()
        return ""

    def _begin(self) -> None:
        """Count the stream as over until the step ends well."""
        if self._is_over:
            raise GuardUnavailable("closed")
        self._is_over = True
