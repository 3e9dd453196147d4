"""What is decided on database hosts without asking one: verifiers, statements, which backups stay."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import ROLES, UNIT, load_program

live = load_program("postgresql/library/postgresql_live.py")
APP = live.Database("app", "app_owner", "app", 40)
GOOD_USER = {"login": True, "limit": 40, "powers": False, "member_of": []}


def test_a_verifier_is_that_of_the_standard() -> None:
    """RFC 7677, section 3: the user's password is `pencil`."""
    kept = (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )

    assert live.is_password("pencil", kept)
    assert not live.is_password("pencils", kept)


@pytest.mark.parametrize("kept", [None, "", "md5c4ca4238a0b923820dcc509a6f75849b"])
def test_what_is_no_verifier_fits_no_password(kept: str | None) -> None:
    assert not live.is_password("pencil", kept)


def test_a_new_verifier_fits_its_password_and_is_another_each_time() -> None:
    assert live.is_password("pencil", live.verifier("pencil"))
    assert live.verifier("pencil") != live.verifier("pencil")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"powers": True}, ["app: attributes"]),
        ({"limit": -1}, ["app: attributes"]),
        ({"member_of": ["pg_read_all_data"]}, ["app: not in pg_read_all_data"]),
    ],
    ids=["as it should be", "superuser", "no limit", "in a group"],
)
def test_a_role_that_has_too_much_loses_it(change: dict[str, object], said: list[str]) -> None:
    statements = live.role_statements("app", {**GOOD_USER, **change}, "LOGIN NOSUPERUSER", 40)

    assert [why for why, _ in statements] == said


def test_a_user_that_may_make_tables_may_no_longer() -> None:
    seen = {"open": False, "user_creates": True, "owner_creates": True,
            "defaults": {"r": ["app=arwd/app_owner"], "S": ["app=rU/app_owner"]}}  # fmt: skip

    assert [sql for _, sql in live.inner_statements(APP, seen)] == [
        'REVOKE CREATE ON SCHEMA public FROM PUBLIC, "app";'
    ]


def test_the_oldest_backups_go_and_unfinished_ones_with_them(tmp_path: Path) -> None:
    backup = load_program("host/files/mutx-backup")
    backup.KINDS["fake"] = Fake
    (tmp_path / ".unfinished-1").mkdir()
    for day in ("20260101T000000Z", "20260102T000000Z"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "manifest.json").write_text("{}")

    said = backup.make("fake", {"directory": str(tmp_path), "kept": 2})

    last = json.loads((tmp_path / "last-success").read_text())["backup"]
    assert backup.backups(tmp_path) == ["20260102T000000Z", last]
    assert not list(tmp_path.glob(".unfinished*"))
    assert "2 are kept" in said


def test_a_backup_that_cannot_be_read_back_is_none(tmp_path: Path) -> None:
    backup = load_program("host/files/mutx-backup")
    backup.KINDS["fake"] = Broken

    with pytest.raises(backup.BackupError, match="unreadable"):
        backup.make("fake", {"directory": str(tmp_path), "kept": 1})

    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_a_backup_that_was_changed_is_not_restored(tmp_path: Path) -> None:
    backup = load_program("host/files/mutx-backup")
    backup.KINDS["fake"] = Fake
    backup.make("fake", {"directory": str(tmp_path), "kept": 1})
    (tmp_path / backup.backups(tmp_path)[0] / "data").write_text("other")

    with pytest.raises(backup.BackupError, match="Nothing was restored"):
        backup.restore("fake", {"directory": str(tmp_path)}, "latest", None)


def test_the_program_says_what_it_can_do() -> None:
    done = subprocess.run(
        [sys.executable, str(ROLES / "host/files/mutx-backup"), "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "restore postgresql latest app" in done.stdout


class Fake:
    """Something that can be backed up."""

    def __init__(self, settings: dict[str, object]) -> None:
        pass

    def write(self, place: Path) -> None:
        (place / "data").write_text("1")

    def verify(self, place: Path) -> None:
        pass


class Broken(Fake):
    """Something whose backup is worth nothing."""

    def verify(self, place: Path) -> None:
        raise sys.modules[UNIT + "mutx_backup"].BackupError("unreadable")
