"""The provider key: a file that is read at each call, so that a rotation needs no restart and nothing is cached."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from mutx_service.problem import Problem

LONGEST_KEY = 4096
_VISIBLE = frozenset(range(0x21, 0x7F))
_HALF_WRITTEN_TRIES = 5
_HALF_WRITTEN_WAIT_S = 0.02


class ProviderKey:
    """A key that shows itself only when asked by `reveal`; its repr, str and format are masked."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the key, for the header of one call."""
        return self._value

    def __repr__(self) -> str:
        return "ProviderKey(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProviderKey) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled or copied")


class KeyFile:
    """Reads the key anew each time: about 20 µs from tmpfs, against a call of a second."""

    def __init__(self, path: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._path, self._sleep = path, sleep

    def read(self) -> ProviderKey:
        """Return the key as it is now.

        An empty file is looked at again for a moment: a writer that does not rename truncates first.

        Raises:
            Problem: `key-missing`, or `key-unusable` where others than its owner may read it or it is no key.
        """
        for _ in range(_HALF_WRITTEN_TRIES):
            content = self._content()
            if content:
                return _parse(content)
            self._sleep(_HALF_WRITTEN_WAIT_S)
        raise Problem("key-unusable", "the key's file is empty")

    def _content(self) -> bytes:
        try:
            with self._path.open("rb", buffering=0) as file:
                _check_mode(os.fstat(file.fileno()))
                return file.read(LONGEST_KEY + 2)
        except FileNotFoundError:
            raise Problem("key-missing", "the key's file is not there") from None
        except OSError:
            raise Problem("key-unusable", "the key's file cannot be read") from None


def _check_mode(found: os.stat_result) -> None:
    """Refuse what others may read; systemd's credentials show their ACL's mask as the group's bits."""
    if not stat.S_ISREG(found.st_mode):
        raise Problem("key-unusable", "the key's file is not a regular file")
    if found.st_mode & (stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP):
        raise Problem("key-unusable", "the key's file is open to others: mode 0400 is wanted")
    if found.st_mode & stat.S_IRGRP and found.st_uid == os.geteuid():
        raise Problem("key-unusable", "the key's file is open to its group: mode 0400 is wanted")


def _parse(content: bytes) -> ProviderKey:
    text = content.removesuffix(b"\n").removesuffix(b"\r")
    # A header takes visible ASCII; a second line or a space means that this is not a key.
    if not text or len(text) > LONGEST_KEY or not all(byte in _VISIBLE for byte in text):
        raise Problem("key-unusable", "the key's file does not hold one line of visible ASCII")
    return ProviderKey(text.decode("ascii"))
