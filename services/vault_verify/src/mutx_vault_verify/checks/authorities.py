"""The Vault's own authorities: of services, of hosts' logins, and the tenant's of SSH."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mutx_vault_verify.certificate import (
    common_name,
    fingerprint,
    is_authority,
    is_issued_by,
    is_over,
    lifetime_s,
    other_names,
    read_one,
)
from mutx_vault_verify.check import Check, extra, judged, missing, ok, unknown
from mutx_vault_verify.checks.compare import each_of, read_each
from mutx_vault_verify.document import mapping, shown, text
from mutx_vault_verify.expectation import Expectation, State
from mutx_vault_verify.matching import differences
from mutx_vault_verify.problem import Unanswered
from mutx_vault_verify.vault import Source

MOST = 5000
_SKEW_S = 120
"""Certificates begin 30 s before they are made, and the server takes its time."""


def machine_authority(source: Source, want: Expectation) -> str:
    """Return SHA-256 of the authority of hosts' logins; a text that no certificate has where there is none, or two."""
    issuers = _issuers(source, want.manifest["machine_authority"])
    found = [_certificate(issuer) for issuer in issuers.values()]
    return fingerprint(found[0]) if len(found) == 1 else "none"


def check_authority(source: Source, want: Expectation, mount: str) -> Iterator[Check]:
    """Compare one authority: one issuer, one key, a root as the release makes it; and whom it has certified."""
    issuers = _issuers(source, mount)
    keys = source.names(f"{mount}/keys")
    yield judged(f"{mount} keys", [] if len(keys) == 1 else [f"there are {len(keys)}, not 1"])
    if len(issuers) != 1:
        yield judged(f"{mount} issuers", [f"there are {len(issuers)}, not 1"])
        return
    issuer = next(iter(issuers.values()))
    root = _certificate(issuer)
    said = [
        *differences(want.manifest["issuer"], issuer),
        *_root(root, want.filled(want.manifest["authorities"])[mount], want.at),
    ]
    yield judged(f"{mount} issuers", said, f"SHA-256 {fingerprint(root)}")
    yield from _certified(source, want, mount, root)


def check_ssh(source: Source, want: Expectation) -> Iterator[Check]:
    """Look at who signs the operators' SSH certificates, and for whom: nobody before the claim."""
    rule = want.manifest["ssh"]
    mount = rule["mount"]
    signers = ssh_signers(source, want)
    if len(signers) > 1 or (signers and want.state is State.UNCLAIMED):
        yield judged("ssh authority", [f"there are {len(signers)}"])
    else:
        yield ok("ssh authority", _public_key(source, mount) if signers else "none before the claim")
    expected = {} if want.state is State.UNCLAIMED else want.filled(rule["roles"])
    found = read_each(source, f"{mount}/roles", source.names(f"{mount}/roles"))
    yield from each_of("ssh role", expected, found, expected if want.state is State.HALFWAY else ())
    if source.get(f"{mount}/config/zeroaddress"):
        yield extra("ssh zeroaddress", "roles that are good for every address")


def ssh_signers(source: Source, want: Expectation) -> list[str]:
    """Return who signs SSH certificates: ids where the server knows several, else the public key of the one."""
    rule = want.manifest["ssh"]
    if rule["issuers"]:
        return list(source.names(rule["issuers"]))
    try:
        return [_public_key(source, rule["mount"])]
    except Unanswered as reason:
        if rule["none"] in str(reason):
            return []
        raise


def _public_key(source: Source, mount: str) -> str:
    return shown(text(mapping(source.get(f"{mount}/config/ca"), "the SSH authority"), "public_key"))


def _issuers(source: Source, mount: str) -> dict[str, Any]:
    return read_each(source, f"{mount}/issuer", source.names(f"{mount}/issuers"))


def _certificate(holder: Mapping[str, Any]) -> x509.Certificate:
    try:
        return read_one(text(holder, "certificate"))
    except ValueError as error:
        raise Unanswered(f"a certificate cannot be read: {shown(str(error))}") from None


def _root(root: x509.Certificate, rule: Mapping[str, Any], at: datetime) -> Iterator[str]:
    key = root.public_key()
    if common_name(root) != rule["common_name"]:
        yield f"its root is {shown(common_name(root))}, not {shown(rule['common_name'])}"
    if not is_issued_by(root, root):
        yield "its root is signed by somebody else"
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size != rule["key_bits"]:
        yield f"its root's key is none of {rule['key_bits']} bits on a curve"
    if lifetime_s(root) > rule["ttl_s"] + _SKEW_S or is_over(root, at):
        yield f"its root is good from {root.not_valid_before_utc} to {root.not_valid_after_utc}"


def _certified(source: Source, want: Expectation, mount: str, root: x509.Certificate) -> Iterator[Check]:
    """Look at every certificate that the authority keeps and that is still good."""
    serials = source.names(f"{mount}/certs")
    if len(serials) > MOST:
        yield unknown(f"{mount} certificates", f"there are {len(serials)}, more than are looked at")
        return
    good = 0
    for serial in serials:
        holder = source.get(f"{mount}/cert/{serial}")
        if holder is None:
            yield missing(f"{mount} certificate {serial}")
            continue
        certificate = _certificate(holder)
        if certificate == root or is_over(certificate, want.at) or holder.get("revocation_time"):
            continue
        said = [*_host_certificate(certificate, want, mount)]
        good += not said
        if said:
            yield extra(f"{mount} certificate {serial}", "; ".join(said))
    yield ok(f"{mount} certificates", f"{good} of hosts")


def _host_certificate(certificate: x509.Certificate, want: Expectation, mount: str) -> Iterator[str]:
    name = common_name(certificate)
    if name not in want.machines:
        yield f"it is for {shown(name)}, no host of the hand-over file"
        return
    longest_s = want.machine(want.machines[name])["signs"][mount]["max_ttl"]
    if is_authority(certificate):
        yield "it may sign others"
    if set(other_names(certificate)) - {name}:
        yield f"it is also for {shown(other_names(certificate))}"
    if lifetime_s(certificate) > longest_s + _SKEW_S:
        yield f"it is good until {certificate.not_valid_after_utc}"
