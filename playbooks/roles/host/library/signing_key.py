"""Keep the key of a package repository where apt looks for it: the pinned one, and no other beside it."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

DOCUMENTATION = r"""
module: signing_key
short_description: Keep the key of a package repository, pinned by its fingerprint
description:
  - Fetches the key where the keyring is missing or holds anything else, computes its fingerprint (OpenPGP, version 4)
    and refuses any other. Needs no gpg on the host.
author: mutx.dev
options:
  url:
    description: Where the key is, binary or armoured.
    type: str
    required: true
  fingerprint:
    description: Forty hexadecimal digits.
    type: str
    required: true
  path:
    description: The keyring.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Have the key of the vendor's repository
  signing_key:
    url: https://pkgs.example.com/key.gpg
    fingerprint: 2596A99EAAB33821893C0A79458CA832957F5868
    path: /usr/share/keyrings/example.gpg
"""

PUBLIC_KEY, LONG_KEY_VERSION = 6, 4
MODE = 0o644
LIMIT_S = 30
ARMOUR_END = b"-----END"
# Of a packet's header: its length follows in so many bytes, or is not said (old); one, two or four bytes (new).
INDETERMINATE = 0x03
TWO_BYTES, IN_PARTS, FOUR_BYTES = 192, 224, 255


class MalformedKeyError(ValueError):
    """What was read is no OpenPGP data."""


def main() -> None:
    """Compare, fetch, check, land."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "fingerprint": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    path, wanted = Path(module.params["path"]), module.params["fingerprint"].replace(" ", "").upper()
    if is_right(path, wanted):
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        content = dearmoured(open_url(module.params["url"], timeout=LIMIT_S, http_agent="mutx").read())
        found = fingerprints(content)
    except (OSError, ValueError) as exc:
        module.fail_json(msg=f"[signing-key-unreadable] {module.params['url']}: {exc}; nothing was changed")
    if found != [wanted]:
        module.fail_json(
            msg=f"[signing-key-other] {module.params['url']} has the keys {', '.join(found) or 'none'}, wanted "
            f"{wanted} alone; nothing was changed. Compare with what the vendor publishes before you pin another"
        )
    land(path, content)
    module.exit_json(changed=True)


def is_right(path: Path, wanted: str) -> bool:
    """Say whether the keyring is a file of root's that holds the wanted key alone."""
    try:
        state = path.stat(follow_symlinks=False)
        right = (state.st_uid, state.st_mode & 0o7777) == (0, MODE)
        return right and fingerprints(path.read_bytes()) == [wanted]
    except (OSError, ValueError):
        return False


def fingerprints(data: bytes) -> list[str]:
    """Return the fingerprints of the primary keys in a binary keyring (RFC 4880, 12.2)."""
    return [
        hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()  # noqa: S324 - the format's
        for tag, body in packets(data)
        if tag == PUBLIC_KEY and body[:1] == bytes([LONG_KEY_VERSION])
    ]


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and body of each packet (RFC 4880, 4.2).

    Raises:
        MalformedKeyError: the data is something else, or cut off.
    """
    place = 0
    while place < len(data):
        first = data[place]
        if not first & 0x80:
            raise MalformedKeyError("not an OpenPGP key")
        tag, header, length = new_header(data, place) if first & 0x40 else old_header(data, place)
        body = data[place + header : place + header + length]
        if len(body) != length:
            raise MalformedKeyError("the key is cut off")
        yield tag, body
        place += header + length


def old_header(data: bytes, place: int) -> tuple[int, int, int]:
    """Return tag, length of the header and length of the body, in the old format."""
    kind = data[place] & 0x03
    if kind == INDETERMINATE:
        raise MalformedKeyError("a packet without a length")
    size = 1 << kind
    return data[place] >> 2 & 0x0F, 1 + size, int.from_bytes(data[place + 1 : place + 1 + size], "big")


def new_header(data: bytes, place: int) -> tuple[int, int, int]:
    """Return the same in the new format."""
    tag, first = data[place] & 0x3F, int.from_bytes(data[place + 1 : place + 2], "big")
    if first < TWO_BYTES:
        return tag, 2, first
    if first < IN_PARTS:
        return (
            tag,
            3,
            (first - TWO_BYTES << 8) + int.from_bytes(data[place + 2 : place + 3], "big") + TWO_BYTES,
        )
    if first == FOUR_BYTES:
        return tag, 6, int.from_bytes(data[place + 2 : place + 6], "big")
    raise MalformedKeyError("a packet in parts")


def dearmoured(data: bytes) -> bytes:
    """Return a key in binary, whichever form it came in."""
    if not data.startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----"):
        return data
    inner = data.partition(b"\n\n")[2].partition(ARMOUR_END)[0]
    lines = [line for line in inner.split() if not line.startswith(b"=")]
    return base64.b64decode(b"".join(lines))


def land(path: Path, content: bytes) -> None:
    """Write the keyring whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".mutx-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, MODE)
            file.write(content)
            file.flush()
            os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


if __name__ == "__main__":
    main()
