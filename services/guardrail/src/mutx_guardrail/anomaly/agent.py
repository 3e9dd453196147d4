"""Agents' names, and the keys under which what is known of an agent is kept."""

from __future__ import annotations

import re
from enum import StrEnum

LONGEST_NAME = 128
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}", re.ASCII)


class Kind(StrEnum):
    """What a key holds."""

    RATE = "rate"
    LENGTH = "length"
    ERRORS = "errors"
    DRIFT = "drift"
    TOLD = "told"


def key_of(kind: Kind, agent: str) -> str:
    """Return the key of one agent's state of one kind.

    A name has no colon, so no two pairs share a key.

    Raises:
        ValueError: the name is empty, longer than 128 characters, or holds others than ASCII letters, digits, `._@-`.
    """
    if not _NAME.fullmatch(agent):
        raise ValueError(
            "an agent's name is 1 to 128 ASCII letters, digits and ._@-, a letter or digit first"
        )
    return f"{kind.value}:{agent}"
