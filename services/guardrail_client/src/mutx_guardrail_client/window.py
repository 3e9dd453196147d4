"""An output that is still being written, judged by windows: what to ask next, and what may be shown.

The guard holds back what may grow into something that is to be masked, and is asked again about it with what follows,
after the end of what was shown. At the end the whole is judged once, as `output` does, before its last piece is shown.
"""

from __future__ import annotations

from mutx_guardrail_client.answer import Release
from mutx_guardrail_client.errors import GuardUnavailable
from mutx_guardrail_client.judged import Judged

STEP = 200
"""Characters that come together before they are judged."""
CONTEXT = 1_000
"""Characters of what was shown that are judged again with what follows."""
LARGEST_PIECE = 60_000
LONGEST = 1_000_000
"""Characters of one output."""


class Windows:
    """One output on its way. What it is given and what it tells are texts as the model wrote them.

    Args:
        step: characters that come together before they are judged, 1 or more.
    """

    def __init__(self, step: int = STEP) -> None:
        self._step = step
        self._whole: list[str] = []
        self._length = 0
        self._pending = ""
        self._unseen = 0
        self._context = ""
        self._shown: list[str] = []
        self._is_collapsed = False

    @property
    def taken(self) -> int:
        """How many characters of what was given are decided."""
        return self._length - len(self._pending)

    @property
    def whole(self) -> str:
        """Everything that was given."""
        return "".join(self._whole)

    def feed(self, text: str) -> None:
        """Take what the model wrote.

        Raises:
            GuardUnavailable: `stream-too-long`.
        """
        if self._length + len(text) > LONGEST:
            raise GuardUnavailable("stream-too-long")
        self._whole.append(text)
        self._length += len(text)
        self._pending += text
        self._unseen += len(text)

    def collapse(self) -> None:
        """Show nothing until the end: the agent's sink escapes a text as a whole."""
        self._is_collapsed = True

    def question(self) -> dict[str, object] | None:
        """Return what to ask now; None while more has to come together.

        A text that could not be shown is asked about again when half as much came after it: the cost stays linear.
        """
        if self._is_collapsed or self._unseen < max(self._step, min(len(self._pending), LARGEST_PIECE) // 2):
            return None
        return {"before": self._context, "text": self._pending[:LARGEST_PIECE], "final": False}

    def last_question(self) -> dict[str, object]:
        """Return what to ask about the rest by itself."""
        return {"before": self._context, "text": self._pending[:LARGEST_PIECE], "final": True}

    def release(self, release: Release) -> str:
        """Return what may be shown after an answer.

        Raises:
            GuardUnavailable: `malformed`: nothing of a piece that cannot grow further may be shown.
        """
        asked = min(len(self._pending), LARGEST_PIECE)
        if not release.taken and asked == LARGEST_PIECE:
            raise GuardUnavailable("malformed")
        self._context = (self._context + self._pending[: release.taken])[-CONTEXT:]
        self._pending = self._pending[release.taken :]
        self._unseen = len(self._pending) if asked == LARGEST_PIECE else 0
        self._shown.append(release.text)
        return release.text

    def rest(self, judged: Judged) -> str | None:
        """Return what the whole, judged, adds to what was shown; None where the two do not go together."""
        shown = "".join(self._shown)
        if judged.text.startswith(shown):
            return judged.text[len(shown) :]
        # The whole was cut where more than that was shown already.
        return "" if shown.startswith(judged.text) else None

    def finish(self) -> None:
        """Nothing is waiting any more."""
        self._pending = ""
