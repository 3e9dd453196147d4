"""What a tenant's Vault holds when it comes up, as one value: engines, policies, who logs in as what. Pure.

OpenBao makes all of it by itself when it starts for the first time, and revokes the root token that it did it with
("Self-initialization"): nobody is ever given one. HashiCorp's server has its tenant make it (`initialising`).
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from mutx_infra.canonical import canonical_json
from mutx_infra.errors import SpecError

KV_MOUNT = "byok"
SERVICE_PKI, MACHINE_PKI = "pki", "pki-machines"
SSH_MOUNT = "ssh"
CERT_AUTH = "cert"
SHARED, AGENTS, HOSTS = "shared", "agents", "hosts"
"""Where keys lie below the engine: for every agent of the tenant, for one, or for one host that is no agent's."""
AUDIT_DEVICE = "file"

TOKEN_TTL, TOKEN_MAX_TTL = "15m", "24h"
SERVICE_TTL = "24h"
MACHINE_TTL = "720h"
ROOT_TTL = "87600h"
SSH_TTL = "30m"
KEPT_VERSIONS = 10

TENANT_ADMIN, ONBOARDER, OPERATOR = "tenant-admin", "mutx-onboarder", "mutx-operator"
MACHINE, AGENT, DEPOSITOR = "machine", "agent", "depositor"
POLICIES = (TENANT_ADMIN, MACHINE, AGENT, DEPOSITOR, OPERATOR, ONBOARDER)
"""Every policy, by its template's name. None depends on the tenant, so that a release can publish their digests."""
SSH_ROLE = "operator"
HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A host's name, or its key: one DNS label. Certificate roles match by glob, and policies take it into their paths."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A secrets engine.

    Attributes:
        options: as `sys/mounts` takes them.
        config: the same.
    """

    path: str
    type: str
    options: Mapping[str, str]
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CertificateRole:
    """Who logs in by a client certificate.

    Attributes:
        authority: PEM of the CA that signs them; empty where it is the Vault's own authority of machines.
        common_names: that a certificate must have one of; empty where any of that authority is good.
        cidrs: from where, and from where alone the token can be used; empty for anywhere.
        ttl: of the token.
        max_ttl: to which it can be renewed.
    """

    name: str
    authority: str
    common_names: tuple[str, ...]
    policies: tuple[str, ...]
    cidrs: tuple[str, ...]
    ttl: str = TOKEN_TTL
    max_ttl: str = TOKEN_TTL

    def settings(self) -> dict[str, Any]:
        """Return what `auth/cert/certs/<name>` takes."""
        return {
            "certificate": self.authority,
            "allowed_common_names": list(self.common_names),
            "token_policies": list(self.policies),
            "token_no_default_policy": True,
            "token_ttl": self.ttl,
            "token_max_ttl": self.max_ttl,
            "token_type": "service",
            "token_bound_cidrs": list(self.cidrs),
        }

    def digest(self) -> str:
        """Return a digest of its settings, for people to compare."""
        return digest_of(canonical_json(self.settings()).decode())


@dataclass(frozen=True, slots=True)
class VaultLayout:
    """Everything that a tenant's Vault has before the tenant claims it.

    Attributes:
        policies: texts by name.
        roles: who logs in.
    """

    tenant: str
    mounts: tuple[Mount, ...]
    policies: Mapping[str, str]
    roles: tuple[CertificateRole, ...]

    def digests(self) -> dict[str, str]:
        """Return a digest of each policy and role, by kind and name: for people to compare."""
        return {
            **{f"policy {name}": digest_of(text) for name, text in self.policies.items()},
            **{f"role {role.name}": role.digest() for role in self.roles},
        }


def digest_of(text: str) -> str:
    """Return SHA-256 of a text, as 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def platform_common_name(role: str, tenant: str) -> str:
    """Return what a certificate of the platform's must name to log in to one tenant's Vault, and no other."""
    return f"{role}@{tenant}"


def make_layout(
    tenant: str,
    policies: Mapping[str, str],
    admin_ca: str,
    platform_ca: str,
    loopback: tuple[IPv4Network, ...],
) -> VaultLayout:
    """Return the layout of a tenant's Vault.

    Args:
        tenant: its id.
        policies: texts by name, one for each of `POLICIES`.
        admin_ca: PEM of the tenant's own authority.
        platform_ca: PEM of the platform's.
        loopback: from where the platform's certificates are good: the Vault host itself, entered by SSH.

    Raises:
        SpecError: the tenant's authority is the platform's, who would then be its administrator.
    """
    if ssl.PEM_cert_to_DER_cert(admin_ca.strip()) == ssl.PEM_cert_to_DER_cert(platform_ca.strip()):
        raise SpecError(
            f"the authority of {tenant}'s administrators is the platform's own",
            code="byok-admin-ca-platform",
            remedy="let the tenant make an authority whose key it alone holds, and set `byok.admin_ca` to that",
        )
    ours = tuple(map(str, loopback))
    return VaultLayout(
        tenant=tenant,
        mounts=(
            Mount(KV_MOUNT, "kv", {"version": "2"}, {}),
            Mount(SERVICE_PKI, "pki", {}, {"max_lease_ttl": ROOT_TTL}),
            Mount(MACHINE_PKI, "pki", {}, {"max_lease_ttl": ROOT_TTL}),
            Mount(SSH_MOUNT, "ssh", {}, {}),
        ),
        policies={name: policies[name] for name in POLICIES},
        roles=(
            admin_role(admin_ca),
            *(
                CertificateRole(role, platform_ca, (platform_common_name(role, tenant),), (role,), ours)
                for role in (ONBOARDER, OPERATOR)
            ),
        ),
    )


