"""How the server of a tenant's Vault is started: its storage, its seal, where it listens, what it makes first. Pure.

A first start can be cut off at any point, and what it leaves cannot be gone on with: the root token by which the server
made things was its own, and is lost. Two marks beside the storage say how far a host has come:

- `begun` is written before the first start, and removed once `complete` is there;
- `complete` is written once the server has told systemd that it is ready, which it does when it has made all, the
  onboarder's role as the last, and has revoked the root token.

Nothing is handed over before `complete` is there, so what lies beside a `begun` alone is nobody's: it may be removed,
and the start begins anew. Any other store may be somebody's, and is never removed (`decide_start`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network

from mutx_infra.byok import AwsKmsSeal, Product, Seal, StaticSeal
from mutx_infra.errors import SettingsError, SpecError
from mutx_infra.vault.layout import VaultLayout

API_PORT, CLUSTER_PORT = 8200, 8201
LOOPBACK = (IPv4Network("127.0.0.1/32"),)
STATIC_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ServerPaths:
    """Where a node keeps what it has, as the role `vault` lays it out.

    Attributes:
        seal_key: of a static seal.
        plugins: programs that the server starts, root's.
        kms_plugin: name of the one for AWS KMS.
        audit_log: on a volume of its own; the server refuses to serve when it cannot write there.
    """

    certificate: str = "/etc/openbao/tls/server.crt"
    key: str = "/etc/openbao/tls/server.key"
    authorities: str = "/etc/openbao/tls/ca.crt"
    storage: str = "/var/lib/openbao/raft"
    seal_key: str = "/etc/openbao/seal.key"
    seal_authority: str = "/etc/openbao/tls/seal-ca.crt"
    plugins: str = "/usr/lib/openbao/plugins"
    kms_plugin: str = "openbao-plugin-kms-aws"
    audit_log: str = "/var/log/openbao/audit.log"


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """One node of a tenant's Vault.

    Attributes:
        node: its host's name.
        address: in the VPC.
        peers: the other nodes.
        layout: what the node makes when it starts for the first time, or the tenant makes there; None on a node that
            joins another.
        product: which server it is.
        seal_plugin: digest of OpenBao's plugin for AWS KMS, 64 hex digits; the server starts no other.
        listen: address that the API is served at.
        performance_multiplier: of raft; 1 is what the vendor advises for production.
    """

    tenant: str
    node: str
    address: IPv4Address
    seal: Seal
    layout: VaultLayout | None
    peers: tuple[IPv4Address, ...] = ()
    listen: str = "0.0.0.0"  # noqa: S104 - the host's firewall has the flow table's rows, by interface and source
    api_port: int = API_PORT
    cluster_port: int = CLUSTER_PORT
    paths: ServerPaths = ServerPaths()
    product: Product = Product.OPENBAO
    seal_plugin: str = ""

    def __post_init__(self) -> None:
        """Refuse a seal that the server does not have.

        Raises:
            SpecError: HashiCorp's has no static one (code `byok-seal-static`).
            SettingsError: OpenBao has AWS KMS by a plugin alone, and nobody said which (`vault-seal-plugin`).
        """
        if self.needs_plugin and not self.seal_plugin:
            raise SettingsError(
                f"the Vault of {self.tenant} is sealed by AWS KMS, for which OpenBao needs a plugin",
                code="vault-seal-plugin",
                remedy="put the plugin on the Vault's hosts (docs/how-to/run-a-vault.md) and its digest into the "
                "profile, `vault.awskms_plugin_sha256`; HashiCorp's server (`byok.server: vault`) needs none",
            )
        if self.product is Product.VAULT and isinstance(self.seal, StaticSeal):
            raise SpecError(
                f"the Vault of {self.tenant} is HashiCorp's, which has no static seal",
                code="byok-seal-static",
                remedy="set `byok.seal` to a key in the tenant's own Vault or in its KMS, or `byok.server: openbao`",
            )

    @property
    def needs_plugin(self) -> bool:
        """Say whether the seal is one that the server has by a plugin alone."""
        return self.product is Product.OPENBAO and isinstance(self.seal, AwsKmsSeal)

    @property
    def makes_itself(self) -> bool:
        """Say whether this node makes the Vault by itself when it starts for the first time."""
        return self.layout is not None and self.product is Product.OPENBAO

    @property
    def awaits_its_tenant(self) -> bool:
        """Say whether this node comes up empty, and the tenant makes the Vault on it."""
        return self.layout is not None and self.product is Product.VAULT

    @property
    def api_address(self) -> str:
        """The URL that others reach the node at."""
        return f"https://{self.address}:{self.api_port}"


class Start(StrEnum):
    """What is to be done before the server of a first node starts.

    Attributes:
        BEGIN: write `begun`, start.
        CLEAR: a start was cut off: remove the store, then begin.
        SERVE: start.
        REFUSE_FOREIGN: the store is one that this host did not begin, as a snapshot brought back: a person decides.
        REFUSE_LOST: the store that was complete is gone. Starting would make another Vault in its name, unclaimed, in
            which the platform is at the beginning of its rights again.
    """

    BEGIN = "begin"
    CLEAR = "clear"
    SERVE = "serve"
    REFUSE_FOREIGN = "refuse-foreign"
    REFUSE_LOST = "refuse-lost"


def decide_start(*, has_store: bool, has_begun: bool, is_complete: bool) -> Start:
    """Return what is to be done before the server starts.

    Args:
        has_store: anything lies in the storage's directory.
        has_begun: the mark `begun` is there.
        is_complete: the mark `complete` is there; it counts, whatever else is.
    """
    if is_complete:
        return Start.SERVE if has_store else Start.REFUSE_LOST
    if not has_store:
        return Start.BEGIN
    return Start.CLEAR if has_begun else Start.REFUSE_FOREIGN
