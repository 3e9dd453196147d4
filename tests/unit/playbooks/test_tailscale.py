"""The role `tailscale`: which key is taken for the vendor's, which settings differ, and how a host joins by them."""

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

KEY_BODY = b"\x04" + bytes(range(60))
OTHER_BODY = b"\x04" + bytes(61)
USER = b"\xb4\x05a key"


signing_key = load_program("host/library/signing_key.py")
tailscale_settings = load_program("tailscale/library/tailscale_settings.py")
mutx_join = load_program("mutx_join/files/mutx-join")


def old_packet(body: bytes) -> bytes:
    return b"\x99" + len(body).to_bytes(2, "big") + body


def new_packet(body: bytes) -> bytes:
    return bytes([0xC6, len(body)]) + body


def fingerprint(body: bytes) -> str:
    return hashlib.sha1(old_packet(body)).hexdigest().upper()  # noqa: S324 - the format's


def keep(keyring: Path, source: Path, wanted: str, *, check: bool = False) -> dict[str, Any]:
    """Run the module as Ansible does, on a keyring of the test's."""
    arguments = {
        "url": source.as_uri(),
        "fingerprint": wanted,
        "path": str(keyring),
        "_ansible_check_mode": check,
    }
    done = subprocess.run(
        [sys.executable, str(ROLES / "host/library/signing_key.py")],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class TestSigningKey:
    @pytest.mark.parametrize("packet", [old_packet, new_packet])
    def test_a_fingerprint_is_that_of_the_key_whatever_form_its_packet_has(self, packet: Any) -> None:
        assert signing_key.fingerprints(packet(KEY_BODY) + USER) == [fingerprint(KEY_BODY)]

    def test_an_armoured_key_is_the_same_key(self) -> None:
        text = base64.encodebytes(old_packet(KEY_BODY))
        armour = (
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: 1\n\n"
            + text
            + b"=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
        )

        assert signing_key.dearmoured(armour) == old_packet(KEY_BODY)

    @pytest.mark.parametrize("data", [b"<html>", old_packet(KEY_BODY)[:-1]])
    def test_what_is_no_key_is_refused(self, data: bytes) -> None:
        with pytest.raises(ValueError, match="key"):
            signing_key.fingerprints(data)

    def test_the_pinned_key_lands(self, tmp_path: Path) -> None:
        source, keyring = tmp_path / "key", tmp_path / "keyrings/vendor.gpg"
        source.write_bytes(old_packet(KEY_BODY) + USER)

        ahead = keep(keyring, source, fingerprint(KEY_BODY), check=True)
        assert (ahead["changed"], keyring.exists()) == (True, False)

        assert keep(keyring, source, fingerprint(KEY_BODY))["changed"]
        assert keyring.read_bytes() == source.read_bytes()
        assert keyring.stat().st_mode & 0o777 == 0o644

    @pytest.mark.parametrize(
        "bodies", [[OTHER_BODY], [KEY_BODY, OTHER_BODY]], ids=["another", "another beside it"]
    )
    def test_any_other_key_is_refused_and_nothing_lands(self, tmp_path: Path, bodies: list[bytes]) -> None:
        source, keyring = tmp_path / "key", tmp_path / "vendor.gpg"
        source.write_bytes(b"".join(map(old_packet, bodies)))

        refused = keep(keyring, source, fingerprint(KEY_BODY))

        assert "[signing-key-other]" in refused["msg"]
        assert not keyring.exists()


class TestSettings:
    def test_what_the_daemon_leaves_out_is_off(self) -> None:
        seen = tailscale_settings.settings({"AutoUpdate": {"Check": False, "Apply": False}})

        assert seen.pop("netfilter-mode") == "off"
        assert not any(seen.values())

    def test_updates_that_nobody_decided_on_are_not_taken_for_off(self) -> None:
        seen = tailscale_settings.settings({"AutoUpdate": {"Check": True, "Apply": None}})

        assert (seen["update-check"], seen["auto-update"]) == (True, None)

    def test_the_firewalls_mode_and_an_exit_node_are_told_by_their_names(self) -> None:
        prefs = {"NetfilterMode": 2, "AdvertiseRoutes": ["0.0.0.0/0", "::/0", "10.0.0.0/8"]}

        seen = tailscale_settings.settings(prefs)

        assert (seen["netfilter-mode"], seen["advertise-routes"], seen["advertise-exit-node"]) == (
            "on",
            "10.0.0.0/8",
            True,
        )


class TestJoining:
    def test_a_host_joins_by_the_settings_of_its_image(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "tailscale.json"
        file.write_text(json.dumps({"up": {"netfilter-mode": "off", "ssh": False, "exit-node": ""}}))
        monkeypatch.setattr(mutx_join, "TAILSCALE_FILE", file)

        command = mutx_join.join_command("acme-agent-1", "https://control.example")

        assert {
            "--netfilter-mode=off",
            "--ssh=false",
            "--exit-node=",
            "--login-server=https://control.example",
        } <= set(command)

    def test_the_key_is_named_by_its_file_and_nothing_earlier_is_kept(self) -> None:
        command = mutx_join.join_command("acme-agent-1", None)

        assert "--auth-key=file:/run/mutx/join-key" in command
        assert "--reset" in command
        assert not [word for word in command if word.startswith("--login-server")]
