"""How the Vault Agent of a host is started, and what is delivered from the Vault to whom on that host. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mutx_infra.flows import Role
from mutx_infra.guard_hosts import GUARD_ACCOUNTS
from mutx_infra.vault.deposits import MASK
from mutx_infra.vault.layout import AGENTS, HOSTS, KV_MOUNT, MACHINE_PKI, SERVICE_PKI, SERVICE_TTL, SHARED
from mutx_infra.vault.places import (
    AGENT_ACCOUNT,
    AGENT_RUNTIME,
    AGENT_SECRETS,
    CLIENT_AUTHORITY,
    MACHINE_CERTIFICATE,
    MACHINE_KEY,
    MACHINE_REQUEST,
    SERVER_AUTHORITIES,
    TLS_FOLDER,
)

PROVIDERS = ("anthropic", "openai")
"""Whose keys an agent is given where its Vault has them."""
MASK_KEY = "mask.key"
"""The file in which a guard's units find the tenant's key of masks."""


@dataclass(frozen=True, slots=True)
class AgentPaths:
    """Where a host keeps what it logs in by, as the role `vault_agent` lays it out.

    Attributes:
        runtime: in memory, for the agent's account alone.
    """

    certificate: str = MACHINE_CERTIFICATE
    key: str = MACHINE_KEY
    request: str = MACHINE_REQUEST
    authorities: str = SERVER_AUTHORITIES
    runtime: str = AGENT_RUNTIME

    @property
    def socket(self) -> str:
        """Where the agent takes requests, to which it adds its token."""
        return f"{self.runtime}/agent.sock"

    @property
    def service_certificate(self) -> str:
        """What the agent renders: key, certificate and authority of the host as a service."""
        return f"{self.runtime}/service.pem"

    @property
    def service_authority(self) -> str:
        """The authority alone."""
        return f"{self.runtime}/service-ca.pem"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One file that a service of the host is given, mode 0400.

    Attributes:
        file: in memory.
        owner: account and group of the service.
        sources: paths in the Vault, the first that holds something counts; or one file that the agent renders.
    """

    file: str
    owner: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Installation:
    """A server of the host that shows the host's service certificate, and takes a new one by a reload.

    Attributes:
        name: of its files.
        group: may read the key.
        unit: of systemd.
    """

    name: str
    group: str
    unit: str

    @property
    def certificate(self) -> str:
        """Where its certificate lies."""
        return f"{TLS_FOLDER}/{self.name}.crt"

    @property
    def key(self) -> str:
        """Where its key lies: it is good for a day, and the server starts by it when the Vault is away."""
        return f"{TLS_FOLDER}/{self.name}.key"


SERVERS = (
    Installation("postgresql", "postgres", "postgresql.service"),
    Installation("redis", "redis", "redis-server.service"),
)
"""Of a database host."""


@dataclass(frozen=True, slots=True)
class Place:
    """A directory in memory, root's, that files are delivered to.

    Attributes:
        group: number of the one group that may enter; by number, for the group may be made later.
    """

    path: str
    group: int


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """The Vault Agent of one host.

    Attributes:
        host: its name, which is its certificate's common name and its role's.
        servers: URLs of the Vault's nodes.
        keys: what is delivered from the Vault itself.
        certificates: what is delivered of that which the agent renders.
        places: where all of it goes.
        waiting: units that wait for these files, and are started when they are there.
        installations: servers on this host that show its service certificate.
    """

    host: str
    servers: tuple[str, ...]
    keys: tuple[Delivery, ...] = ()
    certificates: tuple[Delivery, ...] = ()
    places: tuple[Place, ...] = ()
    waiting: tuple[str, ...] = ()
    installations: tuple[Installation, ...] = ()
    paths: AgentPaths = AgentPaths()

    @property
    def issue_path(self) -> str:
        """Where the agent has its service certificate issued."""
        return f"{SERVICE_PKI}/issue/{self.host}"

    @property
    def issue_ttl(self) -> str:
        """How long it lasts; the agent has a new one before it ends."""
        return SERVICE_TTL

    def settings(self) -> dict[str, Any]:
        """Return what the host's own program is told (`mutx-vault-machine`); it holds no secret."""
        return {
            "host": self.host,
            "servers": list(self.servers),
            "sign": f"{MACHINE_PKI}/sign/{self.host}",
            "certificate": self.paths.certificate,
            "key": self.paths.key,
            "request": self.paths.request,
            "authorities": self.paths.authorities,
            "socket": self.paths.socket,
            "keys": [_told(each) for each in self.keys],
            "certificates": [_told(each) for each in self.certificates],
            "places": [{"path": place.path, "group": place.group} for place in self.places],
            "waiting": list(self.waiting),
            "installs": _installed(self.installations, self.paths) if self.installations else {},
        }


