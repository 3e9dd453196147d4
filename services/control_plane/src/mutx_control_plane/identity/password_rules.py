"""Which passwords are taken: long ones that are not what everybody tries first (NIST SP 800-63B, section 5.1.1.2)."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from mutx_service.problem import Problem

SHORTEST, LONGEST = 12, 256
_FEWEST_CHARACTERS = 6
_LEFT_OVER = 8
_LEET = str.maketrans("@4301!5$7", "aaeoiisst")
_OTHERS = re.compile(r"[^a-z]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Of the lists that are tried first, what is left when digits and signs are taken off.
_FIRST_TRIED = (
    "password passwort passw pass admin administrator root welcome willkommen letmein login qwerty qwertz azerty "
    "qwertyuiop qwertzuiop asdf asdfgh asdfghjkl zxcvbn zxcvbnm qazwsx qazwsxedc abc abcd abcdef abcdefgh abcdefghij "
    "abcdefghijkl iloveyou monkey dragon football baseball superman batman sunshine princess master shadow michael "
    "jordan hunter killer trustno starwars computer internet secret changeme change default guest test testing user "
    "summer winter spring autumn january december hello helloworld correcthorsebatterystaple mutx mutxadmin "
    "mypassword newpassword yourpassword passwordpassword thisismypassword nopassword"
)
_COMMON = frozenset(_FIRST_TRIED.split())


def normalise(password: str) -> str:
    """Return the one form of a password that is hashed: two keyboards may write one letter differently (NFKC)."""
    return unicodedata.normalize("NFKC", password)


def is_possible(password: str) -> bool:
    """Say whether a password could be anybody's, before any work is done for it; half a character is nobody's."""
    return 0 < len(password) <= LONGEST and not _SURROGATE.search(password)


def check_new_password(password: str, email: str) -> None:
    """Let a new password on.

    Raises:
        Problem: `request-invalid`, with what is wrong and nothing of the password.
    """
    plain = normalise(password[: LONGEST + 1])
    if not SHORTEST <= len(plain) <= LONGEST or not is_possible(password):
        raise _refused(f"has {SHORTEST} to {LONGEST} characters")
    if len(set(plain)) < _FEWEST_CHARACTERS or _is_sequence(plain):
        raise _refused("is too regular")
    if _is_common(plain.casefold()):
        raise _refused("is one of those that are tried first")
    name = email.partition("@")[0]
    if name and len(plain.casefold().replace(name, "")) < _LEFT_OVER and name in plain.casefold():
        raise _refused("is little more than the e-mail address")


def _is_common(folded: str) -> bool:
    forms = {_OTHERS.sub("", folded), _OTHERS.sub("", folded.translate(_LEET)), _stem(folded)}
    return any(form == word * (len(form) // len(word)) for form in forms if form for word in _COMMON)


def _stem(folded: str) -> str:
    """Return the word before trailing digits and signs, read with its digits as letters."""
    return _OTHERS.sub("", folded.rstrip("0123456789!?.,#*-_+$").translate(_LEET))


def _is_sequence(plain: str) -> bool:
    steps = [ord(after) - ord(before) for before, after in pairwise(plain)]
    return sum(step in {-1, 0, 1} for step in steps) > len(steps) * 2 / 3


def _refused(message: str) -> Problem:
    return Problem("request-invalid", errors=[{"field": "password", "message": message}])
