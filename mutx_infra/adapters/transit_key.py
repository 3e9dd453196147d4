"""The key of a transit seal, destroyed in the Vault that the tenant holds."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from pydantic import SecretStr

from mutx_infra.adapters.hvac_vault import HvacVault
from mutx_infra.byok import TransitSeal
from mutx_infra.errors import RefusedError
from mutx_infra.vault_ports import VaultAddress


@dataclass(frozen=True, slots=True)
class TransitKey:
    """One key.

    Attributes:
        seal: where it is.
        token: that may configure and delete it.
        authorities: PEM of the authorities that its Vault's certificate is known by.
        proxy: URL of an HTTP proxy that leads there, or None.
    """

    seal: TransitSeal
    token: SecretStr
    authorities: str
    proxy: str | None = None

    def destroy(self) -> None:
        """Allow its deletion, delete it, and see that it is gone."""
        where = VaultAddress(self.seal.address, self.authorities, proxy=self.proxy)
        session, path = HvacVault(where).with_token(self.token), f"{self.seal.mount}/keys/{self.seal.key}"
        try:
            if session.read(path) is None:
                return
            session.write(f"{path}/config", {"deletion_allowed": True})
            session.delete(path)
            is_left = session.read(path) is not None
        except RefusedError as exc:
            raise self._refused(exc.message) from exc
        if is_left:
            raise self._refused("it is still there")

    def _refused(self, why: str) -> RefusedError:
        return RefusedError(
            f"the key {self.seal.key} of {self.seal.mount} at {self.seal.address} was not deleted: {why}",
            code="seal-key-refused",
            remedy="give a token that may read, configure and delete it, then run the same command again",
        )


def system_authorities() -> str:
    """Return the authorities that this machine trusts, in PEM: a tenant's own Vault may have a public certificate."""
    context = ssl.create_default_context()
    return "".join(map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(binary_form=True)))
