"""Where the sandbox keeps its files, and what it writes into them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from mutx_infra.settings import current_environment_pointer
from mutx_sandbox.processes import ProcessRecord

ACCOUNT_ID = "123456789012"
"""moto's account."""

PROFILE_NAME = "sandbox"
SCHEMA_VERSION = 1
_PASSPHRASE_BYTES = 24


@dataclass(frozen=True, slots=True)
class Layout:
    """The sandbox's place below a state directory."""

    state: Path

    @property
    def root(self) -> Path:
        """Everything of the sandbox lies here, except its lock."""
        return self.state / "sandbox"

    @property
    def lock(self) -> Path:
        """Held while the sandbox starts, ends or is emptied."""
        return self.state / "sandbox.lock"

    @property
    def record(self) -> Path:
        """The running processes."""
        return self.root / "sandbox.json"

    @property
    def profile(self) -> Path:
        """The environment profile."""
        return self.root / "environment.yaml"

    @property
    def passphrase(self) -> Path:
        """Seals secrets in the stacks' state."""
        return self.root / "passphrase"

    @property
    def credentials(self) -> Path:
        """Shared AWS credentials; moto takes any."""
        return self.root / "credentials"

    @property
    def backend(self) -> Path:
        """The stacks' state."""
        return self.root / "pulumi"

    @property
    def registry(self) -> Path:
        """Tenants, blocks and journal."""
        return self.root / "registry.db"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.root / f"{name}.log"


@dataclass(frozen=True, slots=True)
class Record:
    """What `sandbox up` wrote down.

    Attributes:
        processes: the running servers: `aws` and `aws_provider`.
        started_at: UTC, ISO 8601.
        versions: of what serves, by distribution.
    """

    processes: tuple[ProcessRecord, ...]
    started_at: str
    versions: dict[str, str]

    def port(self, name: str) -> int:
        """Return where a server listens."""
        return next(process.port for process in self.processes if process.name == name)


def read_record(layout: Layout) -> Record | None:
    """Return the record, or None where there is none, or none that can be read."""
    try:
        content = json.loads(layout.record.read_text(encoding="utf-8"))
        processes = tuple(ProcessRecord(**process) for process in content["processes"])
        return Record(processes, content["started_at"], content["versions"])
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None


def write_record(layout: Layout, record: Record) -> None:
    """Write the record in one step: a reader finds the old one or the new one."""
    content = {"schema_version": SCHEMA_VERSION, **asdict(record)}
    write_text(layout.record, json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_secrets(layout: Layout) -> None:
    """Write passphrase and credentials, new ones each time; only the owner can read them."""
    write_text(layout.passphrase, secrets.token_urlsafe(_PASSPHRASE_BYTES) + "\n")
    key = "aws_secret_access_key"
    write_text(layout.credentials, f"[default]\naws_access_key_id = sandbox\n{key} = {secrets.token_hex(20)}\n")


def write_profile(layout: Layout, record: Record) -> None:
    """Write the environment profile and make it current."""
    write_text(layout.profile, yaml.safe_dump(profile_of(layout, record), sort_keys=False))
    write_text(current_environment_pointer(layout.state), f"{layout.profile}\n")


def profile_of(layout: Layout, record: Record) -> dict[str, Any]:
    """Return the environment profile: standard knobs and nothing that says `sandbox` but the name."""
    return {
        "version": 1,
        "name": PROFILE_NAME,
        "aws": {
            "account_id": ACCOUNT_ID,
            "endpoint_url": f"http://127.0.0.1:{record.port('aws')}",
            "credentials_file": str(layout.credentials),
        },
        "pulumi": {
            "backend_url": f"file://{layout.backend}",
            "passphrase_file": str(layout.passphrase),
            "attached_providers": {"aws": f"127.0.0.1:{record.port('aws_provider')}"},
        },
        "registry": {"url": f"sqlite:///{layout.registry}"},
    }


def make_directories(layout: Layout) -> None:
    """Make the sandbox's directory, closed to others, and the empty backend."""
    layout.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    layout.root.mkdir(exist_ok=True, mode=0o700)
    layout.backend.mkdir(exist_ok=True, mode=0o700)


def forget_cloud(layout: Layout) -> list[str]:
    """Remove what only makes sense together with the cloud's content; returns what was removed."""
    removed = []
    if layout.backend.is_dir() and any(layout.backend.iterdir()):
        removed.append("the stacks' state")
    shutil.rmtree(layout.backend, ignore_errors=True)
    for path in _registry_files(layout):
        path.unlink()
        if path == layout.registry:
            removed.append("the registry")
    return removed


def remove_all(layout: Layout) -> None:
    """Remove everything that `up` wrote; the pointer only if it names this sandbox's profile."""
    pointer = current_environment_pointer(layout.state)
    with suppress(FileNotFoundError):
        if pointer.read_text(encoding="utf-8").strip() == str(layout.profile):
            pointer.unlink()
    shutil.rmtree(layout.root, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a file in one step, readable by its owner only from the first byte on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def _registry_files(layout: Layout) -> Sequence[Path]:
    """The database and what SQLite keeps beside it (`-wal`, `-shm`, `-journal`)."""
    return sorted(layout.root.glob(f"{layout.registry.name}*"))
