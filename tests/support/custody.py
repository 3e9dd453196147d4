"""A tenant whose hosts have made their keys, and the platform's use cases over it; a Vault of the test's choosing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from mutx_infra.adapters.vault_files import VaultFiles
from mutx_infra.adapters.vault_templates import policy_texts
from mutx_infra.adapters.x509 import check_receipt, read_request
from mutx_infra.adapters.x509_platform import PlatformAuthority
from mutx_infra.adapters.x509_requests import is_for_request
from mutx_infra.chronicle import Chronicle
from mutx_infra.environment import VaultAccess
from mutx_infra.inventory import Inventory, InventoryHost, make_inventory
from mutx_infra.leases import Leases
from mutx_infra.plan import make_plan
from mutx_infra.records import TenantRecord, TenantState, VaultRecord
from mutx_infra.vault.custody import Custody
from mutx_infra.vault.custody_ports import Tools
from mutx_infra.vault.places import MACHINE_REQUEST, OWN_AUTHORITY
from mutx_infra.vault_ports import TenantVault, VaultAddress
from tests.support.authorities import Authority, make_authority, signing_request
from tests.support.byok import a_byok
from tests.support.hosts import HostListener, MemoryHosts
from tests.support.specs import a_spec, an_owner, first_fit, outputs_of
from tests.support.tailnet_memory import MemoryKeeper
from tests.support.world import World, a_world

CLIENTS = ("acme-agent-1", "acme-database-1", "acme-guard-1")


def no_vault(address: VaultAddress) -> TenantVault:
    raise AssertionError(f"nobody asked for the Vault at {address.url}")


@dataclass
class MemoryVaultHosts:
    """`VaultHosts`: files by host and path; each host's port is reached at one URL."""

    url: str = "https://127.0.0.1:1"
    files: dict[tuple[str, str], str] = field(default_factory=dict)
    reads: list[tuple[str, str]] = field(default_factory=list)

    def read(self, inventory: Inventory, host: InventoryHost, path: str) -> str | None:
        self.reads.append((host.name, path))
        return self.files.get((host.name, path))

    @contextmanager
    def reach(self, inventory: Inventory, host: InventoryHost, port: int) -> Iterator[str]:
        yield self.url


@dataclass
class VaultYard:
    """A tenant that stands, with what it brings; its hosts have run their playbooks.

    Attributes:
        folder: of the test's own.
        open: gives the Vault at an address.
        server_ca: what the Vault's host made.
    """

    folder: Path
    tenant_ca: Authority = field(default_factory=lambda: make_authority("acme administrators"))
    platform_ca: Authority = field(default_factory=lambda: make_authority("mutx platform"))
    server_ca: Authority = field(default_factory=lambda: make_authority("acme vault"))
    open: Callable[[VaultAddress], TenantVault] = no_vault
    world: World = field(default_factory=a_world)
    hosts: MemoryVaultHosts = field(default_factory=MemoryVaultHosts)
    listener: HostListener = field(default_factory=HostListener)

    def __post_init__(self) -> None:
        spec = a_spec(byok=a_byok(self.tenant_ca))
        record = self.world.registry.reserve(spec, first_fit(spec))
        plan = make_plan(record.spec, record.allocation)
        self.world.registry.update("acme", state=TenantState.READY, outputs=outputs_of(plan))
        self.keeper = MemoryKeeper(self.world.registry)
        self.files = VaultFiles(self.folder / "vault")
        self.hosts.files["acme-vault-1", OWN_AUTHORITY] = self.server_ca.pem
        for host in CLIENTS:
            self.hosts.files[host, MACHINE_REQUEST] = signing_request(self.folder, host)[0]

    @property
    def record(self) -> TenantRecord:
        found = self.world.registry.tenant("acme")
        assert found is not None
        return found

    @property
    def inventory(self) -> Inventory:
        return make_inventory(make_plan(self.record.spec, self.record.allocation), self.record.outputs)

    @property
    def vault(self) -> VaultRecord:
        found = self.record.vault
        assert found is not None
        return found

    def custody(self) -> Custody:
        """The use cases as one process has them."""
        world, owner = self.world, an_owner()
        tools = Tools(self.open, read_request, is_for_request, check_receipt, policy_texts, "0.1.0")
        return Custody(
            world.registry, world.journal, Leases(world.registry, MemoryHosts(), owner, lambda _: True),
            Chronicle(world.history, lambda _: None, world.clock), self.hosts, self.identity(), self.files, tools,
            lambda host: f"https://{host.name}:8200", world.clock, owner, self.keeper,
        )  # fmt: skip

    def identity(self) -> PlatformAuthority:
        """The platform's authority, as a profile names it."""
        key_file, ca_file = self.folder / "platform.key", self.folder / "platform.pem"
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            self.platform_ca.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        ca_file.write_text(self.platform_ca.pem)
        return PlatformAuthority(VaultAccess(ca_key_file=str(key_file), ca_file=str(ca_file)))
