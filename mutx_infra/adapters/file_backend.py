"""Pulumi's `file:` state backend as files: read without an engine, mended after one died while it wrote.

Layout (Pulumi's self-managed backend, version 1): `.pulumi/stacks/<project>/<stack>.json`, its predecessor with
`.bak` behind it, and for each a sidecar `.attrs` unless the URL says `metadata=skip`. The state files are
replaced by rename; the sidecars are written in place, and an engine killed between leaves one that no engine
can read (`failed to load checkpoint: EOF`). So our own operations write none, and those of others are mended.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

Deployment = dict[str, Any]


def without_sidecars(backend_url: str) -> str:
    """Return the URL with `metadata=skip` where it is a `file:` URL that says nothing about metadata."""
    parts = urlsplit(backend_url)
    query = dict(parse_qsl(parts.query))
    if parts.scheme != "file" or "metadata" in query:
        return backend_url
    return urlunsplit(parts._replace(query=urlencode({**query, "metadata": "skip"})))


@dataclass(frozen=True, slots=True)
class StateFile:
    """One stack's state in a `file:` backend."""

    path: Path

    @classmethod
    def of(cls, backend_url: str, project: str, stack: str) -> StateFile | None:
        """Return the file, or None where the backend is of another kind (or starts in a home directory)."""
        parts = urlsplit(backend_url)
        directory = unquote(parts.path)
        if parts.scheme != "file" or parts.netloc or not directory.startswith("/"):
            return None
        return cls(Path(directory, ".pulumi", "stacks", project, f"{stack}.json"))

    def may_exist(self) -> bool:
        """Return False where no engine would find this stack: no file of it, compressed or not, in either layout.

        Asking an engine costs 0.3 s, and writes to a backend that is new.
        """
        project = self.path.parent
        return any(
            found.name.startswith(self.path.name)
            for directory in (project, project.parent)
            for found in (directory.iterdir() if directory.is_dir() else ())
        )

    def siblings(self) -> frozenset[str]:
        """Return the names of the project's stacks, compressed or not."""
        directory = self.path.parent
        names = [found.name for found in directory.iterdir()] if directory.is_dir() else []
        return frozenset(name.split(".json", 1)[0] for name in names if name.endswith((".json", ".json.gz")))

    def read(self) -> Deployment | None:
        """Return the newest deployment; None where only the engine can tell (no file, compressed, torn)."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            deployment = content["checkpoint"]["latest"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return deployment if isinstance(deployment, dict) and _is_whole(self._sidecar(self.path)) else None

    def mend(self) -> bool:
        """Make the state readable again; True where something was done.

        Torn sidecars hold nothing that is used and are removed. A torn state file (a lost write of the machine,
        not of the engine) is replaced by its predecessor, which lacks the last step at most: an operation that
        had not begun, or one that is still pending there and is found again by recovery.
        """
        backup = self.path.with_name(f"{self.path.name}.bak")
        done = False
        for sidecar in (self._sidecar(self.path), self._sidecar(backup)):
            if not _is_whole(sidecar):
                sidecar.unlink()
                done = True
        if self.path.is_file() and not _is_whole(self.path) and backup.is_file() and _is_whole(backup):
            draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            draft.write_bytes(backup.read_bytes())
            draft.replace(self.path)
            done = True
        return done

    @staticmethod
    def _sidecar(path: Path) -> Path:
        return path.with_name(f"{path.name}.attrs")


def _is_whole(path: Path) -> bool:
    """Say whether a file is absent or holds JSON."""
    with suppress(FileNotFoundError):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            return False
    return True
