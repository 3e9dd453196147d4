"""A tenant's Vault on the real server, claimed and with hosts enrolled, as the tenant's own commands do it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from mutx_vault_verify.main import main
from release import RELEASE, Release, failing

from mutx_infra.adapters.hvac_vault import HvacSession
from mutx_infra.adapters.vault_templates import policy_texts
from mutx_infra.byok import Product
from mutx_infra.vault.handover import Handover, Machine
from mutx_infra.vault.layout import (
    CERT_AUTH,
    ONBOARDER,
    SSH_MOUNT,
    SSH_ROLE,
    SSH_TTL,
)
from mutx_infra.vault.manifest import make_manifest
from mutx_infra.vault_ports import ClientCertificate
from tests.support.administrator import Administrator
from tests.support.authorities import signing_request
from tests.support.pgp import Holder
from tests.support.vault import RunningVault, running_vault
from tests.support.vault_enrolment import enrolled
from tests.support.vault_product import begin, server_of

AGENT, GUARD, IDLE = "acme-agent-1", "acme-guard-1", "acme-agent-2"
ADDRESS_OF = {AGENT: "127.0.0.1", GUARD: "127.0.0.2", IDLE: "127.0.0.3"}
SSH_SETTINGS = {
    "key_type": "ca", "allow_user_certificates": True, "allow_host_certificates": False, "allowed_users": "mutx",
    "ttl": SSH_TTL, "max_ttl": SSH_TTL, "default_extensions": {"permit-pty": "", "permit-port-forwarding": ""},
}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What the program said."""

    status: int
    output: str
    error: str

    @property
    def failing(self) -> dict[str, str]:
        return failing(self.output)

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.output)
        return document

    def details(self, name: str) -> str:
        return "; ".join(c["detail"] for c in self.document["checks"] if c["name"] == name)


class TenantVault:
    """A running Vault and all that its tenant has to verify it with.

    Attributes:
        folder: of the tenant's own files.
    """

    def __init__(self, server: RunningVault, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.release = Release(folder)
        self.shares: list[str] = []
        self.certificate = server.client(server.tenant_ca, "ann@acme.example")
        self.manifest_file = self.release.sign(self.manifest())
        self.handover_file = self.hand_over()

    def manifest(self, **changed: Any) -> dict[str, Any]:
        """Return the manifest for a server whose files and ports are a test's."""
        plan = self.server.plan
        made = make_manifest(
            policy_texts(),
            RELEASE,
            paths=plan.paths,
            listen=f"{plan.listen}:{plan.api_port}",
            cluster_port=plan.cluster_port,
        )
        return {**made, **changed}

    def handover(self, **changed: Any) -> Handover:
        machines = tuple(
            Machine(
                name=name, key=name.removeprefix("acme-"), role=role, address=IPv4Address(ADDRESS_OF[name])
            )
            for name, role in ((AGENT, "agent"), (GUARD, "guard"), (IDLE, "agent"))
        )
        made = Handover(
            tenant=self.server.tenant, url=self.server.url, authority=self.server.server_ca.pem,
            admin_ca=self.server.tenant_ca.pem, seal=self.server.seal.type, release=RELEASE,
            digests=self.server.layout.digests(), machines=machines, product=self.server.product,
            platform_ca=None if self.server.product is Product.OPENBAO else self.server.platform_ca.pem,
        )  # fmt: skip
        return made.model_copy(update=changed)

    def hand_over(self, name: str = "acme.vault.json", **changed: Any) -> Path:
        """Write the operator's file."""
        path = self.folder / name
        path.write_text(self.handover(**changed).text())
        return path

    @property
    def product(self) -> Product:
        return self.server.product

    def begin(self) -> tuple[Administrator, Holder]:
        """Have the tenant make it where the server does not make itself; return who did, and who has the share."""
        ann = Administrator(self.server, self.folder / "ann")
        ann.hand_over(self.handover())
        holder = begin(ann)
        if self.product is Product.VAULT:
            (share,) = self.folder.glob("ann/acme-recovery/*")
            self.shares = [holder.decrypt(share.read_bytes()).decode()]
        return ann, holder

    def claim(self) -> None:
        """Do what `vault claim` does: recovery keys, the SSH authority, the end of the onboarder."""
        with self.as_admin() as admin:
            if self.product is Product.OPENBAO:
                keys = admin.write("sys/rotate/recovery/init", {"secret_shares": 1, "secret_threshold": 1})
                self.shares = list(keys["keys_base64"])
            admin.write(f"{SSH_MOUNT}/config/ca", {"generate_signing_key": True, "key_type": "ed25519"})
            admin.write(f"{SSH_MOUNT}/roles/{SSH_ROLE}", SSH_SETTINGS)
            admin.delete(f"auth/{CERT_AUTH}/certs/{ONBOARDER}")
            for accessor in admin.list("auth/token/accessors"):
                token = admin.write("auth/token/lookup-accessor", {"accessor": accessor})
                if (token["meta"] or {}).get("cert_name") == ONBOARDER:
                    admin.write("auth/token/revoke-accessor", {"accessor": accessor})

    def enroll(self, host: str, *, is_agent: bool) -> ClientCertificate:
        """Do what `vault enroll` does for one host, and return what the host then logs in with."""
        request, key = signing_request(self.server.folder / "people", host)
        with self.as_admin() as admin:
            agent = host.removeprefix("acme-") if is_agent else None
            signed = enrolled(admin, host, ADDRESS_OF[host], request, agent_id=agent)
        certificate = self.server.folder / "people" / f"{host}.pem"
        certificate.write_text(signed)
        return ClientCertificate(certificate, key)

    @contextmanager
    def as_admin(self) -> Iterator[HvacSession]:
        session = self.server.as_admin()
        yield session
        session.end()

    def arguments(self, **changed: Path | str | None) -> list[str]:
        """Return what the tenant types; a None leaves an option out."""
        given: Mapping[str, Path | str | None] = {
            "vault": self.handover_file, "manifest": self.manifest_file, "release_key": self.release.key_file,
            "cert": self.certificate.certificate, "key": self.certificate.key, **changed,
        }  # fmt: skip
        return [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None]

    def verify(self, *more: str, **changed: Path | str | None) -> Verdict:
        """Run the program in this process; the seal of the tests' server is one for trials."""
        output, error = io.StringIO(), io.StringIO()
        with redirect_stdout(output), redirect_stderr(error):
            status = main([*self.arguments(**changed), "--json", "--allow-trial-seal", *more])
        return Verdict(status, output.getvalue(), error.getvalue())


@contextmanager
def tenant_vault(folder: Path, **more: Any) -> Iterator[TenantVault]:
    """Yield a Vault on OpenBao as it is handed over, unclaimed."""
    with running_vault(**more) as server:
        yield TenantVault(server, folder)


@contextmanager
def vault_of(product: Product, folder: Path) -> Iterator[TenantVault]:
    """Yield a Vault on either server as it is before the claim."""
    with server_of(product) as server:
        made = TenantVault(server, folder)
        if product is Product.VAULT:
            made.begin()
        yield made
