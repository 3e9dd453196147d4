"""A release as its tests have it: a key, a manifest for one running Vault, and the hand-over file of its operator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from make_vault_manifest import rendered, signature

RELEASE = "0.1.0"


class Release:
    """Whoever makes a release: signs what it is given.

    Attributes:
        key_file: of the public key, which the tenant has.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.key_file = folder / "release-key.pem"
        self.key_file.write_text(self.public)

    @property
    def public(self) -> str:
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return public.decode()

    def sign(self, manifest: Mapping[str, Any], name: str = "manifest.json") -> Path:
        """Write a manifest and its signature."""
        path = self._folder / name
        path.write_text(rendered(manifest))
        path.with_name(f"{name}.sig").write_text(self.signature_of(manifest))
        return path

    def signature_of(self, manifest: Any) -> str:
        """Return a signature over any value of JSON."""
        return signature(manifest, self._key)


def failing(output: str) -> dict[str, str]:
    """Return the checks that are not good, by name, of a verdict in JSON."""
    found = json.loads(output)["checks"]
    return {
        each["name"]: each["status"] for each in found if each["status"] not in ("ok", "accepted", "unseen")
    }
