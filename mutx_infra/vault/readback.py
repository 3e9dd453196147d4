"""What a live Vault holds, held against what was handed over: each policy and each way to log in, by digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from mutx_infra.canonical import canonical_json
from mutx_infra.vault.layout import CERT_AUTH, CertificateRole, digest_of
from mutx_infra.vault.products import SET_BY_THE_SERVER
from mutx_infra.vault_ports import VaultSession

BUILT_IN_POLICIES = frozenset({"default", "root"})
BUILT_IN_AUTH = frozenset({"token/"})
_OF_A_ROLE = frozenset(
    {
        "certificate", "allowed_common_names", "token_policies", "token_no_default_policy", "token_ttl",
        "token_max_ttl", "token_type", "token_bound_cidrs",
    }
)  # fmt: skip
_SECONDS = ((3600, "h"), (60, "m"))


@dataclass(frozen=True, slots=True)
class Compared:
    """One policy or way to log in.

    Attributes:
        name: kind and name, e.g. `policy agent`.
        expected: digest by the hand-over; None where it names no such thing.
        found: digest of what the Vault has; None where it has no such thing.
    """

    name: str
    expected: str | None
    found: str | None

    @property
    def is_same(self) -> bool:
        """Say whether the Vault has what was handed over."""
        return self.expected == self.found

    @property
    def said(self) -> str:
        """Return the verdict in a word."""
        if self.is_same:
            return "same"
        if self.found is None:
            return "missing"
        return "extra" if self.expected is None else "differs"


def compare(session: VaultSession, expected: Mapping[str, str]) -> tuple[Compared, ...]:
    """Hold everything that decides who may do what against the digests of the hand-over, by name."""
    found = dict(_found(session))
    return tuple(Compared(name, expected.get(name), found.get(name)) for name in sorted({*expected, *found}))


def role_digest(name: str, live: Mapping[str, Any]) -> str:
    """Return the digest of a role as the Vault shows it: that of `CertificateRole.settings` where nothing was added."""
    role = CertificateRole(
        name,
        str(live["certificate"]),
        tuple(live["allowed_common_names"] or ()),
        tuple(live["token_policies"] or ()),
        tuple(str(ip_network(each)) for each in live["token_bound_cidrs"] or ()),
        ttl=_duration(live["token_ttl"]),
        max_ttl=_duration(live["token_max_ttl"]),
    )
    more = {
        key: value
        for key, value in live.items()
        if value
        and key not in _OF_A_ROLE
        and (key, value) not in (("display_name", name), *SET_BY_THE_SERVER)
    }
    fixed = {key: live[key] for key in ("token_no_default_policy", "token_type")}
    return digest_of(canonical_json({**role.settings(), **fixed, **more}).decode())


def live_policies(session: VaultSession) -> dict[str, str]:
    """Return the texts of a Vault's policies by name, without those that every Vault has."""
    names = [name for name in session.list("sys/policies/acl") if name not in BUILT_IN_POLICIES]
    live = {name: session.read(f"sys/policies/acl/{name}") for name in names}
    return {name: str(policy["policy"]) for name, policy in live.items() if policy is not None}


def _found(session: VaultSession) -> Iterator[tuple[str, str]]:
    for name, text in live_policies(session).items():
        yield f"policy {name}", digest_of(text)
    for name in session.list(f"auth/{CERT_AUTH}/certs"):
        role = session.read(f"auth/{CERT_AUTH}/certs/{name}")
        if role is not None:
            yield f"role {name}", role_digest(name, role)
    for path in session.read("sys/auth") or {}:
        if path not in {*BUILT_IN_AUTH, f"{CERT_AUTH}/"}:
            yield f"login {path.rstrip('/')}", digest_of(path)


def _duration(seconds: int) -> str:
    return next((f"{seconds // size}{unit}" for size, unit in _SECONDS if seconds % size == 0), f"{seconds}s")
