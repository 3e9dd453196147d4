"""What a host takes for the tenant's claim: the SSH authority of the Vault that it knows, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.authorities import make_authority
from tests.support.programs import load_program
from tests.support.vault import RunningVault, running_vault

pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def program() -> ModuleType:
    return load_program("host/files/mutx-hand-over")


@pytest.fixture(scope="module")
def vault() -> Iterator[RunningVault]:
    with running_vault() as made:
        yield made


def settings(vault: RunningVault, tmp_path: Path, authority: str, *servers: str) -> dict[str, object]:
    (tmp_path / "ca.crt").write_text(authority)
    return {"servers": [*servers, vault.url], "authorities": str(tmp_path / "ca.crt")}


def test_an_unclaimed_vault_is_no_claim_and_a_claimed_one_gives_its_key(
    program: ModuleType, vault: RunningVault, tmp_path: Path
) -> None:
    asked = settings(vault, tmp_path, vault.server_ca.pem)
    before = program.tenant_key(asked)
    admin = vault.as_admin()
    made = admin.write("ssh/config/ca", {"generate_signing_key": True})["public_key"]

    after = program.tenant_key(asked)

    assert before is None
    assert after == " ".join(made.split()[:2])


def test_a_node_that_is_away_is_passed_over(program: ModuleType, vault: RunningVault, tmp_path: Path) -> None:
    asked = settings(vault, tmp_path, vault.server_ca.pem, "https://127.0.0.1:1")

    assert program.tenant_key(asked).startswith(("ssh-", "ecdsa-"))


def test_a_server_of_another_authority_is_no_claim(
    program: ModuleType, vault: RunningVault, tmp_path: Path
) -> None:
    asked = settings(vault, tmp_path, make_authority("somebody else").pem)

    assert program.tenant_key(asked) is None


@pytest.mark.parametrize(
    "text",
    ["", "<html>", "ssh-rsa", "ssh-rsa AAAA\nssh-rsa BBBB", 'command="x" ssh-rsa AAAA', "ssh-dss AAAA"],
)
def test_an_answer_that_is_no_public_key_is_no_claim(program: ModuleType, text: str) -> None:
    assert program.KEY.fullmatch(text) is None
