"""Files of an administrator's that nobody else reads, there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutx_infra.adapters.openpgp import armored
from mutx_infra.errors import SettingsError
from mutx_infra.vault_ports import RecoveryShare

_PRIVATE, _PRIVATE_DIRECTORY = 0o600, 0o700


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600; when this returns it is on the disk.

    Raises:
        SettingsError: it cannot be written (code `file-unwritable`).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(temporary, flags, _PRIVATE), "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        raise SettingsError(
            f"{path} cannot be written: {exc.strerror}",
            code="file-unwritable",
            remedy="choose another place, or free space, then run the same command again",
        ) from exc


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A receipt in a file."""

    kept_receipt: Path

    def receipt(self) -> str | None:
        """Return the receipt that was kept."""
        try:
            return self.kept_receipt.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsError(
                f"{self.kept_receipt} cannot be read",
                code="file-unreadable",
                remedy="give the receipt's place with `--receipt`",
            ) from exc

    def keep_receipt(self, text: str) -> None:
        """Write the receipt."""
        write_private(self.kept_receipt, text)


@dataclass(frozen=True, slots=True)
class ClaimFolder(KeptReceipt):
    """What a claim leaves behind.

    Attributes:
        shares: folder of the shares, a file each; None where they go elsewhere.
        elsewhere: takes each share's text then.
    """

    shares: Path | None
    elsewhere: Callable[[str], None]

    def keep_shares(self, shares: Sequence[RecoveryShare]) -> None:
        """Write each share as text that `gpg --decrypt` reads."""
        for share in shares:
            text = armored(share.message)
            if self.shares is None:
                self.elsewhere(text)
            else:
                write_private(self.shares / share.file_name, text)
