"""The tenant's key of masks: a watched file.

The tenant's Vault delivers it, perhaps later than the service starts, and takes it away again. While it is not there
masks are numbered in each text. A file that holds no key leaves the earlier one in force.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mutx_service.settings import SettingsError

from mutx_guardrail.pii.masking import KEY_BYTES
from mutx_guardrail.service.settings import PREFIX
from mutx_guardrail.service.watched_file import WatchedFile

VARIABLE: Final = f"{PREFIX}MASK_KEY_FILE"
_LARGEST: Final = 256


def parse_key(content: bytes) -> bytes:
    """Return the key of a file: 32 or 64 bytes as they are, in hexadecimal or in base64, a line end behind or not.

    Raises:
        ValueError: it holds something else; the message tells the length alone.
    """
    text = content.strip()
    for decode in (binascii.unhexlify, lambda value: base64.b64decode(value, validate=True)):
        try:
            key = decode(text)
        except ValueError:
            continue
        if len(key) in KEY_BYTES:
            return key
    if len(content) in KEY_BYTES:
        return content
    raise ValueError(f"holds {len(content)} bytes")


class MaskKeyFile:
    """The key of a file; calling it returns what holds now, None where there is none.

    Args:
        path: None where no key is wanted.
        tell: is told of each change: `mask-key-taken`, `mask-key-missing`, `mask-key-not-taken`; never a key.
        clock: seconds that only go forward.

    Raises:
        SettingsError: the file that is there at the start cannot be read, or holds no key.
    """

    def __init__(
        self,
        path: Path | None,
        tell: Callable[[str, dict[str, object]], None] = lambda _event, _fields: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._file = WatchedFile(path, clock) if path else None
        self._key = _read(path) if path else None
        if path and self._key is None:
            tell("mask-key-missing", {})

    def __repr__(self) -> str:
        return "MaskKeyFile(…)"

    def __call__(self) -> bytes | None:
        """Return the key in force."""
        if self._file is not None:
            self._file.when_changed(self._take)
        return self._key

    def _take(self, path: Path) -> None:
        try:
            self._key = _read(path)
        except SettingsError as error:
            self._tell("mask-key-not-taken", {"why": str(error)})
            return
        self._tell("mask-key-taken" if self._key else "mask-key-missing", {})


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return parse_key(file.read(_LARGEST))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(
            VARIABLE, f"cannot be read ({error.strerror})", "check its owner and mode"
        ) from None
    except ValueError as error:
        raise SettingsError(VARIABLE, str(error), "make one: head -c 32 /dev/urandom | base64") from None
