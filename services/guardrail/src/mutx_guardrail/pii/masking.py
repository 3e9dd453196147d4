"""Personal data taken out of a text: by marks consistent in it or everywhere, by tokens that a key turns back, or not.

All of them keep the way back to the given text's places, leave what is masked already alone, and never cut a character
from the marks that belong to it.
"""

from __future__ import annotations

import base64
import hmac
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from mutx_guardrail.document import Edit, View
from mutx_guardrail.output.graphemes import whole_clusters
from mutx_guardrail.pii.kinds import Kind
from mutx_guardrail.pii.matching import Haystack, compile_pattern
from mutx_guardrail.pii.rule import Candidate
from mutx_guardrail.verdict import Finding

REDACTED: Final = "[REDACTED]"
WITHHELD: Final = "[WITHHELD]"
"""Stands for a sentence of a tool's or a page's text that was taken out (`mutx_guardrail.foreign`)."""
KEY_BYTES: Final = (32, 64)

_KINDS: Final = "|".join(sorted(Kind, key=len, reverse=True))
_CONTEXT: Final = b"mutx-guardrail mask v1"
_TAG_CONTEXT: Final = b"mutx-guardrail tag v1"
_TAG_LENGTHS: Final = (8, 16)
_SPELT_ALIKE: Final = frozenset({Kind.EMAIL_ADDRESS, Kind.URL, Kind.PERSON, Kind.LOCATION, Kind.ORGANIZATION})


class MaskError(Exception):
    """A mask cannot be turned back: another key's, altered, or no mask of ours. It tells the place, never the text."""

    code = "mask-not-ours"

    def __init__(self, at: int) -> None:
        super().__init__(f"the mask at character {at} is not one that this key made, or was altered")
        self.at = at


class Masker(Protocol):
    """Says what stands in the place of a value."""

    def mask(self, kind: str, value: str) -> str:
        """Return the mask of a value."""


class Redacting:
    """Masks for good: literally `[REDACTED]`."""

    def mask(self, kind: str, value: str) -> str:  # noqa: ARG002 - a masker's signature
        """Return the same for every value."""
        return REDACTED


class Numbering:
    """Consistent masks: `<PERSON_1>` stands for the same person as long as the object is kept (one conversation).

    Values are the same when they differ in case, width or blanks only; numbers also when they differ in separators.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._last: dict[str, int] = {}

    def reserve(self, text: str) -> None:
        """Give out no number that a mask in the text has already."""
        for hit in Haystack(text).hits(_ANY_NUMBERED):
            kind, _, number = text[hit.start + 1 : hit.end - 1].rpartition("_")
            self._last[kind] = max(self._last.get(kind, 0), int(number))

    def mask(self, kind: str, value: str) -> str:
        """Return the mask of a value: its kind, and in which order it was first seen."""
        key = (kind, _canonical(kind, value))
        if key not in self._numbers:
            self._last[kind] = self._numbers[key] = self._last.get(kind, 0) + 1
        return f"<{kind}_{self._numbers[key]}>"


class Tagging:
    """Masks that are the same for the same value in every text of a tenant: `<PERSON_7f3a91c2>`.

    A tag is the begin (8 hexadecimal digits) of an HMAC-SHA-256 over the kind and the value, under a key drawn from the
    tenant's: who does not have that can neither try values nor turn a tag back. Two texts in which a tag is the same
    speak of the same value, but for one pair in 4 thousand million. Values are the same as in `Numbering`. Where two
    values of one object have the same begin, the later has 16 digits. The order of values changes nothing else.

    Args:
        key: as of `Sealing`; what the tags are made with tells nothing of it.
    """

    def __init__(self, key: bytes) -> None:
        _check_key(key)
        self._key = hmac.digest(key, _TAG_CONTEXT, "sha256")
        self._taken: dict[str, tuple[str, str]] = {}

    def __repr__(self) -> str:
        return "Tagging(key=…)"

    def mask(self, kind: str, value: str) -> str:
        """Return the mask of a value: its kind and its tag."""
        known = (kind, _canonical(kind, value))
        tag = hmac.new(self._key, "\0".join(known).encode("utf-8", "surrogatepass"), "sha256").hexdigest()
        for length in _TAG_LENGTHS:
            mask = f"<{kind}_{tag[:length]}>"
            if self._taken.setdefault(mask, known) == known:
                return mask
        return f"<{kind}_{tag}>"


class Sealing:
    """Masks that the tenant's key alone turns back: `<PERSON:token>`, the same for the same value and key.

    A token is AES-SIV (RFC 5297) over the value's UTF-8, its kind bound to it, in base64url. It tells how long the
    value is and which values are equal, and nothing else.

    Args:
        key: 32 or 64 random bytes; it is kept in memory only and shown in no message.
    """

    def __init__(self, key: bytes) -> None:
        _check_key(key)
        self._cipher = AESSIV(key)

    def __repr__(self) -> str:
        return "Sealing(key=…)"

    def mask(self, kind: str, value: str) -> str:
        """Return the token of a value."""
        sealed = self._cipher.encrypt(value.encode("utf-8", "surrogatepass"), [_CONTEXT, kind.encode()])
        return f"<{kind}:{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}>"

    def open(self, kind: str, token: str) -> str:
        """Return the value of a token.

        Raises:
            ValueError: it was made with another key or for another kind, or is altered.
        """
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            value = self._cipher.decrypt(sealed, [_CONTEXT, kind.encode()])
        except (InvalidTag, ValueError):
            raise ValueError("no token of this key and kind") from None
        # Base64 has several spellings of the same bytes; one alone is what was made.
        if self.mask(kind, value.decode("utf-8", "surrogatepass")) != f"<{kind}:{token}>":
            raise ValueError("the token was altered")
        return value.decode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class _Piece:
    start: int
    end: int
    kind: str
    weight: tuple[float, int]


# What is a mask already. A token's alphabet is wider here than what is made, so that an altered one is noticed.
_NUMBERED = rf"<(?:{_KINDS})_[1-9]\d{{0,6}}>"
_TAGGED = rf"<(?:{_KINDS})_(?:[0-9a-f]{{8}}|[0-9a-f]{{16}}|[0-9a-f]{{64}})>"
_SEALED = rf"<(?:{_KINDS}):[A-Za-z0-9_\-+/=.]{{16,}}>"
_MASK: Final = compile_pattern(rf"{_NUMBERED}|{_TAGGED}|{_SEALED}|\[REDACTED\]|\[WITHHELD\]")
_TOKEN: Final = compile_pattern(_SEALED)
_ANY_NUMBERED: Final = compile_pattern(_NUMBERED)


def mask_spans(text: str) -> tuple[tuple[int, int], ...]:
    """Return where the text is masked already, from left to right."""
    if "<" not in text and "[" not in text:
        return ()
    return tuple((hit.start, hit.end) for hit in Haystack(text).hits(_MASK))


def outside_masks(candidates: Iterable[Candidate], text: str) -> Iterable[Candidate]:
    """Return the candidates that share no character with a mask."""
    masks = mask_spans(text)
    ends = [end for _, end in masks]

    def is_free(candidate: Candidate) -> bool:
        at = bisect_right(ends, candidate.start)
        return at == len(masks) or masks[at][0] >= candidate.end

    return (candidate for candidate in candidates if is_free(candidate)) if masks else candidates


def mask_view(view: View, findings: Iterable[Finding], masker: Masker) -> View:
    """Return the reading with each finding's text masked; its map leads to the given text.

    Args:
        view: the given text, or a reading of it in the text's order, such as the one without what hides.
        findings: in spans of the given text; where some overlap, one mask covers them all.
        masker: says what stands in a value's place.
    """
    pieces = _pieces(view, findings)
    if not pieces:
        return view
    edits = [
        Edit(piece.start, piece.end, masker.mask(piece.kind, view.text[piece.start : piece.end]))
        for piece in pieces
    ]
    return view.edited(f"{view.name}>masked", edits)


def mask_text(text: str, findings: Iterable[Finding], masker: Masker) -> View:
    """Return the given text with each finding's text masked, and its map."""
    return mask_view(View.whole("given", text), findings, masker)


