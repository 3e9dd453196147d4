"""Have a secret that this host shares with another, who is given its digest alone."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: shared_secret
short_description: Have a secret on the host, and tell its digest
description:
  - Makes 256 random bits where no file is there. The secret stays on the host; what is returned is its SHA-256, which
    says nothing of it and is what Redis knows a user's password by.
author: mutx.dev
options:
  file: {description: The file, which root alone reads., type: path, required: true}
"""

EXAMPLES = r"""
- name: Have this guard's password for Redis
  shared_secret:
    file: /etc/mutx/secrets/redis-guard
"""

RETURN = r"""
digest:
  description: SHA-256 of the secret, hexadecimal; nothing where check mode would have made it.
  type: str
  returned: always
"""

SHORTEST = 32
"""Characters: a digest of less could be guessed back."""


def main() -> None:
    """Have the file, and tell its digest."""
    module = AnsibleModule(
        argument_spec={"file": {"type": "path", "required": True}}, supports_check_mode=True
    )
    file = Path(module.params["file"])
    is_missing = not file.exists()
    if is_missing and module.check_mode:
        module.exit_json(changed=True, digest="")
    if is_missing:
        make(file)
    state = file.stat()
    is_loose = bool(state.st_mode & 0o177 or state.st_uid)
    if is_loose and not module.check_mode:
        os.chown(file, 0, 0)
        file.chmod(0o600)
    value = file.read_text(encoding="utf-8").strip()
    if len(value) < SHORTEST or not value.isascii():
        module.fail_json(
            msg=f"[shared-secret] {file} must hold at least {SHORTEST} characters of ASCII: remove it, and one is made"
        )
    digest = hashlib.sha256(value.encode()).hexdigest()
    module.exit_json(changed=is_missing or is_loose, digest=digest)


def make(file: Path) -> None:
    """Make the file, whole and once: where two runs make it at the same time, one of them counts."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=".mutx-", dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(secrets.token_urlsafe(32) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.link(name, file)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()


if __name__ == "__main__":
    main()
