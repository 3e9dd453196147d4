"""The name of a release: of the service's wheels, all that is locked with them, and what they are installed on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: service_release
short_description: The name of a release
description:
  - The wheel's name and version, and a digest of all wheels' bytes, of the locks and of the target. Reads files here.
author: mutx.dev
options:
  _terms: {description: Path of the wheel., required: true}
  companions: {description: Paths of the wheels that go with it., type: list, default: []}
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
        companions: Sequence[str] = (),
        locks: Sequence[str] = (),
        target: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Return the name, alone in a list."""
        own = [Path(wheel) for wheel in (terms[0], *companions)]
        return [release_name(own, [Path(lock) for lock in locks], target or {})]


def release_name(wheels: Sequence[Path], locks: Sequence[Path], target: Mapping[str, str]) -> str:
    """Return `<name>-<version>-<digest>` after the first wheel; the same inputs have the same name on every controller.

    Raises:
        AnsibleError: a file is not there, or is no wheel.
    """
    for wheel in wheels:
        if wheel.suffix != ".whl" or len(wheel.stem.split("-")) < _PARTS_OF_A_WHEEL:
            raise AnsibleError(
                f"[release-wheel] {wheel} is no wheel: name the service's wheels on the controller"
            )
    try:
        parts = [file.expanduser().read_bytes() for file in (*wheels, *locks)]
    except OSError as exc:
        raise AnsibleError(
            f"[release-wheel] {exc.filename} cannot be read on the controller: {exc.strerror}"
        ) from exc
    digest = hashlib.sha256(json.dumps(target, sort_keys=True).encode())
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    name, version = wheels[0].stem.split("-")[:2]
    return f"{name}-{version}-{digest.hexdigest()[:_DIGEST_LENGTH]}"
