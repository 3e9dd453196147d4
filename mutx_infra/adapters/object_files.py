"""Objects as files of one directory: for one machine, where nobody but root could be kept from deleting them."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mutx_infra.errors import OutsideError
from mutx_infra.records import StoredObject, Tombstone


class FileObjects:
    """`ObjectStore` over a directory (`file:///…`); it cannot refuse a deletion, and says so.

    Args:
        url: `file:///DIRECTORY`.
        what: what is kept there, for messages.
    """

    def __init__(self, url: str, what: str = "history") -> None:
        self._root, self._what = Path(unquote(urlsplit(url).path)), what

    def put_once(self, name: str, content: bytes) -> bool:
        """Write a file that does not exist yet, whole or not at all."""
        path = self._root / name
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o400), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            except FileExistsError:
                return False
            finally:
                draft.unlink()
        except OSError as exc:
            raise self._unusable(exc) from exc
        return True

    def get(self, name: str, version: str = "") -> bytes | None:  # noqa: ARG002 - a file has one version
        """Return a file's content."""
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise self._unusable(exc) from exc

    def names(self, prefix: str) -> tuple[str, ...]:
        """Return the names that start with a prefix (a directory's), however deep."""
        return tuple(
            str(path.relative_to(self._root))
            for path in (self._root / prefix).rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )

    def stored(self, prefix: str) -> tuple[StoredObject, ...]:
        """Return what is there: what was removed or replaced leaves no trace."""
        return tuple(StoredObject(name, "", is_covered=False) for name in sorted(self.names(prefix)))

    def locked(self, prefix: str, kind: str) -> tuple[Tombstone, ...]:  # noqa: ARG002 - nothing locks a file
        """Return nothing: no lock holds a file."""
        return ()

    def mark(self, prefix: str) -> None:
        """Do nothing: a file has no tags."""

    def retention_days(self) -> int | None:
        """Return None: a file can be deleted by whoever can write its directory."""
        return None

    def _unusable(self, exc: OSError) -> OutsideError:
        return OutsideError(
            f"the {self._what} in {self._root} cannot be used: {exc.strerror}",
            code="history-unavailable" if self._what == "history" else "archive-unavailable",
            remedy="make the directory writable and free some space, then run the same command again",
        )
