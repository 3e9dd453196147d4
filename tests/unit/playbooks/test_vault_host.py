"""What a Vault's host does around a server that its tenant initialises: it waits for nothing, and removes with care."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.programs import load_program

EMPTY, OPEN = {"initialized": False, "sealed": True}, {"initialized": True, "sealed": False}
SEALED, SILENT = {"initialized": True, "sealed": True}, {"silent": "nobody answers"}


@pytest.fixture
def program() -> ModuleType:
    return load_program("vault/files/mutx-vault")


def settings(*, awaits_tenant: bool = True) -> dict[str, Any]:
    return {"initialises": not awaits_tenant, "awaits_tenant": awaits_tenant, "url": "https://10.0.0.4:8200"}


@pytest.mark.parametrize(
    ("health", "awaits_tenant", "is_up"),
    [
        (EMPTY, True, True),
        (EMPTY, False, False),
        (OPEN, True, True),
        (OPEN, False, True),
        (SEALED, True, False),
        (SEALED, False, False),
        (SILENT, True, False),
    ],
)
def test_an_empty_server_is_up_where_its_tenant_initialises_it(
    program: ModuleType, health: dict[str, object], awaits_tenant: bool, is_up: bool
) -> None:
    assert program.is_up(settings(awaits_tenant=awaits_tenant), health) is is_up


@pytest.mark.parametrize(
    ("health", "claimed", "awaits_tenant"),
    [(OPEN, True, True), (SEALED, False, True), (SILENT, False, True), (OPEN, False, False)],
    ids=["claimed", "sealed", "silent", "makes itself"],
)
def test_a_store_that_may_be_somebody_s_is_not_removed(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    health: dict[str, object], claimed: bool, awaits_tenant: bool,
) -> None:  # fmt: skip
    (tmp_path / "raft.db").write_text("x")
    monkeypatch.setattr(program, "STORE", tmp_path)
    monkeypatch.setattr(program, "look", lambda _: health)
    monkeypatch.setattr(program, "is_claimed", lambda _: claimed)

    with pytest.raises(program.VaultError):
        program.make_anew(settings(awaits_tenant=awaits_tenant))

    assert (tmp_path / "raft.db").exists()


def test_one_that_nobody_has_claimed_is_removed_whole(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "raft").mkdir()
    (tmp_path / "vault.db").write_text("x")
    ran: list[list[str]] = []
    monkeypatch.setattr(program, "STORE", tmp_path)
    monkeypatch.setattr(program, "look", lambda _: OPEN)
    monkeypatch.setattr(program, "is_claimed", lambda _: False)
    monkeypatch.setattr(program.subprocess, "run", lambda words, **_: ran.append(words))

    assert program.make_anew(settings())

    assert [*tmp_path.iterdir()] == []
    assert [words[1] for words in ran] == ["stop", "start"]
