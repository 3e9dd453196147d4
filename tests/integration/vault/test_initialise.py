"""`vault initialise`: a tenant makes a Vault that does not make itself.

OpenBao stands in, told to wait for its tenant; in the long form it is HashiCorp's server itself.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mutx_infra.adapters.hvac_vault import HvacVault
from mutx_infra.byok import Byok, Product
from mutx_infra.errors import RefusedError
from mutx_infra.records import TenantState
from tests.support.administrator import Administrator, handover_of
from tests.support.authorities import make_authority
from tests.support.checkout import ROOT
from tests.support.custody import VaultYard
from tests.support.pgp import Holder
from tests.support.vault import BAO, RunningVault, running_vault
from tests.support.vault_product import empty_vault, hashicorp, holders_of, initialise


@pytest.fixture(scope="module")
def own() -> Iterator[RunningVault]:
    with running_vault("tenant") as made:
        yield made


@pytest.fixture(
    params=[
        pytest.param("openbao", id="openbao"),
        pytest.param("hashicorp", id="hashicorp", marks=pytest.mark.full),
    ]
)
def binary(request: pytest.FixtureRequest) -> str:
    return BAO if request.param == "openbao" else hashicorp()


@pytest.fixture
def vault(own: RunningVault, binary: str) -> Iterator[RunningVault]:
    with empty_vault(own, binary) as made:
        yield made


@pytest.fixture
def ann(vault: RunningVault, tmp_path: Path) -> Administrator:
    return Administrator(vault, tmp_path / "ann")


@pytest.fixture
def holders(ann: Administrator) -> tuple[Holder, ...]:
    return holders_of(ann, "ann", "bob", "eve")


def test_from_an_empty_server_to_a_key_that_an_agent_reads(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...], tmp_path: Path
) -> None:
    """The operator and the tenant in turn, each with what the other one gave."""
    yard = yard_of(vault, tmp_path / "platform")
    there = ("--address", vault.url)

    first = yard.custody().hand_over("acme", yard.listener)
    assert (first.is_empty, yard.record.state, yard.record.vault) == (True, TenantState.READY, None)
    ann.hand_over(first.handover)
    ann.run(*initialise(ann, holders), *there)
    assert '"sys/audit/' in vault.audit_log.read_text().splitlines()[0]
    assert not [token for token in tokens_of(vault) if "root" in token["policies"]]
    second = yard.custody().hand_over("acme", yard.listener)
    assert (second.is_empty, yard.record.state) == (False, TenantState.AWAITING_CLAIM)
    ann.hand_over(second.handover)
    keys = [word for holder in holders for word in ("--pgp-key", holder.public.name)]
    ann.run("claim", "acme", *keys, *there)
    yard.custody().take_claim("acme", (ann.folder / "acme.claim.json").read_text(), yard.listener)
    ann.run("enroll", "acme", "--all", "--yes", "--out", "signed", *there)
    ann.run("deposit", "acme", "openai", "--agent", "agent-1", *there, given="sk-deposited")

    assert yard.record.is_handed_over
    assert ann.json("list", "acme", *there)["keys"][0]["version"] == 1
    assert "sk-deposited" not in vault.audit_log.read_text()
    subprocess.run(
        ["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ann.folder / "id")], check=True
    )
    ann.run("ssh-sign", "acme", "id.pub", "--principal", "converge@acme", *there)
    told = ann.json("shred", "acme", "--yes", *there)
    assert (told["seal_key_destroyed"], bool(told["next_step"])) == (False, True)


def yard_of(vault: RunningVault, folder: Path) -> VaultYard:
    """Return the platform's side, of a tenant whose spec asks for HashiCorp's server."""
    folder.mkdir()
    yard = VaultYard(
        folder, vault.tenant_ca, vault.platform_ca, vault.server_ca,
        lambda address: HvacVault(replace(address, server_name=None)),
    )  # fmt: skip
    byok = {"admin_ca": vault.tenant_ca.pem, "seal": vault.seal.model_dump(), "server": "vault"}
    spec = yard.record.spec.model_copy(update={"byok": Byok.model_validate(byok)})
    yard.world.registry.update("acme", spec=spec)
    yard.hosts.url = vault.url
    yard.custody().collect_authorities("acme")
    return yard


def test_it_is_claimed_with_the_holders_of_its_beginning_and_no_others(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...]
) -> None:
    keys = [word for holder in holders for word in ("--pgp-key", holder.public.name)]
    assert ann.refusal("claim", "acme", *keys) == ("vault-empty", 4)
    told = ann.json(*initialise(ann, holders))
    assert told["digests"] == vault.layout.digests()
    assert len({holder.decrypt(Path(ann.folder, f).read_bytes()) for holder, f in shares(told, holders)}) == 3
    again = ann.json(*initialise(ann, holders))
    assert (again["was_initialised_before"], again["shares"]) == (True, [])
    assert ann.refusal("claim", "acme", *keys[:4]) == ("claim-other-keys", 4)
    assert ann.refusal("claim", "acme", *keys, "--initialised", "none.json") == ("vault-not-initialised", 4)

    claimed = ann.json("claim", "acme", *keys)

    assert (claimed["was_claimed_before"], claimed["threshold"]) == (False, 2)
    assert claimed["ssh_authority"].startswith("ssh-ed25519 ")
    assert {each["verdict"] for each in claimed["compared"]} == {"same", "missing"}
    with pytest.raises(RefusedError):
        vault.as_onboarder()
    assert ann.json("claim", "acme", *keys)["was_claimed_before"] is True
    assert ann.refusal(*initialise(ann, holders)) == ("vault-claimed", 4)


@pytest.mark.parametrize(
    ("number", "came"),
    [
        pytest.param(1, "initialise-lost", id="nothing is kept", marks=pytest.mark.full),
        pytest.param(4, "initialise-lost", id="nobody logs in"),
        pytest.param(5, "", id="administrators do"),
        pytest.param(6, "", id="no root token", marks=pytest.mark.full),
        pytest.param(9, "", id="half the layout", marks=pytest.mark.full),
    ],
)
def test_one_that_is_killed_goes_on_or_says_that_it_cannot(
    vault: RunningVault, ann: Administrator, number: int, came: str
) -> None:
    """SIGKILL after a change: until administrators can log in it is to be made anew, afterwards it goes on."""
    holders = holders_of(ann, "ann", "bob")
    command = [sys.executable, "-m", "tests.support.killed", "initialise", str(ann.folder), str(number)]
    done = subprocess.run(
        [*command, str(vault.audit_log)], cwd=ROOT, env=ann.variables(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr

    again = ann.run(*initialise(ann, holders), expect=None)

    assert (f"error[{came}]" in again.stderr) if came else (again.returncode == 0)


@pytest.fixture(scope="module")
def untouched(own: RunningVault) -> Iterator[RunningVault]:
    """For what changes nothing."""
    with empty_vault(own) as made:
        yield made


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"seal": "awskms"}, ("vault-differs", 6)),
        ({"digests": {"policy agent": "0" * 64}}, ("handover-release", 3)),
        ({"admin_ca": make_authority("platform").pem}, ("handover-not-yours", 3)),
        ({"authority": make_authority("x").pem}, ("vault-not-trusted", 5)),
        ({"product": Product.OPENBAO, "platform_ca": None}, ("initialise-not-needed", 4)),
    ],
    ids=["another seal", "another release", "another's authority", "another server", "makes itself"],
)
def test_a_file_that_does_not_fit_initialises_nothing(
    untouched: RunningVault, tmp_path: Path, changed: dict[str, object], refused: tuple[str, int],
) -> None:  # fmt: skip
    ann = Administrator(untouched, tmp_path)
    ann.hand_over(handover_of(untouched).model_copy(update=changed))

    assert ann.refusal(*initialise(ann, holders_of(ann, "ann"))) == refused
    assert not untouched.vault.health().is_initialized


def test_a_vault_that_somebody_else_initialised_is_not_taken(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...]
) -> None:
    vault.vault.unknown().write("sys/init", {"recovery_shares": 1, "recovery_threshold": 1})

    assert ann.refusal(*initialise(ann, holders)) == ("initialise-lost", 4)


def tokens_of(vault: RunningVault) -> list[Mapping[str, Any]]:
    admin = vault.as_admin()
    return [
        admin.write("auth/token/lookup-accessor", {"accessor": each})
        for each in admin.list("auth/token/accessors")
    ]


def shares(told: dict[str, list[dict[str, str]]], holders: tuple[Holder, ...]) -> list[tuple[Holder, str]]:
    files = {share["fingerprint"]: share["file"] for share in told["shares"]}
    return [(holder, files[holder.fingerprint]) for holder in holders]
