"""An environment with tenants in its registry, and nothing behind them: for commands that read the registry alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from mutx_infra.adapters.sql_registry import SqlRegistry
from mutx_infra.tenant import TenantSpec
from tests.support.registry import HandClock
from tests.support.specs import ACCOUNT, an_allocation


def write_profile(folder: Path, specs: Sequence[TenantSpec], **tailnet: object) -> Path:
    """Register tenants below a directory; returns the profile that names the registry."""
    registry = f"sqlite:///{folder}/registry.db"
    tenants = SqlRegistry(registry, HandClock())
    for number, spec in enumerate(specs):
        allocation = an_allocation(spec, f"10.0.{number}.0/24")
        tenants.reserve(spec, lambda _, chosen=allocation: chosen)  # type: ignore[misc]
    (folder / "passphrase").write_text("x", "ascii")
    document = {
        "version": 1,
        "name": "trial",
        "aws": {"account_id": ACCOUNT, "endpoint_url": "http://127.0.0.1:1"},
        "pulumi": {"backend_url": f"file://{folder}", "passphrase_file": str(folder / "passphrase")},
        "registry": {"url": registry},
        "tailnet": tailnet,
    }
    file = folder / "trial.yaml"
    file.write_text(yaml.safe_dump(document), "utf-8")
    return file
