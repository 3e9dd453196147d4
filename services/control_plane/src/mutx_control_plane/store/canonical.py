"""RFC 8785: one text for each JSON value, the same for whoever verifies it in another language."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

_LARGEST_WHOLE = 2**53 - 1
"""Beyond it a double does not hold every whole number (RFC 7493, section 2.2)."""
_PLAIN_BELOW, _PLAIN_FROM = 21, -7
"""ECMAScript writes a number without an exponent where its first digit stands between these powers of ten."""


def canonical_json(value: object) -> bytes:
    """Return a value's one form in UTF-8.

    Raises:
        ValueError: it holds what JSON cannot: a lone surrogate, NaN, infinity, a whole number beyond 2^53 - 1.
        TypeError: it holds another type, or a key that is no text.
    """
    return _write(value).encode()


def _write(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, Mapping):
        members = (f"{_write(key)}:{_write(value[key])}" for key in sorted(value, key=_utf_16))
        return "{" + ",".join(members) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return "[" + ",".join(map(_write, value)) + "]"
    raise TypeError(f"JSON has no {type(value).__name__}")


def _utf_16(key: object) -> bytes:
    if not isinstance(key, str):
        raise TypeError(f"a JSON object's key is no {type(key).__name__}")
    return key.encode("utf-16-be")


def _whole(value: int) -> str:
    if abs(value) > _LARGEST_WHOLE:
        raise ValueError("a whole number is beyond 2^53 - 1")
    return str(value)


def _double(value: float) -> str:
    """Write as ECMAScript's Number::toString: Python's `repr` has the same shortest digits, in another dress."""
    if not math.isfinite(value):
        raise ValueError("JSON has no NaN and no infinity")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0") if exponent or fraction != "0" else ""
    power = int(exponent or 0) + len(whole)
    digits = whole + fraction
    power -= len(digits) - len(digits.lstrip("0"))
    digits = digits.strip("0")
    return sign + _place_point(digits, power)


def _place_point(digits: str, power: int) -> str:
    """Write 0.DIGITS times ten to the `power`."""
    if len(digits) <= power <= _PLAIN_BELOW:
        return digits.ljust(power, "0")
    if 0 < power <= _PLAIN_BELOW:
        return f"{digits[:power]}.{digits[power:]}"
    if _PLAIN_FROM + 1 < power <= 0:
        return f"0.{'0' * -power}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{tail}e{power - 1:+d}"
