"""Judging a stream as it passes: events wait until their text was judged, and leave as they came.

A text is judged in windows that overlap: what already left, as far as `hold` characters back, is judged with what
follows, and the last `hold` characters wait for what comes after them. So nothing up to that length is torn apart
between two windows. Where a text ends, it is judged once more as a whole before its end is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mutx_service.strict_json import Json, JsonError, read_json

from mutx_guardrail.document import Origin
from mutx_guardrail.egress.dialect import Delta, Dialect, Group
from mutx_guardrail.egress.refusal import Refusal
from mutx_guardrail.egress.texts import FreeValue, pieces_of
from mutx_guardrail.growing import Growing

JudgeText = Callable[[str], Awaitable[str]]
"""Returns what may be passed on of a text; it raises Refusal."""


@dataclass(slots=True)
class Waiting:
    """An event, and how many of its pieces are not judged yet."""

    name: str
    document: dict[str, Json] | None
    pieces: int = 0


@dataclass(slots=True)
class _Piece:
    delta: Delta
    event: Waiting
    text: str


@dataclass(slots=True)
class _Channel:
    """One text of the stream, and its pieces that have not left."""

    is_json: bool
    text: Growing
    pieces: deque[_Piece] = field(default_factory=deque)
    was_changed: bool = False


class Windows:
    """One stream's events on their way.

    Args:
        window: how many characters come together before they are judged.
        largest: of all texts, in characters.
    """

    def __init__(self, dialect: Dialect, judge: JudgeText, window: int, largest: int) -> None:
        self._dialect, self._judge = dialect, judge
        self._window, self._hold, self._largest = window, window, largest
        self._events: deque[Waiting] = deque()
        self._channels: dict[tuple[Group, ...], _Channel] = {}
        self._size = 0

    async def push(self, event: Waiting, deltas: list[Delta]) -> list[Waiting]:
        """Take an event, and return those that may leave.

        Raises:
            Refusal: the stream must end.
        """
        self._events.append(event)
        for delta in deltas:
            self._take(event, delta)
        ended: set[Group] | None = set() if event.document is None else self._dialect.ended(event.document)
        for key, channel in list(self._channels.items()):
            if ended is None or key[0] in ended:
                await self._settle(channel, is_end=True)
                del self._channels[key]
            elif channel.text.is_due:
                await self._settle(channel, is_end=False)
        return self._leave()

    async def tick(self) -> list[Waiting]:
        """Judge what has come although no window is full; for streams that are slow."""
        for channel in self._channels.values():
            text = channel.text
            if text.unseen and text.pending > self._hold and text.unseen >= text.pending // 2:
                await self._settle(channel, is_end=False)
        return self._leave()

    async def finish(self) -> list[Waiting]:
        """Judge what is left at the stream's end."""
        for channel in self._channels.values():
            await self._settle(channel, is_end=True)
        self._channels.clear()
        return self._leave()

    def _take(self, event: Waiting, delta: Delta) -> None:
        text = delta.text
        self._size += len(text)
        if self._size > self._largest:
            raise Refusal("answer_too_large", "the answer is longer than is taken")
        if delta.channel not in self._channels:
            self._channels[delta.channel] = _Channel(delta.is_json, Growing(self._window, self._hold))
        channel = self._channels[delta.channel]
        channel.pieces.append(_Piece(delta, event, text))
        channel.text.take(text)
        event.pieces += 1

    def _leave(self) -> list[Waiting]:
        found = []
        while self._events and not self._events[0].pieces:
            found.append(self._events.popleft())
        return found

    async def _settle(self, channel: _Channel, *, is_end: bool) -> None:
        """Judge what waits of a text, and let go of what need not wait longer."""
        if channel.pieces:
            pending = channel.text.show()
            judged = await self._judge_pending(channel, pending)
            self._release(channel, pending, judged, is_end=is_end)
        if is_end:
            await self._judge_whole(channel)

    async def _judge_pending(self, channel: _Channel, pending: str) -> str:
        context = channel.text.context
        channel.text.judged(len(context) + len(pending))
        judged = await self._judge(context + pending)
        if judged.startswith(context):
            return judged[len(context) :]
        # What has left cannot be changed any more; what follows it is judged by itself.
        return await self._judge(pending)

    def _release(self, channel: _Channel, pending: str, judged: str, *, is_end: bool) -> None:
        # Characters at the end that the guard left as they are: a mask that touches the end may grow.
        unchanged = len(pending) if judged == pending else _common_suffix(pending, judged)
        wanted = 0 if is_end else self._hold
        keeps, count = len(pending), 0
        for piece in channel.pieces:
            if keeps - len(piece.text) < wanted:
                break
            keeps -= len(piece.text)
            count += 1
        if not count or keeps > unchanged:
            return
        left = self._let_go(channel, count, None if judged == pending else judged[: len(judged) - keeps])
        channel.text.leave(len(pending) - keeps, left)

    def _let_go(self, channel: _Channel, count: int, changed: str | None) -> str:
        """Let pieces go, and return what left with them."""
        left = []
        for at in range(count):
            piece = channel.pieces.popleft()
            piece.event.pieces -= 1
            if changed is not None:
                piece.delta.node[piece.delta.name] = changed if at == 0 else ""
                channel.was_changed = True
            left.append(piece.delta.text)
        return "".join(left)

    async def _judge_whole(self, channel: _Channel) -> None:
        whole = channel.text.whole()
        if channel.is_json:
            plain = _plain(whole)
            if (
                plain.strip()
                and plain != whole
                and await self._judge(plain) != plain
                and not channel.was_changed
            ):
                raise Refusal("content_not_maskable", "what is to be masked is hidden by escapes")
        if not channel.text.was_judged_whole:
            await self._judge(whole)


def _plain(whole: str) -> str:
    """Return the names and strings of a JSON text, a line each; the text itself where it is no JSON."""
    try:
        box: list[Json] = [read_json(whole.encode())]
    except (JsonError, UnicodeEncodeError):
        return whole
    return FreeValue(list(pieces_of(box, Origin.AGENT)), Origin.AGENT, lambda: None).text


def _common_suffix(one: str, other: str) -> int:
    count = 0
    for mine, theirs in zip(reversed(one), reversed(other), strict=False):
        if mine != theirs:
            break
        count += 1
    return count
