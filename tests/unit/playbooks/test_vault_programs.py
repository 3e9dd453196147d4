"""What a host's program does about keys, against a Vault that answers as it is told: no network, no waiting."""

from __future__ import annotations

import getpass
import grp
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mutx_infra.flows import Role
from mutx_infra.vault.agent import make_agent_plan
from tests.support.programs import load_program

OWN, SHARED, ITSELF = "byok/data/agents/agent-1/openai", "byok/data/shared/openai", "auth/token/lookup-self"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    return load_program("vault_agent/files/mutx-vault-machine")


@dataclass
class ToldVault:
    """Answers by path: a status, and a key where there is one; an exception where nobody answers."""

    answers: dict[str, tuple[int, str] | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        assert (method, body) == ("GET", None)
        self.asked.append(path)
        answer = self.answers.get(path, (404, ""))
        if answer is None:
            raise ConnectionRefusedError
        return answer[0], json.dumps({"data": {"data": {"value": answer[1]}}}).encode()


def same_group() -> bool:
    """Whether the account has a group of its own name, as service accounts have."""
    return any(entry.gr_name == getpass.getuser() for entry in grp.getgrall())


pytestmark = pytest.mark.skipif(not same_group(), reason="this account has no group of its name")


@pytest.fixture
def vault() -> ToldVault:
    return ToldVault({OWN: (200, "sk-own"), SHARED: (200, "sk-shared"), ITSELF: (200, "")})


@pytest.fixture
def delivering(program: ModuleType, vault: ToldVault, tmp_path: Path) -> Any:  # Any: a class of a script
    (tmp_path / "service.pem").write_text("CERTIFICATE")
    owner = getpass.getuser()
    settings = {
        "socket": str(tmp_path / "agent.sock"),
        "keys": [{"file": str(tmp_path / "OPENAI_KEY"), "owner": owner, "sources": [OWN, SHARED]}],
        "certificates": [
            {"file": str(tmp_path / "server.pem"), "owner": owner, "sources": [str(tmp_path / "service.pem")]}
        ],
    }
    made = program.Delivering(settings)
    made.vault = vault
    return made


def key(tmp_path: Path) -> str | None:
    file = tmp_path / "OPENAI_KEY"
    return file.read_text() if file.exists() else None


def test_its_own_key_counts_and_the_shared_one_is_not_even_asked_for(
    delivering: Any, vault: ToldVault, tmp_path: Path
) -> None:
    delivering.once(0)

    assert key(tmp_path) == "sk-own"
    assert oct((tmp_path / "OPENAI_KEY").stat().st_mode & 0o777) == "0o400"
    assert SHARED not in vault.asked


def test_a_shared_key_of_long_ago_is_not_delivered_unasked(
    delivering: Any, vault: ToldVault, tmp_path: Path
) -> None:
    vault.answers[OWN] = (404, "")
    delivering.once(0)
    assert key(tmp_path) == "sk-shared"
    vault.answers[OWN] = (200, "sk-own")
    delivering.once(20)

    vault.answers.update({OWN: (404, ""), SHARED: None})
    delivering.once(40)

    assert key(tmp_path) == "sk-own"


@pytest.mark.parametrize(
    ("answer", "left"),
    [((404, ""), None), (None, "sk-own"), ((503, ""), "sk-own")],
    ids=["gone", "away", "sealed"],
)
def test_only_what_the_vault_says_is_gone_is_taken_away(
    delivering: Any, vault: ToldVault, tmp_path: Path, answer: tuple[int, str] | None, left: str | None
) -> None:
    delivering.once(0)

    vault.answers.update({OWN: answer, SHARED: answer})
    delivering.once(6)
    delivering.once(600)

    assert key(tmp_path) == left


def test_a_refusal_counts_when_it_has_lasted(delivering: Any, vault: ToldVault, tmp_path: Path) -> None:
    delivering.once(0)
    vault.answers.update({OWN: (403, ""), SHARED: (403, ""), ITSELF: (403, "")})

    seen = []
    for now in range(16, 60, 6):
        delivering.once(now)
        seen.append((key(tmp_path), (tmp_path / "server.pem").exists()))

    assert seen[0] == ("sk-own", True)
    assert seen[-1] == (None, False)
    assert not (tmp_path / "service.pem").exists()


def test_a_moment_without_a_token_takes_nothing_away(
    delivering: Any, vault: ToldVault, tmp_path: Path
) -> None:
    delivering.once(0)
    former = dict(vault.answers)

    vault.answers.update({OWN: (403, ""), ITSELF: (400, "")})
    for now in (16, 22, 28):
        delivering.once(now)
    vault.answers = former
    delivering.once(40)

    assert (key(tmp_path), (tmp_path / "server.pem").exists()) == ("sk-own", True)


def test_what_is_not_one_key_counts_as_none_and_is_not_printed(
    delivering: Any, vault: ToldVault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vault.answers[OWN] = (200, "")

    delivering.once(0)

    assert key(tmp_path) == "sk-shared"
    assert "is not one key" in capsys.readouterr().out


def test_nobody_is_asked_for_a_service_that_is_not_there(
    delivering: Any, vault: ToldVault, tmp_path: Path
) -> None:
    delivering.settings["keys"][0]["owner"] = "nobody-of-that-name"

    delivering.once(0)

    assert (key(tmp_path), vault.asked) == (None, [ITSELF])


def test_a_rotated_key_is_asked_for_within_five_seconds_and_a_missing_one_less_often(
    delivering: Any, vault: ToldVault
) -> None:
    vault.answers[SHARED] = (404, "")
    for now in range(61):
        delivering.once(now)
    there = vault.asked.count(OWN)
    vault.answers[OWN], vault.asked = (404, ""), []
    for now in range(61, 122):
        delivering.once(now)

    assert there >= 12
    assert vault.asked.count(OWN) <= 6


def test_a_guard_s_units_have_the_key_of_masks_each_and_lose_it_when_the_vault_has_it_no_longer(
    program: ModuleType, vault: ToldVault, tmp_path: Path
) -> None:
    plan = make_agent_plan(Role.GUARD, "acme-guard-1", "guard-1", ("https://10.0.1.1:8200",), agent_group=960)
    mask = "byok/data/hosts/acme-guard-1/mask"
    vault.answers[mask] = (200, "bWFzaw==")
    keys = [
        {
            "file": str(tmp_path / each.file.lstrip("/")),
            "owner": getpass.getuser(),
            "sources": list(each.sources),
        }
        for each in plan.keys
    ]
    files = [Path(each["file"]) for each in keys]
    for file in files:
        file.parent.mkdir(parents=True)
    settings = {**plan.settings(), "socket": str(tmp_path / "agent.sock"), "certificates": [], "keys": keys}
    delivering = program.Delivering(settings)
    delivering.vault = vault

    delivering.once(0)
    given = [(file.read_text(), file.stat().st_mode & 0o777) for file in files]
    vault.answers[mask] = (404, "")
    delivering.once(6)

    assert [file.name for file in files] == ["mask.key", "mask.key"]
    assert given == [("bWFzaw==", 0o400)] * 2
    assert not any(file.exists() for file in files)


def test_a_guard_s_units_are_woken_once_both_have_all_their_files_and_no_provider_s_key_is_asked_for(
    program: ModuleType, vault: ToldVault, tmp_path: Path
) -> None:
    plan = make_agent_plan(Role.GUARD, "acme-guard-1", "guard-1", ("https://10.0.1.1:8200",), agent_group=960)
    (tmp_path / "service.pem").write_text("CERTIFICATE AND KEY")
    (tmp_path / "service-ca.pem").write_text("AUTHORITY")
    certificates = [
        {
            "file": str(tmp_path / each.file.lstrip("/")),
            "owner": getpass.getuser(),
            "sources": [str(tmp_path / Path(source).name) for source in each.sources],
        }
        for each in plan.certificates
    ]
    judging, egress = (tmp_path / place.path.lstrip("/") for place in plan.places)
    judging.mkdir(parents=True)
    settings = {**plan.settings(), "socket": str(tmp_path / "agent.sock"), "certificates": certificates}
    delivering = program.Delivering(settings)
    delivering.vault, mark = vault, tmp_path / "delivered"

    delivering.once(0)
    half = mark.exists()
    egress.mkdir()
    delivering.once(6)

    assert (half, mark.exists()) == (False, True)
    assert {(judging / "server.pem").read_text(), (egress / "server.pem").read_text()} == {
        "CERTIFICATE AND KEY"
    }
    assert (egress / "ca.pem").read_text() == "AUTHORITY"
    assert not any("agents/" in path or "shared/" in path for path in vault.asked)
