"""Keys of repositories, and GPUs: what their modules decide, on files of the test."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import ROLES, load_program

host_facts = load_program("host/library/host_facts.py")


def run(program: str, /, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
    given = {"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check}}
    done = subprocess.run(
        [sys.executable, str(ROLES / program)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def key_packet(body: bytes) -> tuple[bytes, str]:
    """A version 4 public key packet of the old form, and its fingerprint."""
    length = len(body).to_bytes(2, "big")
    return b"\x99" + length + body, hashlib.sha1(
        b"\x99" + length + body, usedforsecurity=False
    ).hexdigest().upper()


KEY, FINGERPRINT = key_packet(b"\x04" + bytes(range(60)))
OTHER, _ = key_packet(b"\x04" + bytes(range(1, 61)))
USER = b"\xb4\x04name"


def armoured(key: bytes) -> bytes:
    text = base64.encodebytes(key)
    return (
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: x\n\n"
        + text
        + b"=AbCd\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )


def have_key(tmp_path: Path, content: bytes, *, check: bool = False) -> dict[str, Any]:
    (tmp_path / "source").write_bytes(content)
    spaced = " ".join(FINGERPRINT[i : i + 4] for i in range(0, 40, 4)).lower()
    return run(
        "gpu_node/library/archive_key.py", check=check,
        source=str(tmp_path / "source"), fingerprint=spaced, path=str(tmp_path / "keyrings" / "vendor.pgp"),
    )  # fmt: skip


@pytest.mark.parametrize("content", [KEY + USER, armoured(KEY + USER)], ids=["binary", "armoured"])
def test_the_pinned_key_lands_without_armour_and_is_then_left_alone(tmp_path: Path, content: bytes) -> None:
    assert have_key(tmp_path, content, check=True)["changed"] is True
    assert not (tmp_path / "keyrings").exists()

    assert have_key(tmp_path, content)["changed"] is True

    assert (tmp_path / "keyrings" / "vendor.pgp").read_bytes() == KEY + USER
    assert have_key(tmp_path, b"the source is gone")["changed"] is False


@pytest.mark.parametrize(
    "content",
    [OTHER, KEY + OTHER, KEY[:-1], b"", b"<html>not found</html>", armoured(OTHER), b"\x99\x00\x02\x03\x00"],
    ids=["another", "two keys", "cut short", "empty", "a page", "another, armoured", "version 3"],
)
def test_any_other_key_is_refused_and_nothing_lands(tmp_path: Path, content: bytes) -> None:
    refused = have_key(tmp_path, content)

    assert "[key-refused]" in refused["msg"]
    assert not (tmp_path / "keyrings" / "vendor.pgp").exists()


def test_a_keyring_with_another_key_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "keyrings").mkdir()
    (tmp_path / "keyrings" / "vendor.pgp").write_bytes(KEY + OTHER)

    assert have_key(tmp_path, KEY)["changed"] is True


def test_display_controllers_are_found_by_class_and_vendor(tmp_path: Path) -> None:
    for name, kind, vendor in (
        ("a", "0x030200", "0x10de"),
        ("b", "0x020000", "0x10de"),
        ("c", "0x030000", "0x1234"),
    ):
        (tmp_path / name).mkdir()
        for file, text in (("class", kind), ("vendor", vendor), ("device", "0x2330")):
            (tmp_path / name / file).write_text(f"{text}\n")

    assert host_facts.display_devices(tmp_path) == ["10de:2330", "1234:2330"]
