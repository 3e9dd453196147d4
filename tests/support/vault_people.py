"""Those who knock at a tenant's Vault in tests: hosts that were enrolled, and whoever speaks HTTP as they like."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mutx_infra.adapters.hvac_vault import HvacSession
from mutx_infra.vault.layout import CERT_AUTH
from mutx_infra.vault_ports import ClientCertificate
from tests.support.authorities import signing_request
from tests.support.vault import RunningVault
from tests.support.vault_enrolment import enrolled, entity_of, signed


@dataclass(frozen=True)
class Answer:
    """What came back: the status is 0 where there was no connection, as when TLS refuses a certificate."""

    status: int
    content: dict[str, Any] = field(default_factory=dict)
    text: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether a login gave nothing; a certificate out of its time or of the wrong use answers 500."""
        return self.status in {400, 403} or (
            self.status == 500 and "failed to verify client's certificate" in self.text
        )

    @property
    def token(self) -> str:
        """The token that a login gave."""
        assert self.status == 200, self
        return str(self.content["auth"]["client_token"])

    @property
    def data(self) -> dict[str, Any]:
        """What lies in the answer."""
        assert self.status == 200, self
        return dict(self.content["data"])

    @property
    def policies(self) -> list[str]:
        """What a login gave."""
        assert self.status == 200, self
        return sorted(self.content["auth"]["policies"])


def ask(
    vault: RunningVault,
    method: str,
    path: str,
    data: Mapping[str, Any] | None = None,
    *,
    token: str | None = None,
    shown: ClientCertificate | None = None,
    headers: Mapping[str, str] | None = None,
    source: str = "127.0.0.1",
) -> Answer:
    """Send one request as it is: no path is tidied up, no verb is doubted.

    Args:
        shown: the client certificate of the connection.
        source: the address that it comes from.
    """
    connection = http.client.HTTPSConnection(
        vault.address, vault.api_port, timeout=15, source_address=(source, 0), context=_context(vault, shown)
    )
    sent = {"X-Vault-Request": "true", **({"X-Vault-Token": token} if token else {}), **(headers or {})}
    try:
        connection.request(method, f"/v1/{path}", None if data is None else json.dumps(data), sent)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as exc:
        return Answer(0, text=str(exc))
    finally:
        connection.close()
    try:
        content = json.loads(text)
    except ValueError:
        content = {}
    return Answer(answer.status, content if isinstance(content, dict) else {}, text)


def login(vault: RunningVault, shown: ClientCertificate, role: str = "", **more: Any) -> Answer:
    """Log in by a certificate, as a role or as whatever fits."""
    return ask(vault, "POST", f"auth/{CERT_AUTH}/login", {"name": role} if role else {}, shown=shown, **more)


def token_of(session: HvacSession) -> str:
    """Return what a session logs in with, to be stolen."""
    return str(session._client.token)


@dataclass(frozen=True)
class Host:
    """A host of the tenant, enrolled.

    Attributes:
        shown: its certificate of the authority of machines.
        entity: id of its identity.
    """

    name: str
    agent_id: str | None
    shown: ClientCertificate
    entity: str

    def token(self, vault: RunningVault, source: str = "127.0.0.1") -> str:
        return login(vault, self.shown, self.name, source=source).token


def enroll(
    vault: RunningVault,
    admin: HvacSession,
    name: str,
    *,
    agent_id: str | None = None,
    address: str = "127.0.0.1",
    **settings: Any,
) -> Host:
    """Do what the tenant's administrator does for a host; `settings` change the role that it logs in by."""
    request, key = signing_request(vault.folder / "people", name)
    shown = _kept(vault, name, enrolled(admin, name, address, request, agent_id=agent_id, **settings), key)
    return Host(name, agent_id, shown, entity_of(admin, name))


def sign(vault: RunningVault, admin: HvacSession, name: str) -> ClientCertificate:
    """Have the authority of machines sign a new key."""
    request, key = signing_request(vault.folder / "people", name)
    return _kept(vault, name, signed(admin, name, request), key)


def _kept(vault: RunningVault, name: str, certificate: str, key: Path) -> ClientCertificate:
    people = vault.folder / "people"
    shown = ClientCertificate(people / f"{name}.machine.pem", people / f"{name}.machine.key")
    shown.certificate.write_text(certificate)
    shown.key.write_bytes(key.read_bytes())
    return shown


def deposit(session: HvacSession, path: str, value: str, cas: int = 0) -> None:
    """Put a provider key in."""
    session.write(f"byok/data/{path}", {"data": {"key": value}, "options": {"cas": cas}})


def seal_token(own: RunningVault) -> str:
    """Have a tenant's own Vault make the key `acme` for a seal, and a token that can use it and nothing else."""
    admin = own.as_admin()
    if "transit/" not in (admin.read("sys/mounts") or {}):
        admin.write("sys/mounts/transit", {"type": "transit"})
    admin.write("transit/keys/acme", {})
    policy = "".join(
        f'path "transit/{verb}/acme" {{ capabilities = ["update"] }}\n' for verb in ("encrypt", "decrypt")
    )
    admin.write("sys/policies/acl/seal", {"policy": policy})
    made = ask(
        own, "POST", "auth/token/create-orphan", {"policies": ["seal"], "period": "24h", "no_default_policy": True},
        token=token_of(admin),
    )  # fmt: skip
    return made.token


def _context(vault: RunningVault, shown: ClientCertificate | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=vault.server_ca.pem)
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    return context
