"""SSH certificates for operators, by the tenant's own authority: for half an hour, for a named account, never root."""

from __future__ import annotations

from mutx_infra.errors import RefusedError, UsageError
from mutx_infra.vault.handover import Handover
from mutx_infra.vault.layout import SSH_MOUNT, SSH_ROLE
from mutx_infra.vault.products import ssh_authority
from mutx_infra.vault_ports import VaultSession

MAX_MINUTES = 30
_KINDS = ("ssh-ed25519", "ecdsa-sha2-", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-", "ssh-rsa")


def sign_operator(
    session: VaultSession, handover: Handover, public_key: str, principal: str, minutes: int
) -> str:
    """Return a certificate for a public key, as OpenSSH reads it.

    Raises:
        UsageError: the key is none (code `ssh-key-invalid`), or the time is out of range (`ssh-minutes`).
        RefusedError: the tenant has no SSH authority yet (code `vault-unclaimed`), or its authority names nobody so
            (`principal-refused`).
    """
    tenant, words = handover.tenant, public_key.split()
    if len(words) < len(("kind", "key")) or not words[0].startswith(_KINDS) or "\n" in public_key.strip():
        raise UsageError(
            "this is no public key of OpenSSH's",
            code="ssh-key-invalid",
            remedy="give the file that ends in .pub; the key itself stays where it is",
        )
    if not 1 <= minutes <= MAX_MINUTES:
        raise UsageError(
            f"a certificate is for 1 to {MAX_MINUTES} minutes",
            code="ssh-minutes",
            remedy="ask for less, and for another one when it ends",
        )
    role = session.read(f"{SSH_MOUNT}/roles/{SSH_ROLE}")
    if role is None or not ssh_authority(handover.product, session):
        raise RefusedError(
            f"{tenant} has no SSH authority yet",
            code="vault-unclaimed",
            remedy=f"claim the Vault first: `mutx-infra vault claim {tenant} --pgp-key FILE`",
        )
    if principal not in str(role["allowed_users"]).split(","):
        raise RefusedError(
            f"the authority of {tenant} makes certificates for {role['allowed_users']}, not for {principal}",
            code="principal-refused",
            remedy="name one of these; `mutx-infra vault claim --principal` says which there are",
        )
    asked = {"public_key": " ".join(words[:2]), "valid_principals": principal, "ttl": f"{minutes}m"}
    return str(session.write(f"{SSH_MOUNT}/sign/{SSH_ROLE}", asked)["signed_key"])
