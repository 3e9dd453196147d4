"""Secrets that two hosts share by a digest: made once, and forgotten with the host."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import load_program

shared = load_program("host/library/shared_secret.py")
live = load_program("redis/library/redis_live.py")
ONE, OTHER, NEW = ("1" * 64, "2" * 64, "3" * 64)


@dataclass
class Told:
    """What a module is given."""

    params: dict[str, Any] = field(default_factory=dict)
    check_mode: bool = False


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "guards.json"
    monkeypatch.setattr(live, "GUARDS", file)
    return file


def digests(guards: list[str], told: dict[str, str], *, check_mode: bool = False) -> list[str]:
    return list(live.guards_digests(Told({"guards": guards, "digests": told}, check_mode)))


def test_a_secret_is_made_once_though_many_runs_make_it(tmp_path: Path) -> None:
    file = tmp_path / "secrets/redis-guard"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: shared.make(file), range(16)))
    value = file.read_text().strip()
    shared.make(file)

    assert (len(value), file.read_text().strip()) == (43, value)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["redis-guard"]


def test_a_guard_that_was_not_asked_keeps_its_digest_and_one_that_is_gone_loses_it(record: Path) -> None:
    both = digests(["a", "b"], {"a": ONE, "b": OTHER})
    unasked = digests(["a", "b"], {"a": NEW, "b": ""})
    gone = digests(["a"], {})

    assert (both, unasked, gone) == ([ONE, OTHER], [OTHER, NEW], [NEW])
    assert json.loads(record.read_text()) == {"a": NEW}


def test_a_guard_that_never_told_one_has_none(record: Path) -> None:
    assert digests(["a"], {"a": ""}) == []
    assert not record.exists()


def test_check_mode_writes_nothing(record: Path) -> None:
    assert digests(["a"], {"a": ONE}, check_mode=True) == [ONE]
    assert not record.exists()


def test_the_users_file_has_every_guard_s_digest_and_no_password(tmp_path: Path) -> None:
    users, acl = tmp_path / "users.acl", tmp_path / "mutx.acl"
    users.write_text("# Managed.\nuser app on #{app} -@all\nuser guard on #{guard} -@all\n")
    acl.write_text("user app on #0 -@all\n")
    told = Told({"users": str(users), "acl": str(acl)}, check_mode=True)

    differs = live.users_file(told, {"app": [live.digest_of("pass-word")], "guard": [ONE, OTHER]})
    acl.write_text(
        f"user app on #{hashlib.sha256(b'pass-word').hexdigest()} -@all\nuser guard on #{ONE} #{OTHER} -@all\n"
    )

    assert differs == ["the users' file changed"]
    assert live.users_file(told, {"app": [live.digest_of("pass-word")], "guard": [ONE, OTHER]}) == []
