"""Have a key and a certificate for a service: those that were put there, or a stand-in that the host makes itself."""

from __future__ import annotations

import grp
import hashlib
import ipaddress
import os
import re
import ssl
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_certificate
short_description: Have a key and a certificate for a service, by a stand-in where nobody put any
description:
  - Where neither file is there, the host makes a key and a certificate that it signs itself. A stand-in is made anew
    before it expires, and where it does not name all of C(names).
  - Files that somebody put there are left as they are, but for the key's mode and group. A key that does not belong to
    its certificate is refused, for the service would not start with it.
author: mutx.dev
options:
  certificate: {description: The file of the certificate., type: path, required: true}
  key: {description: The file of the key., type: path, required: true}
  group: {description: The group that may read the key., type: str, required: true}
  names: {description: Names and addresses that a stand-in is for., type: list, elements: str, required: true}
  renews: {description: Whether a stand-in that is there may be made anew., type: bool, default: true}
"""

EXAMPLES = r"""
- name: Have a key and a certificate
  host_certificate:
    certificate: /etc/mutx/tls/postgresql.crt
    key: /etc/mutx/tls/postgresql.key
    group: postgres
    names: [db.example.com, 10.0.1.132]
"""

RETURN = r"""
fingerprint:
  description: SHA-256 of the certificate, hexadecimal; nothing where there is none yet.
  type: str
  returned: always
"""

STAND_IN = "mutx stand-in"
DAYS = 397
RENEW_WITHIN_S = 30 * 86_400
KEY_MODE = 0o640


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    module: AnsibleModule
    certificate: Path
    key: Path
    group: str
    names: tuple[str, ...]

    def needs_making(self) -> str:
        """Say why a stand-in must be made; "" where none must be."""
        if not self.certificate.exists():
            return (
                ""
                if self.key.exists() and self._refuse("there is a key and no certificate")
                else "none is there"
            )
        is_stand_in = STAND_IN in self._openssl("x509", "-in", str(self.certificate), "-noout", "-issuer")
        if not self.key.exists() or not self._belong_together():
            if is_stand_in:
                return "the stand-in has another key"
            self._refuse("the key is missing, or is another certificate's")
        if is_stand_in and not self._lasts():
            return "the stand-in expires"
        if is_stand_in and set(self.names) - self._named():
            return "the stand-in lacks a name"
        return ""

    def make(self) -> None:
        """Make a stand-in; the certificate lands first, since by it a half-made pair is known as ours."""
        for place in {self.certificate.parent, self.key.parent}:
            place.mkdir(parents=True, exist_ok=True, mode=0o755)
        with tempfile.TemporaryDirectory(prefix=".mutx-", dir=self.key.parent) as name:
            key, certificate = Path(name, "key"), Path(name, "certificate")
            alternative = ",".join(f"{_kind(each)}:{each}" for each in self.names)
            self._openssl(
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256",
                "-days", str(DAYS), "-subj", f"/O={STAND_IN}/CN={self.names[0][:64]}",
                "-addext", f"subjectAltName={alternative}", "-addext", "extendedKeyUsage=serverAuth",
                "-keyout", str(key), "-out", str(certificate),
            )  # fmt: skip
            os.chown(key, 0, grp.getgrnam(self.group).gr_gid)
            key.chmod(KEY_MODE)
            certificate.chmod(0o644)
            certificate.replace(self.certificate)
            key.replace(self.key)

    def is_loose(self) -> bool:
        """Say whether others than root and the group may read the key."""
        now = self.key.stat()
        return (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) != (
            0,
            grp.getgrnam(self.group).gr_gid,
            KEY_MODE,
        )

    def tighten(self) -> None:
        """Let root and the group alone read the key."""
        os.chown(self.key, 0, grp.getgrnam(self.group).gr_gid)
        self.key.chmod(KEY_MODE)

    def fingerprint(self) -> str:
        """Return the certificate's digest; of a chain, that of the first."""
        if not self.certificate.exists():
            return ""
        first = self.certificate.read_text(encoding="ascii").partition("-----END CERTIFICATE-----")
        start = first[0].find("-----BEGIN CERTIFICATE-----")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(f"{first[0][start:]}{first[1]}")).hexdigest()

    def _belong_together(self) -> bool:
        of_key = self._openssl("pkey", "-in", str(self.key), "-pubout")
        return of_key == self._openssl("x509", "-in", str(self.certificate), "-noout", "-pubkey")

    def _lasts(self) -> bool:
        command = [
            "openssl",
            "x509",
            "-in",
            str(self.certificate),
            "-noout",
            "-checkend",
            str(RENEW_WITHIN_S),
        ]
        return bool(self.module.run_command(command)[0] == 0)

    def _named(self) -> set[str]:
        text = self._openssl("x509", "-in", str(self.certificate), "-noout", "-ext", "subjectAltName")
        return set(re.findall(r"(?:DNS|IP Address):([^,\s]+)", text))

    def _openssl(self, *arguments: str) -> str:
        code, out, err = self.module.run_command(["openssl", *arguments])
        if code != 0:
            self._refuse(f"openssl cannot read it: {err.strip()}")
        return str(out)

    def _refuse(self, why: str) -> bool:
        self.module.fail_json(
            msg=f"[host-certificate] {self.certificate} and {self.key}: {why}. Nothing was changed. "
            "Put both files of one pair there, or remove both and the host makes a stand-in."
        )
        return False


def _kind(name: str) -> str:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "DNS"
    return "IP"


def main() -> None:
    """Look, and make a stand-in where there is nothing else."""
    module = AnsibleModule(
        argument_spec={
            "certificate": {"type": "path", "required": True},
            "key": {"type": "path", "required": True},
            "group": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "renews": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    pair = Pair(module, Path(given["certificate"]), Path(given["key"]), given["group"], tuple(given["names"]))
    is_there = pair.certificate.exists() and pair.key.exists()
    reason = pair.needs_making() if given["renews"] or not is_there else ""
    if reason and not module.check_mode:
        pair.make()
    is_loose = not reason and pair.is_loose()
    if is_loose and not module.check_mode:
        pair.tighten()
    module.exit_json(
        changed=bool(reason) or is_loose,
        fingerprint=pair.fingerprint(),
        reasons=[reason] if reason else ["others could read the key"] if is_loose else [],
    )


if __name__ == "__main__":
    main()
