"""The server by itself: it takes what we render, logs what is asked of it, and knows no root."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from mutx_infra.adapters.vault_templates import hcl, policy_texts, render_server
from mutx_infra.byok import AwsKmsSeal, StaticSeal, TransitSeal
from mutx_infra.vault.layout import VaultLayout, make_layout
from mutx_infra.vault.server import LOOPBACK, ServerPaths, ServerPlan
from tests.integration.vault.conftest import Tenant
from tests.support.authorities import make_authority
from tests.support.vault import BAO, RunningVault
from tests.support.vault_people import ask, token_of

SEALS = {
    "static": StaticSeal(type="static"),
    "transit": TransitSeal(
        type="transit", address="https://vault.tenant.example:8200", key="acme", ca=make_authority("x").pem
    ),
    "awskms": AwsKmsSeal(type="awskms", key_arn="arn:aws:kms:eu-central-1:123456789012:key/1234-abcd"),
}
ODD = {
    "quotes": 'a"b',
    "a line's end": "a\nb",
    "a template": "${env.HOME} %{if true}x%{endif}",
    "a doubled template": "$${x}",
    "a backslash": "a\\b\\",
    "unicode": "ä→\u2028😀",
    "a brace": 'x" } storage "file" { path = "/tmp',
    "a comment": "# // /* x",
    "control characters": "a\tb\u0001\u007f",
}


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "joining"])
@pytest.mark.parametrize("seal", SEALS)
def test_the_server_takes_its_configuration(tmp_path: Path, seal: str, is_first: bool) -> None:
    plan = _plan(tmp_path)
    rendered = render_server(
        dataclasses.replace(
            plan,
            seal=SEALS[seal],
            seal_plugin="ab" * 32,
            layout=plan.layout if is_first else None,
            peers=() if is_first else (IPv4Address("10.0.0.5"), IPv4Address("10.0.0.6")),
        )
    )

    checked = _validate(tmp_path, rendered)

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_no_value_gets_out_of_its_quotes(tmp_path: Path, value: str) -> None:
    """Values that no field of ours takes; the filter holds by itself."""
    plan = _plan(tmp_path)
    assert plan.layout is not None
    role = dataclasses.replace(plan.layout.roles[0], authority=value, common_names=(value,))
    odd = dataclasses.replace(
        plan, layout=dataclasses.replace(plan.layout, roles=(role, *plan.layout.roles[1:]))
    )

    checked = _validate(tmp_path, render_server(odd))

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_a_value_reaches_the_server_as_it_was_meant(tenant: Tenant, value: str) -> None:
    """A policy is the same language, and the server says what it read: here a path."""
    text = f'path {hcl(value)} {{ capabilities = ["read"] }}'
    answer = ask(tenant.vault, "POST", "sys/policies/acl/odd", {"policy": text}, token=tenant.admin_token)
    assert answer.status == 204, answer
    token = ask(
        tenant.vault, "POST", "auth/token/create", {"policies": ["odd"], "no_default_policy": True, "ttl": "60s"},
        token=tenant.admin_token,
    ).token  # fmt: skip

    said = ask(
        tenant.vault,
        "POST",
        "sys/capabilities",
        {"token": token, "paths": [value, f"{value}x"]},
        token=tenant.admin_token,
    ).data

    assert said[value] == ["read"]
    assert said[f"{value}x"] == ["deny"]


class _OddVault(RunningVault):
    """One whose configuration makes a policy of odd text when it starts for the first time."""

    text = (
        "".join(f"# {value}\n".replace("a\nb", "a b") for value in ODD.values())
        + 'path "x" { capabilities = ["read"] }\n'
    )

    @property
    def layout(self) -> VaultLayout:
        layout = super().layout
        return dataclasses.replace(layout, policies={**layout.policies, "odd": self.text})


def test_what_the_server_makes_first_is_what_was_rendered(tmp_path: Path) -> None:
    vault = _OddVault("acme", tmp_path)
    try:
        vault.prepare()
        vault.start()
        admin = vault.as_admin()
        texts = {name: admin.read(f"sys/policies/acl/{name}") or {} for name in vault.layout.policies}
        roles = {name: admin.read(f"auth/cert/certs/{name}") or {} for name in admin.list("auth/cert/certs")}
    finally:
        vault.stop()

    assert {name: said["policy"] for name, said in texts.items()} == vault.layout.policies
    assert {name: role["certificate"] for name, role in roles.items()} == {
        role.name: role.authority for role in vault.layout.roles
    }


def test_every_access_to_a_key_is_logged_and_no_key_is(tenant: Tenant) -> None:
    token = tenant.first.token(tenant.vault)
    ask(tenant.vault, "GET", "byok/data/agents/agent-1/openai", token=token)
    ask(tenant.vault, "GET", "byok/data/agents/agent-2/openai", token=token)

    text = tenant.vault.audit_log.read_text()
    entries = [json.loads(line) for line in text.splitlines()]

    asked = [entry for entry in entries if entry["request"].get("path", "").startswith("byok/data/agents/")]
    read = [
        entry for entry in asked if entry["type"] == "response" and entry["request"]["operation"] == "read"
    ]
    assert [entry["request"]["path"].rsplit("/", 2)[1] for entry in read if "error" not in entry][-1:] == [
        "agent-1"
    ]
    assert [entry["request"]["path"].rsplit("/", 2)[1] for entry in read if "error" in entry][-1:] == [
        "agent-2"
    ]
    for secret in ("sk-of-the-first", "sk-of-the-second", "sk-of-all", token, tenant.admin_token):
        assert secret not in text
        assert secret not in (tenant.vault.folder / "server.log").read_text()
        assert secret not in (tenant.vault.folder / "server.hcl").read_text()


def test_the_log_is_the_server_s_alone(tenant: Tenant) -> None:
    assert tenant.vault.audit_log.stat().st_mode & 0o777 == 0o600


def test_keys_on_the_disk_are_none_that_can_be_read(tenant: Tenant) -> None:
    for path in (tenant.vault.folder / "storage").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"sk-of" not in content, path
            assert b"PRIVATE KEY" not in content, path


@pytest.mark.usefixtures("openbao_alone")
def test_with_recovery_keys_there_is_still_no_way_to_root(tenant: Tenant) -> None:
    """Once the tenant has them: whoever gets hold of shares makes no root token without the tenant's administrators."""
    rotated = ask(
        tenant.vault, "PUT", "sys/rotate/recovery/init", {"secret_shares": 1, "secret_threshold": 1},
        token=tenant.admin_token,
    )  # fmt: skip
    share = rotated.data["keys"][0]
    operator = token_of(tenant.vault.as_operator())
    attempts: tuple[tuple[str, dict[str, Any]], ...] = (
        ("sys/generate-root/attempt", {}),
        ("sys/generate-root/update", {"key": share, "nonce": "x"}),
        ("sys/generate-root-token/attempt", {}),
        ("sys/generate-root-token/update", {"key": share, "nonce": "x"}),
        ("sys/generate-recovery-token/attempt", {}),
        ("sys/rekey-recovery-key/init", {"secret_shares": 1, "secret_threshold": 1}),
        ("sys/rotate/recovery/init", {"secret_shares": 1, "secret_threshold": 1}),
        ("sys/rotate/recovery/update", {"key": share, "nonce": "x"}),
    )

    for path, data in attempts:
        for token in (None, operator):
            answer = ask(tenant.vault, "POST", path, data, token=token)
            assert answer.status in {400, 403, 404, 405}, (path, answer)
            assert "token" not in answer.content.get("data", {})


def _plan(folder: Path) -> ServerPlan:
    server = make_authority("server")
    server.server(folder, "server", "127.0.0.1")
    (folder / "ca.pem").write_text(server.pem)
    (folder / "raft").mkdir(exist_ok=True)
    (folder / "seal.key").write_bytes(bytes(32))
    layout = make_layout(
        "acme", policy_texts(), make_authority("tenant").pem, make_authority("platform").pem, LOOPBACK
    )
    paths = ServerPaths(
        certificate=str(folder / "server.pem"), key=str(folder / "server.key"), authorities=str(folder / "ca.pem"),
        storage=str(folder / "raft"), seal_key=str(folder / "seal.key"), seal_authority=str(folder / "ca.pem"),
        audit_log=str(folder / "audit.log"),
    )  # fmt: skip
    return ServerPlan("acme", "acme-vault-1", IPv4Address("10.0.0.4"), SEALS["static"], layout, paths=paths)


def _validate(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "server.hcl").write_text(text)
    return subprocess.run(
        [BAO, "operator", "validate-config", f"-config={folder / 'server.hcl'}"],
        capture_output=True, text=True, check=False, timeout=60, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
