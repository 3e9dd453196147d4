"""A text that comes in pieces, is judged in windows, and leaves in pieces.

Half of what could not leave must be new before the next window, so that the cost of all windows stays linear.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Growing:
    """How far a text has come, was seen, and has left; all numbers are of characters.

    Attributes:
        window: how many come together before they are judged.
        kept: how many of what has left are judged with what follows.
        context: those.
        pending: how many have not left.
        unseen: how many of them no window has seen.
        size: how many have come.
        longest_judged: of the longest window that was judged of it.
    """

    window: int
    kept: int = 0
    context: str = ""
    pending: int = 0
    unseen: int = 0
    size: int = 0
    longest_judged: int = 0
    _waiting: str = ""
    _new: list[str] = field(default_factory=list)
    _whole: list[str] = field(default_factory=list)

    def take(self, text: str) -> None:
        """Add a piece."""
        self._new.append(text)
        self._whole.append(text)
        self.pending += len(text)
        self.unseen += len(text)
        self.size += len(text)

    @property
    def is_due(self) -> bool:
        """Whether a window is full."""
        return self.unseen >= max(self.window, self.pending // 2)

    def show(self) -> str:
        """Return what has not left, as seen from now on."""
        if self._new:
            self._waiting += "".join(self._new)
            self._new.clear()
            self.unseen = 0
        return self._waiting

    def judged(self, length: int) -> None:
        """Note that a window of so many characters was judged, of this text or with its context."""
        self.longest_judged = max(self.longest_judged, length)

    def leave(self, count: int, left: str | None = None) -> None:
        """Let go of the first `count` characters that were shown; `left` is what became of them."""
        gone, self._waiting = self._waiting[:count], self._waiting[count:]
        self.pending -= count
        self.context = (self.context + (gone if left is None else left))[-self.kept :] if self.kept else ""

    @property
    def was_judged_whole(self) -> bool:
        """Whether one window was as long as all that has come."""
        return self.longest_judged >= self.size

    def whole(self) -> str:
        """Return all that has come."""
        return "".join(self._whole)
