"""A Vault host with HashiCorp's server by the playbook: empty until its tenant makes the Vault. On a real machine."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate

from mutx_infra.byok import Product
from mutx_infra.vault.places import OWN_AUTHORITY
from tests.support.administrator import Administrator
from tests.support.authorities import Authority
from tests.support.machines import SSH
from tests.support.vault import RunningVault
from tests.support.vault_hosts import Tenant, seal_of, vault_hosts
from tests.support.vault_machine import deposit
from tests.support.vault_product import hashicorp, holders_of

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

NAME = "trial-1"
KEY = "byok/data/shared/openai"
MARKED = """import os, struct; os.setxattr('/usr/bin/vault', 'security.capability',
struct.pack('<IIIII', 0x02000001, 1 << 14, 0, 0, 0))"""
"""As the vendor's package does it: the program has CAP_IPC_LOCK of its own."""


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    with vault_hosts(tmp_path_factory.mktemp("product"), NAME, product=Product.VAULT) as made:
        bring_the_program(made)
        yield made


def bring_the_program(tenant: Tenant) -> None:
    command = [SSH, "-F", str(tenant.hosts.files() / "ssh_config"), NAME, "sudo", "sh", "-c"]
    with Path(hashicorp()).open("rb") as program:
        subprocess.run(
            [*command, "'cat >/usr/bin/vault; chmod 755 /usr/bin/vault'"], stdin=program, check=True
        )
    tenant.root(NAME, f'python3 -c "{MARKED}"')


@pytest.fixture(scope="module")
def ann(tenant: Tenant, tmp_path_factory: pytest.TempPathFactory) -> Administrator:
    """The tenant's administrator, with the hand-over file of the host as it came up."""
    tenant.converge()
    tenant.known_by[NAME] = tenant.root(NAME, f"cat {OWN_AUTHORITY}") + "\n"
    certificate = load_pem_x509_certificate(tenant.known_by[NAME].encode())
    vault = RunningVault(
        "trial",
        tmp_path_factory.mktemp("vault"),
        str(tenant.machines[0].address),
        tenant.authority,
        tenant.platform,
        Authority(certificate, tenant.authority.key),  # its key is the host's
        seal_of(tenant.own),
        product=Product.VAULT,
    )
    vault.api_port = 8200
    return Administrator(vault, vault.folder / "ann")


def test_it_comes_up_empty_and_a_further_run_changes_nothing(tenant: Tenant, ann: Administrator) -> None:
    health = tenant.there(ann.vault.vault.health)
    again = tenant.converge()

    assert not health.is_initialized
    assert again.changed() == {NAME: 0}


def test_its_tenant_makes_it_and_it_opens_by_itself_after_a_kill(tenant: Tenant, ann: Administrator) -> None:
    (holder,) = holders_of(ann, "ann")
    words = ["initialise", "trial", "--pgp-key", holder.public.name]
    tenant.there(lambda: ann.run(*words))
    tenant.there(lambda: deposit(tenant.enter(tenant.machines[0]), KEY, "sk-machine"))

    tenant.root(NAME, "systemctl kill -s KILL openbao; sleep 3; /usr/libexec/mutx/mutx-vault wait 60")
    read = tenant.there(lambda: tenant.enter(tenant.machines[0]).read(KEY))
    logged = tenant.root(
        NAME, "wc -l </var/log/openbao/audit.log; stat -c '%U %a' /var/log/openbao/audit.log"
    )

    assert read is not None
    assert read["data"]["value"] == "sk-machine"
    assert int(logged.split()[0]) > 10
    assert logged.split()[1:] == ["openbao", "600"]
    assert tenant.converge().changed() == {NAME: 0}


def test_it_is_made_anew_until_it_is_claimed_and_never_after(tenant: Tenant, ann: Administrator) -> None:
    anew = "/usr/libexec/mutx/mutx-vault make-anew; /usr/libexec/mutx/mutx-vault wait 60"
    tenant.root(NAME, anew)
    emptied = tenant.there(ann.vault.vault.health)
    for path in (*ann.folder.glob("trial-recovery/*"), ann.folder / "trial.initialise.json"):
        path.unlink()
    (holder,) = holders_of(ann, "bob")
    words = ["--pgp-key", holder.public.name]
    tenant.there(lambda: ann.run("initialise", "trial", *words))
    tenant.there(lambda: ann.run("claim", "trial", *words))

    refused = tenant.root(NAME, f"({anew}) 2>&1 || true") if still_lets_in(tenant) else "claimed"

    assert not emptied.is_initialized
    assert "claimed" in refused
    assert tenant.there(ann.vault.vault.health).is_initialized


def still_lets_in(tenant: Tenant) -> bool:
    """Say whether SSH to the host is open yet: it ends within a minute after the claim."""
    try:
        time.sleep(1)
        tenant.root(NAME, "true")
    except AssertionError:
        return False
    return True
