"""The encodings that are undone: where a piece of each may stand, and how it is read."""

from __future__ import annotations

import base64
import binascii
import html
import quopri
import re
import string
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass

_SHORTEST_BASE64 = 16
_TAG_BASE = 0xE0000


@dataclass(frozen=True, slots=True)
class Decoder:
    """One encoding.

    Args:
        pieces: where it may stand in a text; its work is linear in the text's length.
        decode: reads a piece; ValueError where it is none.
        sign: what a text must hold to be looked through at all; None where `pieces` tells soon enough.
    """

    name: str
    pieces: re.Pattern[str]
    decode: Callable[[str], str | bytes]
    sign: re.Pattern[str] | None = None


def _base64(piece: str) -> bytes:
    if piece.islower() or piece.isupper() or (piece.isalpha() and len(piece) < _SHORTEST_BASE64):
        raise ValueError("words of a language")
    bare = re.sub(r"\s+", "", piece).rstrip("=").translate(str.maketrans("-_", "+/"))
    return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)


def _base32(piece: str) -> bytes:
    bare = re.sub(r"\s+", "", piece).rstrip("=")
    return base64.b32decode(bare + "=" * (-len(bare) % 8))


def _hexadecimal(piece: str) -> bytes:
    return bytes.fromhex(re.sub(r"0x|\\x|[\s,:;-]+", "", piece))


def _numbers(base: int) -> Callable[[str], str]:
    def decode(piece: str) -> str:
        return bytes(int(number, base) for number in re.findall(r"[0-9]+", piece)).decode("ascii")

    return decode


def _bits(piece: str) -> bytes:
    bits = re.sub(r"\s+", "", piece)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8))


def _escapes(piece: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), piece)


def _quoted_printable(piece: str) -> bytes:
    return quopri.decodestring(piece.encode("ascii"))


def _uuencoded(piece: str) -> bytes:
    return b"".join(binascii.a2b_uu(line) for line in piece.splitlines() if line[:1] not in {"b", "e", "`"})


_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_QUOTED = re.compile(r"(?:=[0-9A-F]{2}[^=\n]{0,8}){3}")
_MORSE_CODE = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. "
    "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----."
)
_MORSE = dict(zip(_MORSE_CODE.split(), string.ascii_lowercase + string.digits, strict=True))
_SPELLING = (
    "alfa alpha bravo charlie delta echo foxtrot golf hotel india juliet juliett kilo lima mike november oscar papa "
    "quebec romeo sierra tango uniform victor whiskey x-ray xray yankee zulu"
)
_NATO = {word: word[0] for word in _SPELLING.split()}
_BRAILLE = dict(zip("⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵⠀", string.ascii_lowercase + " ", strict=True))


def _morse(piece: str) -> str:
    words = re.split(r"\s*/\s*|\s{2,}", piece.strip().replace("–", "-").replace("—", "-").replace("·", "."))
    return " ".join("".join(_MORSE.get(letter, "?") for letter in word.split()) for word in words)


def _nato(piece: str) -> str:
    return "".join(_NATO[word] for word in re.findall(r"[a-z-]+", piece.casefold()) if word in _NATO)


def _braille(piece: str) -> str:
    return "".join(_BRAILLE.get(cell, cell) for cell in piece)


def _tags(piece: str) -> str:
    return "".join(
        chr(ord(character) - _TAG_BASE) for character in piece if "\U000e0020" <= character < "\U000e007f"
    )


def _selectors(piece: str) -> bytes:
    return bytes(
        ord(character) - 0xFE00 if character <= "\ufe0f" else ord(character) - 0xE0100 + 16
        for character in piece
    )


def _unseen_bits(zero: str, one: str) -> Callable[[str], bytes]:
    def decode(piece: str) -> bytes:
        return _bits(
            "".join("0" if character == zero else "1" for character in piece if character in zero + one)
        )

    return decode


