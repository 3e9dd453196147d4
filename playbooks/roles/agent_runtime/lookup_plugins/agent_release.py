"""The name of a release: of the agent's wheel, all that is locked with it, and what it is installed on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: agent_release
short_description: The name of a release
description:
  - The wheel's name and version, and a digest of its bytes, of the locks and of the target. Reads files here.
author: mutx.dev
options:
  _terms: {description: Path of the wheel., required: true}
  locks: {description: Paths of the locks., type: list, required: true}
  target: {description: Python, machine and libc of the host., type: dict, required: true}
"""

_DIGEST_LENGTH = 12
_PARTS_OF_A_WHEEL = 5


class LookupModule(LookupBase):  # type: ignore[misc] # Ansible has no types
    """As Ansible looks for it."""

    def run(
        self,
        terms: Sequence[str],
        variables: object = None,  # noqa: ARG002 - Ansible's interface
        *,
        locks: Sequence[str] = (),
        target: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Return the name, alone in a list."""
        return [release_name(Path(terms[0]), [Path(lock) for lock in locks], target or {})]


def release_name(wheel: Path, locks: Sequence[Path], target: Mapping[str, str]) -> str:
    """Return `<name>-<version>-<digest>`; the same inputs have the same name on every controller.

    Raises:
        AnsibleError: a file is not there, or is no wheel.
    """
    fields = wheel.stem.split("-")
    if wheel.suffix != ".whl" or len(fields) < _PARTS_OF_A_WHEEL:
        raise AnsibleError(
            f"[agent-wheel] {wheel} is no wheel: agent_runtime_wheel names one on the controller"
        )
    try:
        parts = [file.expanduser().read_bytes() for file in (wheel, *locks)]
    except OSError as exc:
        raise AnsibleError(
            f"[agent-wheel] {exc.filename} cannot be read on the controller: {exc.strerror}"
        ) from exc
    digest = hashlib.sha256(json.dumps(target, sort_keys=True).encode())
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return f"{fields[0]}-{fields[1]}-{digest.hexdigest()[:_DIGEST_LENGTH]}"
