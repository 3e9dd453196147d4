"""Evidence in files: one a bundle, named by time and digest, written once."""

from __future__ import annotations

import os
from pathlib import Path

from mutx_infra.errors import OutsideError
from mutx_infra.evidence import Bundle

_SHORT_DIGEST = 16


class EvidenceFiles:
    """`EvidenceStore` below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def keep(self, bundle: Bundle) -> str:
        """Write a bundle, readable by all and writable by none; one that is there already is the same bundle."""
        digest = bundle.digest.removeprefix("sha256:")
        directory = self._root / bundle.subject.tenant
        path = directory / f"{bundle.started_at:%Y%m%dT%H%M%SZ}-{digest[:_SHORT_DIGEST]}.json"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            draft = directory / f".{path.name}.{os.getpid()}"
            draft.write_bytes(bundle.content)
            draft.chmod(0o444)
            draft.replace(path)
        except OSError as exc:
            raise OutsideError(
                f"the evidence could not be written to {path}: {exc.strerror}",
                code="evidence-unwritable",
                remedy="free space or correct the rights there, then run the same command",
            ) from exc
        return str(path)