def unmask(text: str, key: bytes) -> str:
    """Return the text with every token turned back into its value, exactly as it was.

    Raises:
        MaskError: a token is not of this key, or altered; nothing is turned back then.
        ValueError: the key's length is wrong.
    """
    sealing = Sealing(key)
    parts: list[str] = []
    at = 0
    for hit in Haystack(text).hits(_TOKEN):
        kind, _, token = text[hit.start + 1 : hit.end - 1].partition(":")
        try:
            value = sealing.open(kind, token)
        except ValueError:
            raise MaskError(hit.start) from None
        parts += [text[at : hit.start], value]
        at = hit.end
    return "".join([*parts, text[at:]])


def _pieces(view: View, findings: Iterable[Finding]) -> Sequence[_Piece]:
    located = []
    for finding in findings:
        start = _first_from(view, finding.span.start, begins=False)
        end = _first_from(view, finding.span.end, begins=True)
        if start < end:
            start, end = whole_clusters(view.text, start, end)
            located.append(_Piece(start, end, finding.kind, (finding.confidence, end - start)))
    joined: list[_Piece] = []
    for piece in sorted(located, key=lambda p: (p.start, p.end)):
        if joined and piece.start < joined[-1].end:
            heavier = max(joined[-1], piece, key=lambda p: p.weight)
            joined[-1] = replace(heavier, start=joined[-1].start, end=max(joined[-1].end, piece.end))
        else:
            joined.append(piece)
    return list(_outside(joined, mask_spans(view.text)))


def _outside(pieces: Iterable[_Piece], masks: Sequence[tuple[int, int]]) -> Iterator[_Piece]:
    """Return what of the pieces is not masked already; both are in order and do not overlap among themselves."""
    at = 0
    for piece in pieces:
        start = piece.start
        while at < len(masks) and masks[at][1] <= start:
            at += 1
        following = at
        while following < len(masks) and masks[following][0] < piece.end:
            if start < masks[following][0]:
                yield replace(piece, start=start, end=masks[following][0])
            start = masks[following][1]
            following += 1
        if start < piece.end:
            yield replace(piece, start=start)


def _first_from(view: View, place: int, *, begins: bool) -> int:
    """Return the first character of a reading whose source ends behind `place` of the given text, or begins there."""
    low, high = 0, len(view.text)
    while low < high:
        middle = (low + high) // 2
        source = view.original(middle, middle + 1)
        if (source.start >= place) if begins else (source.end > place):
            high = middle
        else:
            low = middle + 1
    return low


def _check_key(key: bytes) -> None:
    if len(key) not in KEY_BYTES:
        raise ValueError("a key of 32 or 64 bytes is wanted")


def _canonical(kind: str, value: str) -> str:
    folded = " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    if kind in _SPELT_ALIKE or not any(c.isdigit() for c in folded):
        return folded
    return "".join(c for c in folded if c.isalnum() or c == "+")
