"""The guard for code without an event loop. Every method returns what may be used, or raises.

One client serves any number of threads. It is the asynchronous one, run in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import TracebackType
from typing import Any, Self, TypeVar

from mutx_guardrail_client.aio import AsyncGuardClient, AsyncOutputStream
from mutx_guardrail_client.errors import Refused
from mutx_guardrail_client.judged import InputQuestion, Item, Judged, Origin
from mutx_guardrail_client.loop import LoopThread
from mutx_guardrail_client.outcome import Outcome
from mutx_guardrail_client.settings import Settings, read_settings
from mutx_guardrail_client.transport import MakeTransport
from mutx_guardrail_client.window import STEP

T = TypeVar("T")


class GuardClient:
    """One guard, asked about one agent's texts.

    Args:
        make: builds the connections; for tests.

    Raises:
        SettingsError: a file that the settings name does not serve.
    """

    def __init__(self, settings: Settings, make: MakeTransport | None = None) -> None:
        self.agent = settings.agent
        self._loop, self._guard = LoopThread(), AsyncGuardClient(settings, make)

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] | None = None) -> Self:
        """Return the guard that `MUTX_GUARD_…` describes; raises `SettingsError`."""
        return cls(read_settings(variables))

    def input(
        self, text: str, origin: Origin = "user", *, earlier: Sequence[str] = (), task: str = ""
    ) -> JudgedInput:
        """Judge a text that is to go to the agent.

        `earlier` are the user's turns before it, oldest first; `task` is what the user asked for, where the text is a
        tool's or a page's.

        What it returns is used as it is, or in a `with` block, whose end tells the guard how the request ended.

        Raises:
            Refused: the guard says no.
            GuardUnavailable: it was not judged.
        """
        question = InputQuestion(text, origin, tuple(earlier), task)
        judged = self._run(lambda guard: guard._input(question))
        return JudgedInput(**{each.name: getattr(judged, each.name) for each in fields(judged)}, _guard=self)

    def output(self, text: str) -> Judged:
        """Judge a text that the agent wrote; it raises as `input` does, and counts as a request that went well."""
        return self._run(lambda guard: guard.output(text))

    def batch(self, items: Sequence[Item]) -> list[Judged | Refused]:
        """Judge up to 64 texts side by side; a refusal stands in its text's place and is not raised."""
        return self._run(lambda guard: guard.batch(items))

    def stream(self, step: int = STEP) -> OutputStream:
        """Judge an output while it is written; `step` characters come together before they are judged."""
        return OutputStream(self._loop, self._guard.stream(step))

    def outcome(self, ok: bool) -> None:
        """Tell how a request to the agent ended whose output the guard did not judge."""
        self._run(lambda guard: guard.outcome(ok))

    def close(self) -> None:
        """Close every connection; the guard cannot be asked afterwards."""
        self._run(lambda guard: guard.aclose())
        self._loop.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def _run(self, ask: Callable[[AsyncGuardClient], Coroutine[Any, Any, T]]) -> T:
        return self._loop.run(ask(self._guard))

    def _report(self, ok: bool) -> None:
        self._run(lambda guard: guard._report(ok))


@dataclass(frozen=True, slots=True)
class JudgedInput(Judged):
    """A judged input that can be a `with` block: its end tells the guard how the request ended."""

    _guard: GuardClient | None = field(default=None, repr=False, compare=False)
    _outcomes: list[Outcome] = field(default_factory=list, repr=False, compare=False)

    def __enter__(self) -> Self:
        if self._guard is not None:
            outcome = Outcome(self._guard.agent)
            outcome.begin()
            self._outcomes.append(outcome)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        ok = self._outcomes.pop().end(error) if self._outcomes else None
        if ok is not None and self._guard is not None:
            self._guard._report(ok)


class OutputStream:
    """One output that is still being written. After an error nothing more comes out of it."""

    def __init__(self, loop: LoopThread, inner: AsyncOutputStream) -> None:
        self._loop, self._inner = loop, inner

    def feed(self, text: str) -> str:
        """Take what the model wrote, and return what may be shown now; often nothing.

        Raises:
            Refused: the guard refuses what was written so far; what waits is never shown.
            GuardUnavailable: it was not judged.
        """
        return self._loop.run(self._inner.feed(text))

    def flush(self) -> str:
        """Return the last piece, once the whole was judged. It raises as `feed` does."""
        return self._loop.run(self._inner.flush())

    def through(self, chunks: Iterable[str]) -> Iterator[str]:
        """Yield what may be shown of an output as it comes."""
        for chunk in chunks:
            if shown := self.feed(chunk):
                yield shown
        if shown := self.flush():
            yield shown
