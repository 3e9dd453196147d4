"""A recovery share is encrypted to a key that holds: everything else is refused, by the file's name."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pysequoia
import pytest
from pysequoia import CipherSuite, Profile, Tsk

from mutx_infra.adapters.openpgp import MAX_BYTES, PgpKeyFiles, armored
from mutx_infra.errors import SettingsError
from tests.support.pgp import FIXTURES, Holder, make_holder


class FixedClock:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


NOW = datetime.now(UTC)
KEYS = PgpKeyFiles(FixedClock(NOW))


@pytest.fixture
def ann(tmp_path: Path) -> Holder:
    return make_holder(tmp_path, "ann")


def refused(path: Path, keys: PgpKeyFiles = KEYS) -> str:
    with pytest.raises(SettingsError) as caught:
        keys.read(path)
    assert str(path) in caught.value.message
    return caught.value.code


@pytest.mark.parametrize(
    "suite",
    [CipherSuite.Cv25519, CipherSuite.P384],
    ids=["curve25519", "p384"],
)
def test_a_key_that_holds_is_taken(tmp_path: Path, suite: CipherSuite) -> None:
    bob = make_holder(tmp_path, "bob", suite)

    found = KEYS.read(bob.public)

    assert (found.fingerprint, found.holder) == (bob.fingerprint, "bob <bob@acme.example>")
    message = pysequoia.encrypt(
        b"share", recipients=[pysequoia.Cert.from_bytes(base64.b64decode(found.data))], armor=False
    )
    assert bob.decrypt(message) == b"share"
    assert bob.decrypt(armored(message).encode()) == b"share"


def test_a_long_rsa_key_is_taken() -> None:
    assert KEYS.read(FIXTURES / "rsa3072.asc").holder == "rsa3072 <rsa3072@acme.example>"


def test_a_key_without_armor_is_the_same_key(ann: Holder, tmp_path: Path) -> None:
    binary = tmp_path / "ann.pgp"
    binary.write_bytes(bytes(ann.secret.extract_certificate()))

    assert KEYS.read(binary) == KEYS.read(ann.public)


def test_a_key_of_the_newer_format_is_taken(tmp_path: Path) -> None:
    made = Tsk.generate(user_id="v6", profile=Profile.RFC9580).extract_certificate()
    path = tmp_path / "v6.pgp"
    path.write_bytes(bytes(made))

    assert KEYS.read(path).fingerprint == made.fingerprint


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "pgp-key-unreadable"),
        (b"hello", "pgp-key-unreadable"),
        (b"\x00" * 100, "pgp-key-unreadable"),
        (
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n",
            "pgp-key-unreadable",
        ),
        (b"x" * (MAX_BYTES + 1), "pgp-key-unreadable"),
    ],
    ids=["empty", "text", "zeros", "damaged", "long"],
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)

    assert refused(path) == code


def test_a_cut_off_key_is_refused(ann: Holder, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(bytes(ann.secret.extract_certificate())[:-40])

    assert refused(path) in {"pgp-key-unreadable", "pgp-key-cannot-encrypt"}


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.asc") == "pgp-key-unreadable"
    assert refused(tmp_path) == "pgp-key-unreadable"


def test_a_secret_key_is_refused(ann: Holder, tmp_path: Path) -> None:
    path = tmp_path / "secret.pgp"
    path.write_bytes(bytes(ann.secret))

    assert refused(path) == "pgp-key-secret"


def test_a_key_ring_is_refused(ann: Holder, tmp_path: Path) -> None:
    bob = make_holder(tmp_path, "bob")
    path = tmp_path / "ring.pgp"
    path.write_bytes(bytes(ann.secret.extract_certificate()) + bytes(bob.secret.extract_certificate()))

    assert refused(path) == "pgp-key-which"


def test_a_message_is_no_key(ann: Holder, tmp_path: Path) -> None:
    path = tmp_path / "message.asc"
    path.write_bytes(pysequoia.encrypt(b"x", recipients=[ann.secret.extract_certificate()]))

    assert refused(path) == "pgp-key-which"


def test_a_revoked_key_is_refused(ann: Holder, tmp_path: Path) -> None:
    certificate = ann.secret.extract_certificate()
    path = tmp_path / "revoked.pgp"
    path.write_bytes(bytes(certificate) + bytes(certificate.revoke(ann.secret.certifier())))

    assert refused(path) == "pgp-key-revoked"


def test_a_key_that_has_ended_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ended.pgp"
    made = Tsk.generate(user_id="old", validity_seconds=3600)
    path.write_bytes(bytes(made.extract_certificate()))

    assert KEYS.read(path).holder == "old"
    assert refused(path, PgpKeyFiles(FixedClock(NOW + timedelta(hours=2)))) == "pgp-key-expired"


@pytest.mark.parametrize("name", ["dsa-elgamal", "sha1", "rsa2048"])
def test_a_weak_key_is_refused(name: str) -> None:
    assert refused(FIXTURES / f"{name}.asc") == "pgp-key-weak"


def test_a_key_that_the_server_cannot_use_is_refused(tmp_path: Path) -> None:
    made = Tsk.generate(user_id="pq", profile=Profile.RFC9580, cipher_suite=CipherSuite.MLDSA65_Ed25519)
    path = tmp_path / "pq.pgp"
    path.write_bytes(bytes(made.extract_certificate()))

    assert refused(path) == "pgp-key-weak"


def test_a_key_that_signs_only_is_refused(ann: Holder, tmp_path: Path) -> None:
    """The last two packets are the part that encrypts, and what binds it."""
    packets = list(pysequoia.packet.PacketPile.from_bytes(bytes(ann.secret.extract_certificate())))
    path = tmp_path / "signs.pgp"
    path.write_bytes(b"".join(bytes(each) for each in packets[:-2]))

    assert refused(path) == "pgp-key-cannot-encrypt"
