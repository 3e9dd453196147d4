"""A tenant's Vault that its tenant initialises, sealed by a key in another one; HashiCorp's server for long tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mutx_infra.byok import Product, TransitSeal
from tests.support.administrator import Administrator
from tests.support.checkout import ROOT
from tests.support.pgp import Holder, make_holder
from tests.support.vault import BAO, RunningVault, running_vault
from tests.support.vault_people import seal_token


def hashicorp() -> str:
    """Return HashiCorp's server, built if it was never built on this machine; that takes long."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "get_vault.py")],
        stdout=subprocess.PIPE, text=True, check=True, env=dict(os.environ),
    )  # fmt: skip
    return str(Path(done.stdout.strip()) / "vault")


@contextmanager
def empty_vault(own: RunningVault, binary: str = BAO) -> Iterator[RunningVault]:
    """Yield a Vault as it comes up where the server does not make itself."""
    with running_vault(
        seal=TransitSeal(type="transit", address=own.url, key="acme", ca=own.server_ca.pem),
        variables={"VAULT_TOKEN": seal_token(own)},
        product=Product.VAULT,
        binary=binary,
    ) as made:
        yield made


SERVERS = (
    pytest.param(Product.OPENBAO, id="openbao"),
    pytest.param(Product.VAULT, id="hashicorp", marks=pytest.mark.full),
)
"""For fixtures of what is to hold of both."""


@contextmanager
def server_of(product: Product) -> Iterator[RunningVault]:
    """Yield a Vault as it comes up: OpenBao made, HashiCorp's server empty."""
    if product is Product.OPENBAO:
        with running_vault() as made:
            yield made
        return
    with running_vault("tenant") as own, empty_vault(own, hashicorp()) as made:
        yield made


def begin(ann: Administrator) -> Holder:
    """Have the tenant make its Vault where that does not make itself; return who holds the recovery key."""
    (holder,) = holders_of(ann, "ann")
    if ann.vault.product is Product.VAULT:
        ann.run(*initialise(ann, (holder,)))
    return holder


def holders_of(ann: Administrator, *names: str) -> tuple[Holder, ...]:
    return tuple(make_holder(ann.folder, name) for name in names)


def initialise(ann: Administrator, holders: tuple[Holder, ...], *more: str) -> list[str]:
    """Return the words of the command by which the tenant makes its Vault."""
    keys = [word for holder in holders for word in ("--pgp-key", holder.public.name)]
    return ["initialise", ann.vault.tenant, *keys, "--audit-log", str(ann.vault.audit_log), *more]