def admin_role(admin_ca: str) -> CertificateRole:
    """Return how the tenant's administrators log in: by any client certificate of the tenant's own authority."""
    return CertificateRole(TENANT_ADMIN, admin_ca, (), (TENANT_ADMIN,), ())


def first_requests(layout: VaultLayout) -> tuple[tuple[str, str, dict[str, Any]], ...]:
    """Return the requests by which all this is made, in order: a name, a path and data for each.

    The last one makes the onboarder's role: who can log in as it finds a Vault that is complete.
    """
    *others, onboarder, operator = layout.roles
    return (
        *((f"policy-{n}", f"sys/policies/acl/{n}", {"policy": text}) for n, text in layout.policies.items()),
        *((f"mount-{m.path}", f"sys/mounts/{m.path}", _mounted(m)) for m in layout.mounts),
        ("auth-cert", f"sys/auth/{CERT_AUTH}", {"type": "cert"}),
        ("root-services", f"{SERVICE_PKI}/root/generate/internal", _root(layout.tenant, "services")),
        ("root-machines", f"{MACHINE_PKI}/root/generate/internal", _root(layout.tenant, "machines")),
        *((f"role-{r.name}", _role_path(r.name), r.settings()) for r in (*others, operator)),
        # Late: an engine of version 2 takes no settings while it makes itself ready, some milliseconds long.
        ("kv-settings", f"{KV_MOUNT}/config", {"cas_required": True, "max_versions": KEPT_VERSIONS}),
        (f"role-{onboarder.name}", _role_path(onboarder.name), onboarder.settings()),
    )


def machine_role(host: str, address: str, *, is_agent: bool) -> CertificateRole:
    """Return how one host logs in, from its own address alone. Its authority is the Vault's own."""
    policies = (MACHINE, AGENT) if is_agent else (MACHINE,)
    return CertificateRole(host, "", (_one_name(host),), policies, (f"{address}/32",), max_ttl=TOKEN_MAX_TTL)


def issuing_role(host: str) -> dict[str, Any]:
    """Return what `pki/roles/<host>` takes: certificates for exactly this name, for a day at most."""
    return {
        **_for_one_name(host),
        "server_flag": True,
        "client_flag": True,
        "ttl": SERVICE_TTL,
        "max_ttl": SERVICE_TTL,
        "no_store": True,
    }


def signing_role(host: str) -> dict[str, Any]:
    """Return what `pki-machines/roles/<host>` takes: the host's login, its key made on the host itself."""
    return {
        **_for_one_name(host),
        "server_flag": False,
        "client_flag": True,
        "ttl": MACHINE_TTL,
        "max_ttl": MACHINE_TTL,
        "use_csr_sans": False,
    }


def _one_name(host: str) -> str:
    """Return a host's name if it is one: a pattern in its place would stand for other hosts' names too."""
    if not HOST_NAME.fullmatch(host):
        raise ValueError(f"{host!r} is no host name")
    return host


def _for_one_name(host: str) -> dict[str, Any]:
    return {
        "allowed_domains": [_one_name(host)],
        "allow_bare_domains": True,
        "allow_subdomains": False,
        "allow_localhost": False,
        "allow_ip_sans": False,
        "allow_wildcard_certificates": False,
        # `someone@<host>` would count as a bare domain.
        "cn_validations": ["hostname"],
        # Either date, where it may be given, overrides `max_ttl` (found on live servers). HashiCorp's knows neither
        # word, and takes `not_after`: there the policy `machine` alone keeps hosts from it.
        "not_after_bound": "forbid",
        "not_before_bound": "forbid",
        "key_type": "ec",
        "key_bits": 256,
    }


def _mounted(mount: Mount) -> dict[str, Any]:
    optional = {"options": dict(mount.options)} if mount.options else {}
    return {"type": mount.type, **optional, **({"config": dict(mount.config)} if mount.config else {})}


def _root(tenant: str, purpose: str) -> dict[str, Any]:
    return {"common_name": f"{tenant} {purpose}", "key_type": "ec", "key_bits": 384, "ttl": ROOT_TTL}


def _role_path(name: str) -> str:
    return f"auth/{CERT_AUTH}/certs/{name}"
