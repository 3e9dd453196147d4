"""Have the key that signs a repository, if it is the one that was pinned: apt believes whatever a keyring holds."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

DOCUMENTATION = r"""
module: archive_key
short_description: Have the key that signs a repository, by its fingerprint
description:
  - A key that is there with the fingerprint is left alone and nothing is fetched. Otherwise it is fetched, and lands
    only if the file holds one primary key, with this fingerprint.
  - Fingerprints are computed here after RFC 4880, section 12.2, so the host needs no gpg.
author: mutx.dev
options:
  source: {description: URL of the key, or a path on the host; armoured or not., type: str, required: true}
  fingerprint: {description: "The fingerprint, 40 hexadecimal digits.", type: str, required: true}
  path: {description: Where apt is told to look for it., type: path, required: true}
"""

EXAMPLES = r"""
- name: Have the vendor's key
  archive_key:
    source: https://example.com/key.asc
    fingerprint: 0123456789ABCDEF0123456789ABCDEF01234567
    path: /etc/apt/keyrings/example.pgp
"""

_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+: [^\r\n]*\r?\n)*\r?\n"
    rb"(.*?)(?:^=[^\r\n]{4}\r?\n)?-----END",
    re.DOTALL | re.MULTILINE,
)
_LARGEST = 64 * 1024
_LIMIT_S = 30
_PUBLIC_KEY = 6
_VERSION_4 = 4


class RefusedError(Exception):
    """The key is not the one that was pinned, or cannot be had."""


def main() -> None:
    """Compare, fetch, check, land."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "required": True},
            "fingerprint": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    wanted, path = module.params["fingerprint"].replace(" ", "").upper(), Path(module.params["path"])
    if not re.fullmatch("[0-9A-F]{40}", wanted):
        module.fail_json(msg=f"[key-fingerprint] {wanted!r} is no fingerprint: 40 hexadecimal digits")
    is_right = path.is_file() and holds_only(path.read_bytes(), wanted)
    if not is_right:
        try:
            key = checked(fetch(module.params["source"]), wanted)
            if not module.check_mode:
                land(key, path)
        except (RefusedError, OSError) as exc:
            module.fail_json(msg=f"[key-refused] {module.params['source']}: {exc}; nothing was changed")
    module.exit_json(changed=not is_right, fingerprint=wanted)


def fetch(source: str) -> bytes:
    """Return what is at a URL, by the proxy of the environment, or in a file."""
    if "://" not in source:
        return Path(source).read_bytes()
    answer: bytes = open_url(source, timeout=_LIMIT_S).read(_LARGEST + 1)
    if len(answer) > _LARGEST:
        raise RefusedError("it is too large for a key")
    return answer


def checked(content: bytes, wanted: str) -> bytes:
    """Return the key without armour.

    Raises:
        RefusedError: it holds something else than the one key.
    """
    key = without_armour(content)
    found = fingerprints(key)
    if found != [wanted]:
        raise RefusedError(f"it holds {', '.join(found) or 'no key'}, wanted was {wanted}")
    return key


def holds_only(content: bytes, wanted: str) -> bool:
    """Say whether a keyring that is there is the wanted one."""
    try:
        return fingerprints(content) == [wanted]
    except RefusedError:
        return False


def without_armour(content: bytes) -> bytes:
    """Return the binary form (RFC 4880, section 6.2)."""
    found = _ARMOUR.search(content)
    if found is None:
        return content
    try:
        return base64.b64decode(b"".join(found[1].split()), validate=True)
    except binascii.Error as exc:
        raise RefusedError(f"its armour is broken: {exc}") from exc


def fingerprints(key: bytes) -> list[str]:
    """Return the fingerprints of the primary keys in a keyring."""
    found = []
    for tag, body in packets(key):
        if tag != _PUBLIC_KEY:
            continue
        if not body or body[0] != _VERSION_4:
            raise RefusedError("it holds a key of another version than 4")
        # What a version 4 key's fingerprint is by definition; nothing is signed by it.
        digest = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False)
        found.append(digest.hexdigest().upper())
    return found


def packets(key: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and body of each packet (RFC 4880, section 4.2)."""
    at = 0
    while at < len(key):
        try:
            tag, start, length = header(key, at)
        except IndexError:
            raise RefusedError("it is no key, or is cut short") from None
        if start + length > len(key):
            raise RefusedError("it is no key, or is cut short")
        yield tag, key[start : start + length]
        at = start + length


def header(key: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, start of the body and its length."""
    first = key[at]
    if not first & 0x80:
        raise RefusedError("it is no key")
    if first & 0x40:  # new form
        tag, one = first & 0x3F, key[at + 1]
        if one < 192:  # noqa: PLR2004 - RFC 4880, section 4.2.2
            return tag, at + 2, one
        if one < 224:  # noqa: PLR2004
            return tag, at + 3, ((one - 192) << 8) + key[at + 2] + 192
        if one < 255:  # noqa: PLR2004
            raise RefusedError("it has packets of partial length")
        return tag, at + 6, int.from_bytes(key[at + 2 : at + 6], "big")
    tag, kind = (first >> 2) & 0x0F, first & 0x03
    if kind == 3:  # noqa: PLR2004
        raise RefusedError("it has packets without a length")
    size = 1 << kind
    return tag, at + 1 + size, int.from_bytes(key[at + 1 : at + 1 + size], "big")


def land(key: bytes, path: Path) -> None:
    """Put it in place at once, readable by apt's own account."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    handle, name = tempfile.mkstemp(prefix=".mutx-", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(key)
        os.fchmod(handle, 0o644)
        os.fsync(handle)
    Path(name).replace(path)


if __name__ == "__main__":
    main()
