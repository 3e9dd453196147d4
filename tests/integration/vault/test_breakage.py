"""A tenant's Vault whose disk is full, whose server is killed, whose key is out of reach."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mutx_infra.byok import TransitSeal
from mutx_infra.errors import MutxInfraError, OutsideError
from mutx_infra.vault.layout import POLICIES
from mutx_infra.vault.server import Start
from tests.support.vault import RunningVault, running_vault
from tests.support.vault_nodes import (
    Writer,
    can_enter,
    joining_node,
    servers,
    watched_vault,
)
from tests.support.vault_people import ask, deposit, seal_token, token_of
from tests.support.waiting import until

KILLED_AT = (0.4, 0.75, 0.9)
"""Parts of an uninterrupted first start after which the server is killed."""


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Mount a file system of 256 KiB over a directory."""
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["/bin/umount", "-l", place], check=True)


def _fill(disk: Path) -> Path:
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(1024))
    return filler


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_vault_that_cannot_log_refuses_and_serves_again_once_it_can() -> None:
    with running_vault() as vault:
        vault.stop()
        log = vault.audit_log.read_bytes()
        with small_disk(vault.audit_log.parent) as disk:
            vault.start()
            admin = vault.as_admin()
            deposit(admin, "shared/before", "sk-before")

            filler = _fill(disk)
            with pytest.raises(OutsideError) as refused:
                until_refused(admin)
            status = ask(vault, "GET", "byok/data/shared/before", token=token_of(admin)).status
            with pytest.raises(MutxInfraError):
                vault.as_admin("eve")
            filler.unlink()

            assert refused.value.code == "vault-failing"
            assert "audit" in refused.value.remedy
            assert status == 500
            assert admin.read("byok/data/shared/before")["data"] == {"key": "sk-before"}  # type: ignore[index]
            deposit(admin, "shared/after", "sk-after")
            assert not vault.vault.health().is_sealed
            assert log
            vault.stop()


def until_refused(admin: object) -> None:
    """Read until the log's last free bytes are gone."""
    for _ in range(200):
        admin.read("byok/data/shared/before")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "killed_at",
    [KILLED_AT, pytest.param(tuple(n / 20 for n in range(1, 21)), marks=pytest.mark.full)],
    ids=["some", "many"],
)
def test_a_first_start_that_was_killed_anywhere_is_gone_on_with(killed_at: tuple[float, ...]) -> None:
    """The rule of `mutx_infra.vault.server`, with a real server and real kills."""
    with watched_vault() as watched:
        assert watched.start() is Start.BEGIN
        whole = until(lambda: watched.is_ready(60), "it was never ready")
        assert _is_whole(watched.vault)
        watched.kill()

        cut_off = 0
        for part in killed_at:
            _forget(watched.vault.folder)
            watched.start()
            was_ready = watched.is_ready(part * whole)
            watched.kill()
            cut_off += not was_ready and any(watched.storage.iterdir())

            step = watched.start()

            assert step in ({Start.SERVE} if was_ready else {Start.CLEAR, Start.BEGIN})
            if step is Start.SERVE:
                until(lambda: can_enter(watched.vault), "it does not serve")
            else:
                assert watched.is_ready(60), f"not ready after it was killed at {part}"
            assert _is_whole(watched.vault), f"killed at {part}"
            watched.kill()
        assert cut_off >= 1, "no kill hit a start at work: this shows nothing"


def test_what_a_start_leaves_that_was_cut_off_is_no_vault_that_anybody_could_use() -> None:
    """Why it is cleared away: the same store never becomes complete by itself."""
    with watched_vault() as watched:
        watched.start()
        until((watched.vault.folder / "audit" / "audit.log").exists, "it logs nothing", 30)
        watched.kill()
        assert any(watched.storage.iterdir())

        (watched.vault.folder / "begun").unlink()
        assert watched.start() is Start.REFUSE_FOREIGN  # started all the same, to see

        assert not watched.is_ready(6) or not _is_whole(watched.vault)


