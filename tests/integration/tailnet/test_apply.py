"""The tailnet's stack on the real engine and a coordination server, beside others who write too."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mutx_infra.adapters.pulumi_engine import Engine
from tests.support.checkout import Checkout, copy_programs
from tests.support.pipeline import Pipeline
from tests.support.tailnet_checkout import Tailnet

NAME = "mutx.test"
HOOK = {"name": "watch", "url": "https://hooks.example.com/tailnet"}
PIPELINE = {
    "name": "deploy", "issuer": "https://ci.example.com", "subject": "repo:mutx/*", "tags": ["tag:mutx-infra"],
    "scopes": ["policy_file", "auth_keys"],
}  # fmt: skip
ROLE = "arn:aws:iam::123456789012:role/tailscale-logs"
LOGS = {
    "log": "configuration",
    "bucket": "logs",
    "region": "eu-west-1",
    "role_arn": ROLE,
    "external_id": "ext-1",
}

pytestmark = pytest.mark.timeout(600)


def apply(tailnet: Tailnet, *more: str) -> Any:
    return tailnet.checkout.json("tailnet", "apply", *more)


def tags(tailnet: Tailnet) -> set[str]:
    return {tag for tag in tailnet.policy()["tagOwners"] if tag.startswith("tag:t-")}


def error_of(tailnet: Tailnet, *command: str, expect: int) -> str:
    return tailnet.checkout.run(*command, expect=expect).stderr


def test_a_tailnet_gets_the_registry_s_policy_and_the_profile_s_settings(tailnet: Tailnet) -> None:
    tailnet.register("acme", "globex")

    made = apply(tailnet)
    again = apply(tailnet)

    assert made["policy_written"]
    assert {change["name"] for change in made["changes"]["resources"]} == {"policy", "settings", "dns"}
    assert (again["policy_written"], again["changes"]["resources"]) == (False, [])
    written = json.loads(tailnet.checkout.run("tailnet", "policy").stdout)
    assert tailnet.policy() == written
    settings = tailnet.ask("GET", "tailnet/-/settings").json()
    assert settings["aclsExternallyManagedOn"]
    assert settings["devicesApprovalOn"]
    assert settings["usersRoleAllowedToJoinExternalTailnets"] == "none"
    assert (settings["devicesKeyDurationDays"], settings["httpsEnabled"]) == (90, False)


def test_every_change_is_in_the_history_with_the_policy_as_it_was(tailnet: Tailnet) -> None:
    apply(tailnet)
    tailnet.register("acme")
    apply(tailnet)
    apply(tailnet)

    kept = tailnet.checkout.json("tailnet", "history")

    assert [(entry["sequence"], entry["kind"], entry["outcome"]) for entry in kept["entries"]] == [
        (1, "tailnet", "done"),
        (2, "tailnet", "done"),
    ]
    (older, newer) = (tailnet.checkout.json("history", "show", "_tailnet", str(n))["plan"] for n in (1, 2))
    assert "tag:t-acme-agent" not in older["policy"]["tagOwners"]
    assert newer["policy"] == tailnet.policy()


def test_a_preview_says_all_that_an_apply_does_and_does_none_of_it(tailnet: Tailnet) -> None:
    tailnet.register("acme")
    before = tailnet.policy()

    seen = tailnet.checkout.json("tailnet", "preview", expect=10)

    assert {change["name"] for change in seen["settings"]} == {"policy", "settings", "dns"}
    assert {"source": "*", "destination": "*", "ip": "*", "posture": []} in seen["lost"]
    assert tailnet.policy() == before
    apply(tailnet)
    assert tailnet.checkout.json("tailnet", "preview")["changes"] is False


def test_an_edit_by_hand_is_shown_and_overwritten_only_when_it_is_named(tailnet: Tailnet) -> None:
    apply(tailnet)
    edited = tailnet.policy()
    edited["groups"]["group:mutx-operators"].append("eve@example.org")
    tailnet.put(edited)
    tailnet.register("acme")

    said = error_of(tailnet, "tailnet", "apply", expect=4)

    assert "error[tailnet-edited]" in said
    assert "leaves group:mutx-operators: eve@example.org" in said
    assert tailnet.policy() == edited
    digest = said.rpartition("--overwrite ")[2].split("`")[0]
    error_of(tailnet, "tailnet", "apply", "--overwrite", "0" * 12, expect=4)
    apply(tailnet, "--overwrite", digest)
    assert "eve@example.org" not in json.dumps(tailnet.policy())
    assert "tag:t-acme-agent" in tags(tailnet)


def test_a_policy_that_was_there_first_is_not_overwritten(tailnet: Tailnet) -> None:
    theirs = {"groups": {"group:theirs": ["ann@example.com"]}}
    tailnet.put(theirs)

    said = error_of(tailnet, "tailnet", "apply", expect=4)

    assert "error[tailnet-edited]" in said
    assert tailnet.policy() == theirs
    apply(tailnet, "--overwrite", said.rpartition("--overwrite ")[2].split("`")[0])
    assert tailnet.checkout.json("tailnet", "preview")["changes"] is False


def test_a_setting_that_somebody_changed_is_shown_and_mended(tailnet: Tailnet) -> None:
    apply(tailnet)
    tailnet.ask(
        "PATCH", "tailnet/-/settings", json={"devicesApprovalOn": False, "devicesKeyDurationDays": 180}
    )
    tailnet.ask("POST", "tailnet/-/dns/preferences", json={"magicDNS": False})

    seen = tailnet.checkout.json("tailnet", "preview", expect=10)["settings"]
    apply(tailnet)

    assert {change["name"]: set(change["fields"]) for change in seen} == {
        "settings": {"devicesApprovalOn", "devicesKeyDurationDays"},
        "dns": {"magicDns"},
    }
    assert tailnet.ask("GET", "tailnet/-/settings").json()["devicesKeyDurationDays"] == 90
    assert tailnet.ask("GET", "tailnet/-/dns/preferences").json()["magicDNS"] is True


def test_streams_webhooks_and_identities_come_from_the_profile_and_go_with_it(tailnet: Tailnet) -> None:
    profile = tailnet.checkout.profile(
        "whole", tailnet={"webhooks": [HOOK], "identities": [PIPELINE], "log_streams": [LOGS]}
    )

    made = apply(tailnet, "--environment", profile)

    names = {change["name"] for change in made["changes"]["resources"]}
    assert {"webhook-watch", "identity-deploy", "log-configuration"} <= names
    stream = tailnet.ask("GET", "tailnet/-/logging/configuration/stream").json()
    assert (stream["destinationType"], stream["s3RoleArn"], stream["s3ExternalId"]) == ("s3", ROLE, "ext-1")
    assert [hook["endpointUrl"] for hook in tailnet.listed("webhooks")] == [HOOK["url"]]
    (identity,) = tailnet.identities()
    assert (identity["subject"], identity["tags"]) == (PIPELINE["subject"], PIPELINE["tags"])
    apply(tailnet)
    assert (tailnet.listed("webhooks"), tailnet.identities()) == ([], [])


def test_no_secret_is_in_state_registry_or_log(tailnet: Tailnet) -> None:
    profile = tailnet.checkout.profile("secretive", tailnet={"webhooks": [HOOK]})
    done = tailnet.checkout.run("tailnet", "apply", "--environment", profile)
    (hook,) = tailnet.listed("webhooks")
    secret = tailnet.ask("POST", f"webhooks/{hook['endpointId']}/rotate").json()["secret"]

    for text in (tailnet.key, secret[:12]):
        assert text not in done.stdout + done.stderr
    kept = Path(tailnet.profile["tailnet"]["api_key_file"])
    own = {kept, kept.with_name("tailnet-credentials.json")}
    for file in (tailnet.checkout.root / ".mutx").rglob("*"):
        if file.is_file() and file not in own:
            content = file.read_bytes()
            assert tailnet.key.encode() not in content, file
            assert b"tskey-webhook-" not in content, file


def test_a_policy_that_the_service_refuses_is_not_written(tailnet: Tailnet) -> None:
    apply(tailnet)
    before = tailnet.policy()
    profile = tailnet.checkout.profile("odd", tailnet={"operator_posture": ["node:os LIKE 'linux'"]})

    said = error_of(tailnet, "tailnet", "apply", "--environment", profile, expect=6)

    assert "error[tailnet-tests-fail]" in said
    assert tailnet.policy() == before


def test_runs_at_once_lose_nobody_s_tenant(tailnet: Tailnet) -> None:
    apply(tailnet)
    tenants = [f"tenant-{number}" for number in range(2)]
    for tenant in tenants:
        tailnet.checkout.write_spec(tenant)

    with ThreadPoolExecutor(len(tenants)) as pool:
        made = list(
            pool.map(lambda t: tailnet.checkout.json("tenant", "create", "-f", f"tenants/{t}.yaml"), tenants)
        )

    assert [each["state"] for each in made] == ["ready"] * len(tenants)
    assert {f"tag:t-{tenant}-agent" for tenant in tenants} <= tags(tailnet)
    assert tailnet.checkout.json("tailnet", "preview")["changes"] is False
    destroyed = tailnet.checkout.run("tenant", "destroy", tenants[0], "--yes")
    assert "✓ policy" in destroyed.stderr
    assert f"tag:t-{tenants[0]}-agent" not in tags(tailnet)
    assert f"tag:t-{tenants[1]}-agent" in tags(tailnet)


def test_a_tenant_s_run_stops_before_an_edited_policy_and_goes_on_after_it(tailnet: Tailnet) -> None:
    apply(tailnet)
    edited = {**tailnet.policy(), "hosts": {"theirs": "100.64.0.9"}}
    tailnet.put(edited)
    tailnet.checkout.write_spec("initech")

    said = error_of(tailnet, "tenant", "create", "-f", "tenants/initech.yaml", expect=4)

    assert "error[tailnet-edited]" in said
    assert tailnet.checkout.json("tenant", "status", "initech")["last_run"]["state"] == "failed"
    apply(tailnet, "--overwrite", said.rpartition("--overwrite ")[2].split("`")[0])
    assert tailnet.checkout.json("tenant", "resume", "initech")["state"] == "ready"


def test_a_tenant_s_preview_says_who_gets_in(tailnet: Tailnet) -> None:
    apply(tailnet)
    tailnet.checkout.write_spec("umbrella")
    tailnet.checkout.json("tenant", "create", "-f", "tenants/umbrella.yaml")
    tailnet.checkout.write_spec("umbrella", clients=["bob@umbrella.example"])

    seen = tailnet.checkout.json("tenant", "preview", "-f", "tenants/umbrella.yaml", expect=10)
    shown = tailnet.checkout.run("tenant", "preview", "-f", "tenants/umbrella.yaml", expect=10).stdout

    assert seen["changes"]["resources"] == []
    assert {each["member"] for each in seen["access"]["joined"]} == {"bob@umbrella.example"}
    assert "bob@umbrella.example" in shown
    tailnet.checkout.json("tenant", "create", "-f", "tenants/umbrella.yaml")
    assert "bob@umbrella.example" in json.dumps(tailnet.policy())
    assert (
        tailnet.checkout.json("tenant", "preview", "-f", "tenants/umbrella.yaml")["access"]["changes"]
        is False
    )


@pytest.mark.parametrize(
    "after_s", [1.3, *(pytest.param(s, marks=pytest.mark.full) for s in (0.7, 1.0, 1.6, 2.0))]
)
def test_a_run_killed_at_any_moment_is_finished_by_the_next(tailnet: Tailnet, after_s: float) -> None:
    profile = tailnet.checkout.profile("killed", tailnet={"webhooks": [HOOK], "identities": [PIPELINE]})
    process = tailnet.checkout.start("tailnet", "apply", "--environment", profile)
    time.sleep(after_s)
    engines = engines_of(tailnet.checkout)
    process.kill()
    for pid in engines:
        kill(pid)
    process.wait()
    tailnet.register("acme")

    apply(tailnet, "--environment", profile)

    assert len(tailnet.listed("webhooks")) == 1
    assert len(tailnet.identities()) == 1
    assert "tag:t-acme-agent" in tags(tailnet)
    assert apply(tailnet, "--environment", profile)["changes"]["resources"] == []


def engines_of(checkout: Checkout) -> list[int]:
    """The engine's processes below the tailnet's directory."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            here = process.name.isdigit() and (process / "cwd").readlink()
        except OSError:
            continue
        if here and here.is_relative_to(checkout.root / ".mutx" / "stacks"):
            found.append(int(process.name))
    return found


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_a_pipeline_s_pulumi_finds_what_the_toolkit_has_made(
    tailnet: Tailnet, tmp_path: Path, engine: Engine
) -> None:
    tailnet.register("acme")
    apply(tailnet)
    copy_programs(tailnet.checkout)
    tailnet.checkout.run("sandbox", "project", str(tmp_path), "--tailnet")
    pulumi = Pipeline(engine, tmp_path / "stacks/tailnet", tmp_path / "env").run

    pulumi("preview", "--stack", "tailnet", "--expect-no-changes", "--refresh")
    tailnet.ask("PATCH", "tailnet/-/settings", json={"devicesApprovalOn": False})

    assert "devicesApprovalOn" in pulumi("preview", "--stack", "tailnet", "--refresh", "--diff")
    pulumi("up", "--stack", "tailnet", "--yes", "--skip-preview", "--refresh")
    assert tailnet.checkout.json("tailnet", "preview")["changes"] is False
    assert "protected" in pulumi("destroy", "--stack", "tailnet", "--yes", expect=1)


@pytest.mark.full
def test_a_dead_provider_is_replaced_and_a_dead_server_is_a_new_sandbox(tailnet: Tailnet) -> None:
    checkout = tailnet.checkout
    tailnet.register("acme")
    apply(tailnet)
    running = {each["name"]: each["pid"] for each in checkout.json("sandbox", "status")["processes"]}

    os.kill(running["tailscale_provider"], signal.SIGKILL)
    checkout.run("sandbox", "up", "--tailnet")
    assert apply(Tailnet(checkout))["changes"]["resources"] == []

    os.kill(running["tailnet"], signal.SIGKILL)
    assert "died" in checkout.run("sandbox", "up", "--tailnet").stderr
    assert apply(Tailnet(checkout))["policy_written"]
    assert tags(Tailnet(checkout)) == set()
