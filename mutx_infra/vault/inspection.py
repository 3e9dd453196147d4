"""A Vault as it came up, held against what was published: by the platform, on its host, before the hand-over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mutx_infra.byok import Seal
from mutx_infra.errors import VerificationError
from mutx_infra.inventory import Inventory, InventoryHost
from mutx_infra.vault.custody_ports import PlatformIdentity, Tools, VaultHosts
from mutx_infra.vault.layout import ONBOARDER, VaultLayout
from mutx_infra.vault.readback import compare
from mutx_infra.vault.server import API_PORT
from mutx_infra.vault_ports import TenantVault, VaultAddress, VaultSession

_SHOWN = 20
_BUILT_IN_MOUNTS = frozenset({"cubbyhole/", "identity/", "sys/"})


@dataclass(frozen=True, slots=True)
class Inspection:
    """Looks at the Vault of one tenant.

    Attributes:
        nodes: its hosts.
        authority: by which they are known.
        seal: that the spec names.
    """

    hosts: VaultHosts
    identity: PlatformIdentity
    tools: Tools
    inventory: Inventory
    nodes: tuple[InventoryHost, ...]
    authority: str
    layout: VaultLayout
    seal: Seal

    def awaits_its_tenant(self) -> bool:
        """Say whether no node is initialised yet: where the server does not make itself, that is its tenant's to do."""
        for node in self.nodes:
            with self.hosts.reach(self.inventory, node, API_PORT) as url:
                health = self.tools.open(VaultAddress(url, self.authority, node.name)).health()
                if health.is_initialized:
                    return False
                if health.seal != self.seal.type:
                    raise self._differs([f"seal: {health.seal}, not {self.seal.type}"])
        return True

    def look(self) -> str:
        """Return the id that the Vault gave itself, once it is complete and as published.

        Raises:
            VerificationError: a node is not initialised, sealed, or none leads (`vault-not-made`); something is
                otherwise than it was published (`vault-differs`).
        """
        for node in self.nodes:
            with self.hosts.reach(self.inventory, node, API_PORT) as url:
                vault = self.tools.open(VaultAddress(url, self.authority, node.name))
                if self._leads(vault, node):
                    self._require_as_published(vault)
                    return str((vault.open_read("sys/seal-status") or {})["cluster_id"])
        raise self._not_made(self.nodes[0], "without a leader")

    def _leads(self, vault: TenantVault, node: InventoryHost) -> bool:
        health = vault.health()
        if not health.is_initialized or health.is_sealed:
            raise self._not_made(node, "sealed" if health.is_initialized else "not initialised")
        if health.seal != self.seal.type:
            raise self._differs([f"seal: {health.seal}, not {self.seal.type}"])
        return not health.is_standby

    def _require_as_published(self, vault: TenantVault) -> None:
        with self.identity.shown(ONBOARDER, self.layout.tenant) as shown:
            session = vault.login(shown, ONBOARDER)
            try:
                if found := list(differences(session, self.layout)):
                    raise self._differs(found)
            finally:
                session.end()

    def _not_made(self, node: InventoryHost, why: str) -> VerificationError:
        return VerificationError(
            f"the Vault on {node.name} is {why}",
            code="vault-not-made",
            remedy="see that the key which seals it can be reached from there (`--seal-token-file` brings a transit "
            f"key's token), then run `mutx-infra vault init {self.layout.tenant}` again",
        )

    def _differs(self, found: Sequence[str]) -> VerificationError:
        return VerificationError(
            f"the Vault of {self.layout.tenant} is not as published in {len(found)} place(s); it was not handed over",
            code="vault-differs",
            remedy="somebody changed it, or another release of the toolkit made it: find out who; a Vault that nobody "
            "claimed is made anew by replacing its host's data volume",
            detail="\n".join(found[:_SHOWN]),
        )


def differences(session: VaultSession, layout: VaultLayout) -> Iterator[str]:
    """Yield what a live Vault has otherwise than the layout: policies, logins, engines."""
    yield from (
        f"{each.name}: {each.said}" for each in compare(session, layout.digests()) if not each.is_same
    )
    wanted = {f"{mount.path}/": mount.type for mount in layout.mounts}
    found = {
        path: str(mount["type"])
        for path, mount in (session.read("sys/mounts") or {}).items()
        if path not in _BUILT_IN_MOUNTS and isinstance(mount, Mapping)
    }
    for path in sorted({*wanted, *found}):
        if wanted.get(path) != found.get(path):
            yield f"engine {path}: {found.get(path, 'missing')}, expected {wanted.get(path, 'none')}"