def test_the_server_says_that_it_is_ready_once_it_has_made_everything() -> None:
    """On which the mark `complete` rests."""
    with watched_vault() as watched:
        watched.start()
        assert watched.is_ready(60)

        assert can_enter(watched.vault)
        assert _is_whole(watched.vault)
        assert _root_tokens(watched.vault) == []


def test_no_deposit_that_was_answered_is_lost_when_the_server_is_killed() -> None:
    with watched_vault() as watched:
        watched.start()
        assert watched.is_ready(60)
        written = Writer(lambda: watched.vault.as_admin("writer"))
        written.run_until(12)

        watched.kill()
        written.stop()
        assert watched.start() is Start.SERVE
        until(lambda: can_enter(watched.vault), "it does not serve")

        assert written.missing(watched.vault.as_admin()) == []


def test_a_node_joins_by_the_seal_s_key_and_by_nothing_else() -> None:
    """Anybody may ask to join, and is asked to decrypt something first: the key is what the tenant guards."""
    with running_vault() as vault:
        with joining_node(vault, bytes(32)) as stranger:
            until(lambda: stranger.state() is not None, "it does not run")
            with pytest.raises(AssertionError, match="it did not join"):
                until(lambda: "acme-vault-9" in servers(vault), "it did not join", 4)
            state = stranger.state()
        assert state is None or state.is_sealed or not state.is_initialized

        with joining_node(vault, (vault.folder / "seal.key").read_bytes()):
            until(lambda: "acme-vault-9" in servers(vault), "nobody joins: this shows nothing")


def test_a_vault_is_closed_while_the_tenant_s_seal_is_gone_and_opens_when_it_is_back() -> None:
    with running_vault("tenants-own") as own:
        token = seal_token(own)
        seal = TransitSeal(type="transit", address=own.url, key="acme", ca=own.server_ca.pem)
        with running_vault(seal=seal, variables={"VAULT_TOKEN": token, "BAO_TOKEN": token}) as vault:
            deposit(vault.as_admin(), "shared/openai", "sk-sealed")
            assert vault.vault.health().seal == "transit"
            vault.stop()
            own.stop()

            with pytest.raises(AssertionError, match="no Vault"):
                vault.start(within_s=5)
            assert not _answers(vault)
            vault.stop()

            own.start()
            vault.start()
            assert vault.as_admin().read("byok/data/shared/openai")["data"] == {"key": "sk-sealed"}  # type: ignore[index]

            vault.stop()
            admin = own.as_admin()
            admin.write("transit/keys/acme/config", {"deletion_allowed": True})
            admin.delete("transit/keys/acme")
            with pytest.raises(AssertionError, match="no Vault"):
                vault.start(within_s=5)
            assert not _answers(vault)


def _answers(vault: RunningVault) -> bool:
    try:
        vault.as_admin().end()
    except MutxInfraError:
        return False
    return True


def _forget(folder: Path) -> None:
    """Take a host back to before its first start."""
    for name in ("begun", "complete"):
        (folder / name).unlink(missing_ok=True)
    for path in sorted((folder / "storage").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def _is_whole(vault: RunningVault) -> bool:
    """Say whether everything is there that the layout has."""
    if not can_enter(vault):
        return False
    admin = vault.as_admin()
    mounts = admin.read("sys/mounts") or {}
    return (
        set(POLICIES) <= set(admin.list("sys/policies/acl"))
        and {f"{mount.path}/" for mount in vault.layout.mounts} <= set(mounts)
        and {role.name for role in vault.layout.roles} <= set(admin.list("auth/cert/certs"))
        and bool((admin.read("byok/config") or {}).get("cas_required"))
        and _root_tokens(vault) == []
    )


def _root_tokens(vault: RunningVault) -> list[str]:
    admin = vault.as_admin()
    found = []
    for accessor in admin.list("auth/token/accessors"):
        said = ask(vault, "POST", "auth/token/lookup-accessor", {"accessor": accessor}, token=token_of(admin))
        if said.status == 200 and "root" in said.data["policies"]:
            found.append(accessor)
    return found
