"""Write the manifest that `mutx-vault-verify` compares a tenant's Vault with, and sign it at a release.

Without a key it writes docs/reference/vault-manifest.json, which a unit test compares with the templates. With one it
writes a signed manifest and its signature beside it: ECDSA (P-256, SHA-256) over its canonical bytes, base64.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mutx_infra.adapters.vault_templates import policy_texts
from mutx_infra.canonical import canonical_json
from mutx_infra.vault.manifest import make_manifest

TARGET = Path(__file__).resolve().parent.parent / "docs/reference/vault-manifest.json"
BAD_INPUT = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the manifest; exit 3 where the key or an authority cannot be used."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=TARGET, help="where to; the signature gets the same name and .sig"
    )
    parser.add_argument("--sign-with", type=Path, help="the release's private key: PEM, P-256")
    parser.add_argument(
        "--platform-ca", type=Path, action="append", default=[], help="the platform's authority: PEM"
    )
    options = parser.parse_args(arguments)
    try:
        authorities = [fingerprint(path.read_bytes()) for path in options.platform_ca]
        key = read_key(options.sign_with.read_bytes()) if options.sign_with else None
    except (OSError, ValueError, TypeError) as error:
        print(f"error[manifest-input]: {error}", file=sys.stderr)
        print(
            "  hint: --sign-with takes a P-256 key, --platform-ca a certificate; both in PEM", file=sys.stderr
        )
        return BAD_INPUT
    manifest = current_manifest(authorities)
    options.out.write_text(rendered(manifest))
    if key is not None:
        options.out.with_name(f"{options.out.name}.sig").write_text(signature(manifest, key))
    return 0


def current_manifest(platform_authorities: Sequence[str] = ()) -> dict[str, Any]:
    """Return the manifest of the templates as they are."""
    return make_manifest(policy_texts(), version("mutx-infra"), platform_authorities)


def rendered(manifest: Mapping[str, Any]) -> str:
    """Return a manifest's text; its layout does not count, as what is signed are its canonical bytes."""
    return json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def signature(manifest: Mapping[str, Any], key: ec.EllipticCurvePrivateKey) -> str:
    """Return the signature's text."""
    return base64.b64encode(key.sign(canonical_json(manifest), ec.ECDSA(hashes.SHA256()))).decode() + "\n"


def read_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read a private key.

    Raises:
        ValueError: it is no key of P-256.
        TypeError: it has a passphrase.
    """
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the key is none of P-256")  # noqa: TRY004 - as what cannot be read at all
    return key


def fingerprint(pem: bytes) -> str:
    """Return SHA-256 of a certificate."""
    return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()


if __name__ == "__main__":
    sys.exit(main())