def make_agent_plan(
    role: Role, host: str, key: str, servers: Sequence[str], *, agent_group: int
) -> AgentPlan:
    """Return the plan of a host by its role: an agent's has keys and certificates, the others have certificates.

    Args:
        role: the host's.
        host: its name.
        key: unique in the tenant, e.g. `agent-1`: keys of its own lie under it.
        servers: URLs of the Vault's nodes.
        agent_group: number of the group that an agent runs under.
    """
    paths = AgentPaths()
    if role is Role.GUARD:
        return _guard_plan(host, tuple(servers), paths)
    if role is not Role.AGENT:
        installations = SERVERS if role is Role.DATABASE else ()
        return AgentPlan(host, tuple(servers), installations=installations, paths=paths)
    return AgentPlan(
        host,
        tuple(servers),
        keys=tuple(
            Delivery(f"{AGENT_SECRETS}/{key_file(provider)}", AGENT_ACCOUNT, key_paths(key, provider))
            for provider in PROVIDERS
        ),
        certificates=(
            Delivery(f"{AGENT_SECRETS}/ca.pem", AGENT_ACCOUNT, (paths.service_authority,)),
            Delivery(f"{AGENT_SECRETS}/egress.pem", AGENT_ACCOUNT, (paths.service_certificate,)),
            Delivery(f"{AGENT_SECRETS}/server.pem", AGENT_ACCOUNT, (paths.service_certificate,)),
        ),
        places=(Place(AGENT_SECRETS, agent_group),),
        waiting=("mutx-agent.service",),
        paths=paths,
    )


def guard_secrets(account: str) -> str:
    """Return where one of a guard's units finds its certificate: in memory."""
    return f"/run/{account}-secrets"


def key_paths(agent: str, provider: str) -> tuple[str, str]:
    """Return where an agent looks for a provider's key: its own, then the one that all agents share."""
    return f"{KV_MOUNT}/data/{AGENTS}/{agent}/{provider}", f"{KV_MOUNT}/data/{SHARED}/{provider}"


def mask_key_path(host: str) -> str:
    """Return where a guard looks for the key of masks that its tenant made."""
    return f"{KV_MOUNT}/data/{HOSTS}/{host}/{MASK}"


def key_file(provider: str) -> str:
    """Return the name of the file that a provider's key is delivered in: `OPENAI_KEY`."""
    return f"{provider.upper().replace('-', '_')}_KEY"


def _guard_plan(host: str, servers: tuple[str, ...], paths: AgentPaths) -> AgentPlan:
    """Return a guard's: its units show the host's certificate and have the key of masks, each by a copy of its own."""
    sources = {"ca.pem": paths.service_authority, "server.pem": paths.service_certificate}
    return AgentPlan(
        host,
        servers,
        keys=tuple(
            Delivery(f"{guard_secrets(account)}/{MASK_KEY}", account, (mask_key_path(host),))
            for account in GUARD_ACCOUNTS
        ),
        certificates=tuple(
            Delivery(f"{guard_secrets(account)}/{name}", account, (source,))
            for account in GUARD_ACCOUNTS
            for name, source in sources.items()
        ),
        places=tuple(Place(guard_secrets(account), group) for account, group in GUARD_ACCOUNTS.items()),
        waiting=tuple(f"{account}.service" for account in GUARD_ACCOUNTS),
        paths=paths,
    )


def _told(delivery: Delivery) -> dict[str, object]:
    return {"file": delivery.file, "owner": delivery.owner, "sources": list(delivery.sources)}


def _installed(installations: Sequence[Installation], paths: AgentPaths) -> dict[str, object]:
    return {
        "source": paths.service_certificate,
        "issuer": paths.service_authority,
        "authority": CLIENT_AUTHORITY,
        "servers": [
            {"certificate": each.certificate, "key": each.key, "group": each.group, "unit": each.unit}
            for each in installations
        ],
    }
