"""What `vault enroll` does, through the API and with nothing of its code: for tests of all that comes after it."""

from __future__ import annotations

from typing import Any

from mutx_infra.adapters.hvac_vault import HvacSession
from mutx_infra.vault.layout import (
    CERT_AUTH,
    MACHINE_PKI,
    SERVICE_PKI,
    issuing_role,
    machine_role,
    signing_role,
)


def enrolled(
    admin: HvacSession, name: str, address: str, request: str, *, agent_id: str | None = None, **settings: Any
) -> str:
    """Enroll a host and return its certificate.

    Args:
        address: that it logs in from.
        request: for the certificate, in PEM.
        agent_id: whose keys it reads, where it is an agent's.
        settings: other than those that the role it logs in by should have.
    """
    admin.write(f"{SERVICE_PKI}/roles/{name}", issuing_role(name))
    admin.write(f"{MACHINE_PKI}/roles/{name}", signing_role(name))
    certificate = signed(admin, name, request)
    authority = (admin.read(f"{MACHINE_PKI}/cert/ca") or {})["certificate"]
    role = machine_role(name, address, is_agent=agent_id is not None).settings()
    admin.write(f"auth/{CERT_AUTH}/certs/{name}", {**role, "certificate": authority, **settings})
    metadata = {"host": name, **({"agent_id": agent_id} if agent_id else {})}
    admin.write(f"identity/entity/name/{name}", {"metadata": metadata})
    accessor = (admin.read("sys/auth") or {})[f"{CERT_AUTH}/"]["accessor"]
    alias = {"name": name, "canonical_id": entity_of(admin, name), "mount_accessor": accessor}
    admin.write("identity/entity-alias", alias)
    return certificate


def signed(admin: HvacSession, name: str, request: str, ttl: str = "720h") -> str:
    """Return a certificate for a host's request."""
    made = admin.write(f"{MACHINE_PKI}/sign/{name}", {"csr": request, "common_name": name, "ttl": ttl})
    return f"{made['certificate'].strip()}\n"


def entity_of(admin: HvacSession, name: str) -> str:
    """Return the id of a host's identity."""
    return str((admin.read(f"identity/entity/name/{name}") or {})["id"])
