"""Who can log in as what: certificate roles, and what the operator printed of them at the hand-over."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from mutx_vault_verify.certificate import fingerprints
from mutx_vault_verify.check import Check, extra, judged, missing
from mutx_vault_verify.checks.compare import each_of, read_each
from mutx_vault_verify.document import canonical
from mutx_vault_verify.expectation import Expectation, State
from mutx_vault_verify.vault import Source

CERTS = "auth/cert/certs"


def platform_authority(source: Source, want: Expectation, given: str | None) -> tuple[str, Check]:
    """Return SHA-256 of the authority that the platform's roles have in common, and whether it is the right one.

    Args:
        source: the Vault.
        want: what must be found.
        given: SHA-256 of the one that the tenant knows, if it does.
    """
    roles = read_each(source, CERTS, sorted(set(want.manifest["platform"]) & set(source.names(CERTS))))
    found = sorted({fingerprints(role.get("certificate")) for role in roles.values()})
    known = [given] if given else want.manifest["platform_authorities"]
    said = [f"{one} is none that the release, or you, named" for one in found if known and one not in known]
    if len(found) > 1:
        said.append("the platform's roles have more than one authority")
    if want.marks["admin_ca"] in found:
        said.append("it is the tenant's own: whoever the tenant certifies would log in as the platform")
    detail = (
        f"SHA-256 {found[0]}" + ("" if known else ", as in the hand-over file") if found else "nobody has it"
    )
    return (found[0] if len(found) == 1 else "none"), judged("platform's authority", said, detail)


def check_roles(source: Source, want: Expectation) -> Iterator[Check]:
    """Compare every certificate role, machines' apart."""
    names = set(source.names(CERTS))
    found = read_each(source, CERTS, sorted(names - want.machines.keys()))
    for role in found.values():
        role["certificate"] = fingerprints(role.get("certificate"))
    optional = want.manifest["until_claim"] if want.state is State.HALFWAY else ()
    yield from each_of("role", want.roles, found, optional)


def check_digests(source: Source, want: Expectation) -> Iterator[Check]:
    """Compare what the operator printed at the hand-over with the release and, for authorities, with the Vault."""
    told = dict(want.handover.digests)
    for name, expected in sorted(_printed(source, want).items()):
        digest = told.pop(name, None)
        if not expected:
            continue  # its role is not there, and said to be missing
        if digest is None:
            yield missing(f"hand-over {name}")
        else:
            yield judged(
                f"hand-over {name}", [] if digest in expected else ["its digest is not the release's"]
            )
    for name in sorted(told):
        yield extra(f"hand-over {name}")


def _printed(source: Source, want: Expectation) -> Mapping[str, list[str]]:
    """Return the digests that `vault init` prints where all is as it should be: of the texts that were sent."""
    own = set(want.manifest["roles"])
    texts: dict[str, Any] = read_each(source, CERTS, sorted(own & set(source.names(CERTS))))
    sent = want.manifest["sent"]
    platform = next((texts[n].get("certificate") for n in want.manifest["platform"] if n in texts), None)
    built_in = want.manifest["builtin_policies"]
    printed = {f"policy {n}": [d] for n, d in want.manifest["policies"].items() if n not in built_in}
    for name, template in sent.items():
        # The onboarder's role is gone after the claim; its authority is the other platform role's.
        certificate = texts[name].get("certificate") if name in texts else platform
        if certificate is None:
            printed[f"role {name}"] = []
            continue
        settings = {**want.filled(template), "certificate": certificate}
        printed[f"role {name}"] = [hashlib.sha256(canonical(settings)).hexdigest()]
    return printed
