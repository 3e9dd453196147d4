"""OpenPGP keys for tests, and what their holders decrypt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pysequoia
from pysequoia import CipherSuite, Tsk

FIXTURES = Path(__file__).parent / "openpgp"


@dataclass(frozen=True)
class Holder:
    """Somebody who gets a recovery share.

    Attributes:
        public: file with the public key, armored.
    """

    public: Path
    secret: Tsk

    @property
    def fingerprint(self) -> str:
        return str(self.secret.extract_certificate().fingerprint)

    def decrypt(self, message: bytes) -> bytes:
        """Return the content of a message, armored or not."""
        content = pysequoia.decrypt(message, self.secret.decryptor()).bytes
        assert content is not None
        return content


def make_holder(folder: Path, name: str, suite: CipherSuite = CipherSuite.Cv25519) -> Holder:
    secret = Tsk.generate(user_id=f"{name} <{name}@acme.example>", cipher_suite=suite)
    public = folder / f"{name}.asc"
    public.write_text(str(secret.extract_certificate()))
    return Holder(public, secret)
