"""The tenant's page, followed: each block is run as it stands, in order, in one folder, against the real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509

from mutx_infra.adapters.x509 import check_receipt
from mutx_infra.vault.handover import Machine
from tests.support.administrator import handover_of
from tests.support.authorities import Authority, signing_request
from tests.support.checkout import ROOT
from tests.support.pgp import make_holder
from tests.support.vault import running_vault

PAGE = ROOT / "docs" / "how-to" / "hold-your-own-keys.md"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BINARIES = str(Path(sys.executable).parent)


def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    authority, *rest = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    type_in(tmp_path, authority)
    # The platform gets the certificate alone, so this authority cannot sign anything here.
    tenant_ca = Authority(x509.load_pem_x509_certificate((tmp_path / "admin-ca.pem").read_bytes()), None)  # type: ignore[arg-type]

    with running_vault(tenant_ca=tenant_ca) as vault:
        request, _ = signing_request(tmp_path, "acme-agent-1")
        host = Machine(
            name="acme-agent-1",
            key="agent-1",
            role="agent",
            address=IPv4Address("127.0.0.1"),
            request=request,
        )
        (tmp_path / "acme.vault.json").write_text(handover_of(vault, (host,)).text())
        for name in ("ann", "bob", "eve"):
            make_holder(tmp_path, name)
        for name in ("openai", "anthropic", "new-openai"):
            (tmp_path / f"{name}.key").write_text(f"sk-{name}\n")
        keygen = ["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id_ed25519")]
        subprocess.run(keygen, check=True)

        said = type_in(tmp_path, "\n".join(rest))

    assert len(rest) == 7
    assert "agent-1  openai     OPENAI_KEY" in said
    assert "sk-" not in said
    assert (tmp_path / "certificates" / "acme-agent-1.pem").exists()
    assert (tmp_path / "id_ed25519-cert.pub").exists()
    for kind in ("claim", "shred"):
        text = (tmp_path / f"acme.{kind}.json").read_text()
        assert check_receipt(text, tenant_ca.pem, "acme", f"vault-{kind}").tenant == "acme"  # type: ignore[arg-type]


def type_in(folder: Path, lines: str) -> str:
    """Run lines in a shell that ends at the first failure; returns what they printed."""
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", lines],
        cwd=folder,
        env={"PATH": f"{_BINARIES}:{os.environ['PATH']}", "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