HIDDEN = (
    Decoder("tags", re.compile("[\U000e0000-\U000e007f]{6,}"), _tags),
    Decoder("variation-selectors", re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{6,}"), _selectors),
    Decoder("invisible-bits", re.compile("[\u2062\u2064]{48,}"), _unseen_bits("\u2062", "\u2064")),
    Decoder("zero-width-bits", re.compile("[\u200b\u200c]{48,}"), _unseen_bits("\u200b", "\u200c")),
    Decoder("zero-width-bits", re.compile("[\u200c\u200d]{48,}"), _unseen_bits("\u200c", "\u200d")),
)
DECODERS = (
    Decoder(
        "base64", re.compile(r"(?<![\w+/-])[A-Za-z0-9+/_-]{8,}(?:\r?\n[A-Za-z0-9+/_-]+)*={0,2}"), _base64
    ),
    Decoder("base32", re.compile(r"(?<![\w])[A-Z2-7]{16,}(?:\r?\n[A-Z2-7]+)*={0,6}(?![\w])"), _base32),
    Decoder("ascii85", re.compile(r"<~[!-uz\s]{8,}~>"), lambda piece: base64.a85decode(piece, adobe=True)),
    Decoder("base85", re.compile(r"(?<!\S)[0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-]{20,}(?!\S)"), base64.b85decode),
    Decoder("hex", re.compile(r"(?<!\w)(?:(?:0x|\\x)?[0-9a-fA-F]{2}[\s,:;-]{0,2}){6,}(?!\w)"), _hexadecimal),
    Decoder("binary", re.compile(r"(?<!\w)(?:[01]{8}\s*){4,}(?!\w)"), _bits),
    Decoder("decimal", re.compile(r"(?<!\w)(?:\d{2,3}[\s,;]+){5,}\d{2,3}(?!\w)"), _numbers(10)),
    Decoder("octal", re.compile(r"(?<!\w)(?:\\?[0-3]?[0-7]{2}[\s,;]+){5,}[0-3]?[0-7]{2}(?!\w)"), _numbers(8)),
    Decoder(
        "percent",
        re.compile(r"\S{6,}"),
        lambda piece: urllib.parse.unquote(piece, errors="strict"),
        re.compile(r"%[0-9a-fA-F]{2}"),
    ),
    Decoder("entities", re.compile(r"[^\n]{6,}"), html.unescape, re.compile(r"&(?:#\w{2,7}|[a-zA-Z]{2,8});")),
    Decoder("escapes", re.compile(r"[^\n]{6,}"), _escapes, _ESCAPE),
    Decoder("quoted-printable", re.compile(r"[\x20-\x7e]{6,}"), _quoted_printable, _QUOTED),
    Decoder(
        "uuencode",
        re.compile(r"(?m)^begin \d{3} [^\n]*\n(?:[!-`][ -`]{4,60}\n){1,1000}"),
        _uuencoded,
        re.compile("begin "),
    ),
    Decoder("morse", re.compile(r"(?<!\S)[.\-–—·]{1,5}(?:[ /\n]{1,3}[.\-–—·]{1,5}){6,}(?!\S)"), _morse),
    Decoder(
        "nato", re.compile(rf"(?i)\b(?:{'|'.join(_NATO)})(?:[\s,.]+(?:{'|'.join(_NATO)})\b){{5,}}"), _nato
    ),
    Decoder("braille", re.compile(r"[\u2800-\u283f]{6,}"), _braille),
)
_LOWER, _UPPER = string.ascii_lowercase, string.ascii_uppercase
ALPHABETS = {
    **{
        f"rot{shift}": str.maketrans(
            _LOWER + _UPPER, _LOWER[shift:] + _LOWER[:shift] + _UPPER[shift:] + _UPPER[:shift]
        )
        for shift in range(1, 26)
    },
    "atbash": str.maketrans(_LOWER + _UPPER, _LOWER[::-1] + _UPPER[::-1]),
}
BACK = {name: {after: before for before, after in table.items()} for name, table in ALPHABETS.items()}
"""The same the other way: from plain letters to disguised ones."""
