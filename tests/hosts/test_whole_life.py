"""The whole life of a tenant with real machines and a Vault of its own, as `tools/demo_hosts.sh` plays it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT, make_checkout

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]


def test_a_tenant_is_made_claimed_filled_shredded_and_gone(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "check out")
    for name in (".venv", "tools"):
        place = checkout.root / name
        if not place.exists():
            place.symlink_to(Path(sys.prefix) if name == ".venv" else ROOT / name)

    try:
        done = subprocess.run(
            ["/bin/sh", str(checkout.root / "tools/demo_hosts.sh")],
            cwd=checkout.root, env=dict(os.environ), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=3000, check=False,
        )  # fmt: skip
    finally:
        checkout.run("sandbox", "down")

    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "handed over" in done.stdout
    assert "error[shred-receipt-missing]" in done.stderr
    assert "the Vault of acme is shredded" in done.stdout + done.stderr
