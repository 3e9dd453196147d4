"""A stream of events whose text is judged as it passes: events leave in their order, when their text is decided."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from mutx_guardrail_client.aio import AsyncGuardClient, AsyncOutputStream
from mutx_guardrail_client.errors import GuardUnavailable
from mutx_guardrail_client.fields import Slot, texts_at
from mutx_guardrail_client.judging import judge_texts
from mutx_guardrail_client.sse import SseEvent
from mutx_guardrail_client.strict_json import Json, JsonError, read_json, write_json

_DONE = "[DONE]"
"""What OpenAI's streams end with, beside JSON."""

Pointer = tuple[str, ...]


@dataclass(slots=True)
class _Held:
    """An event that waits: for its own text, as far as `end` characters of the stream's, or for those before it."""

    event: SseEvent
    box: list[Json] = field(default_factory=list)
    slots: list[tuple[Slot, int]] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.slots[-1][1] if self.slots else 0

    def encode(self, *, is_text: bool) -> bytes:
        """Return the event with the texts that were put into it; `is_text` where its data is one."""
        if not self.box:
            return self.event.encode()
        data = str(self.box[0]) if is_text else write_json(self.box[0]).decode()
        return SseEvent(self.event.lines, data).encode()


class EventStream:
    """Judges one stream of events.

    Args:
        guard: judges.
        pieces: where an event's data has the next piece of the text that the stream writes; empty for the data itself.
        wholes: where it may have texts of their own.
    """

    def __init__(self, guard: AsyncGuardClient, pieces: Pointer, wholes: list[Pointer]) -> None:
        self._guard, self._pieces, self._wholes = guard, pieces, wholes
        self._stream: AsyncOutputStream = guard.stream()
        self._queue: deque[_Held] = deque()
        self._fed = 0
        self._shown = ""

    async def push(self, event: SseEvent) -> bytes:
        """Take an event, and return those that may leave.

        Raises:
            Refused: the stream must end.
            GuardUnavailable: it was not judged; also where an event's data is no JSON, and should be.
        """
        if event.is_comment:
            return event.encode()
        held = _Held(event)
        self._queue.append(held)
        if event.data is not None and (not self._pieces or event.data.strip() != _DONE):
            await self._read(held, event.data)
        return self._leave(self._stream.taken)

    async def finish(self) -> bytes:
        """Judge the whole, and return all that waits. It raises as `push` does."""
        if self._fed:
            self._shown += await self._stream.flush()
        leaves = self._leave(self._fed)
        if self._shown:
            raise GuardUnavailable("malformed")
        return leaves

    async def _read(self, held: _Held, data: str) -> None:
        if not self._pieces:
            held.box = [data]
            await self._feed(held, Slot(held.box, 0, data))
            return
        held.box = [_parsed(data)]
        await judge_texts(self._guard, texts_at(held.box, self._wholes), "output")
        texts = texts_at(held.box, [self._pieces])
        if texts.names:
            raise GuardUnavailable("malformed")
        for slot in texts.slots:
            await self._feed(held, slot)

    async def _feed(self, held: _Held, slot: Slot) -> None:
        self._fed += len(slot.text)
        held.slots.append((slot, self._fed))
        self._shown += await self._stream.feed(slot.text)

    def _leave(self, taken: int) -> bytes:
        """Let events go whose text is decided; what is to be shown goes with the first of them."""
        found = []
        while self._queue and self._queue[0].end <= taken:
            held = self._queue.popleft()
            for slot, _ in held.slots:
                slot.put(self._shown)
                self._shown = ""
            found.append(held.encode(is_text=not self._pieces))
        return b"".join(found)


def _parsed(data: str) -> Json:
    try:
        return read_json(data.encode("utf-8", "surrogatepass"))
    except JsonError:
        pass
    raise GuardUnavailable("malformed")
