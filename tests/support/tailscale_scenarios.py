"""What the stand-in for the tailscale provider must do to any server of the API: run on the fake and on a real one.

Each scenario leaves the tailnet as it found it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import requests
from mutx_sandbox.tailscale.serve import Options, start
from mutx_sandbox.tailscale.sessions import Defaults

from tests.integration.sandbox.engine_client import CheckFailedError, Engine, Resource

ACL = "tailscale:index/acl:Acl"
SETTINGS = "tailscale:index/tailnetSettings:TailnetSettings"
PREFERENCES = "tailscale:index/dnsPreferences:DnsPreferences"
STREAM = "tailscale:index/logstreamConfiguration:LogstreamConfiguration"
WEBHOOK = "tailscale:index/webhook:Webhook"
IDENTITY = "tailscale:index/federatedIdentity:FederatedIdentity"
EXTERNAL_ID = "tailscale:index/awsExternalId:AwsExternalId"
OVERWRITING = "You are trying to overwrite a non-default policy. Please import the ACL first"


@dataclass(frozen=True)
class Server:
    """A server of the API, and a key that may do anything."""

    url: str
    api_key: str

    def ask(self, method: str, path: str, content: Any = None) -> requests.Response:
        """Go behind the provider's back."""
        body = {"data": content.encode()} if isinstance(content, str) else {"json": content}
        return requests.request(
            method, f"{self.url}/api/v2/{path}", auth=(self.api_key, ""), timeout=10,
            headers={"Accept": "application/hujson" if path.endswith("acl") else "application/json"}, **body,
        )  # fmt: skip

    def policy(self) -> str:
        return self.ask("GET", "tailnet/-/acl").content.decode()

    def write_policy(self, text: str) -> None:
        """Write a policy as a person would; none at all brings back the default."""
        answer = self.ask("POST", "tailnet/-/acl", text)
        assert answer.ok, answer.text


@dataclass(frozen=True)
class Case:
    """A resource, and inputs that change it in place."""

    token: str
    inputs: dict[str, Any]
    changed: dict[str, Any]


def policy(port: int = 8080, tested: int | None = None, *, indent: int | None = None) -> str:
    """A policy that lets agents reach each other on a port, and tests that they reach one."""
    agent = "tag:agent"
    return json.dumps(
        {
            "tagOwners": {agent: ["group:ops"]},
            "groups": {"group:ops": ["ann@example.com"]},
            "grants": [{"src": [agent], "dst": [agent], "ip": [f"tcp:{port}"]}],
            "tests": [{"src": agent, "accept": [f"{agent}:{tested or port}"], "deny": [f"{agent}:22"]}],
        },
        indent=indent,
    )


FAILING = policy(8080, tested=5432)
CASES = {
    "policy": Case(
        ACL,
        {"acl": policy(8080), "resetAclOnDestroy": True},
        {"acl": policy(8443), "resetAclOnDestroy": True},
    ),
    "settings": Case(
        SETTINGS,
        {"devicesApprovalOn": True, "usersRoleAllowedToJoinExternalTailnet": "none"},
        {"devicesApprovalOn": True, "usersRoleAllowedToJoinExternalTailnet": "admin"},
    ),
    "DNS preferences": Case(PREFERENCES, {"magicDns": True}, {"magicDns": False}),
    "log stream": Case(
        STREAM,
        {
            "logType": "configuration", "destinationType": "splunk", "url": "https://logs.example.com",
            "token": "hunter22-of-splunk",
        },
        {
            "logType": "configuration", "destinationType": "s3", "s3Bucket": "logs", "s3Region": "eu-west-1",
            "s3AuthenticationType": "rolearn", "s3RoleArn": "arn:aws:iam::123456789012:role/logs",
            "s3ExternalId": "MADE", "compressionFormat": "zstd", "uploadPeriodMinutes": 5,
        },
    ),
    "webhook": Case(
        WEBHOOK,
        {"endpointUrl": "https://alerts.example.com/tailnet", "subscriptions": ["policyUpdate", "nodeCreated"]},
        {"endpointUrl": "https://alerts.example.com/tailnet", "subscriptions": ["policyUpdate"]},
    ),
    "federated identity": Case(
        IDENTITY,
        {
            "issuer": "https://ci.example.com", "subject": "repo:mutx/*", "scopes": ["policy_file"],
            "description": "ci",
        },
        {
            "issuer": "https://ci.example.com", "subject": "repo:mutx/infra:*",
            "scopes": ["policy_file", "feature_settings"], "description": "ci",
            "customClaimRules": {"ref": "refs/heads/main"},
        },
    ),
}  # fmt: skip
"""Every type that can be changed, by what it is."""


@contextmanager
def provider_for(server: Server, patience_s: float = 20.0) -> Iterator[int]:
    """Serve the provider until the block ends, and give its port."""
    grpc_server, port = start(Options(Defaults(server.url), patience_s))
    try:
        yield port
    finally:
        grpc_server.stop(grace=None).wait()


@contextmanager
def engine_for(server: Server, patience_s: float = 20.0) -> Iterator[Engine]:
    """Give an engine on a provider of its own."""
    with provider_for(server, patience_s) as port:
        engine = Engine(port).configure(apiKey=server.api_key)
        try:
            yield engine
        finally:
            engine.close()


def made(engine: Engine, server: Server, case: Case) -> Resource:
    """Create what a case says, in a tailnet whose external ids are real."""
    return engine.create(case.token, **inputs_of(server, case.inputs))


def inputs_of(server: Server, inputs: dict[str, Any]) -> dict[str, Any]:
    if inputs.get("s3ExternalId") != "MADE":
        return inputs
    answer = server.ask("POST", "tailnet/-/aws-external-id", {"reusable": False}).json()
    return {**inputs, "s3ExternalId": answer["externalId"]}


def goes_through_a_life(engine: Engine, server: Server, case: Case) -> None:
    """Created, found unchanged, read as it was made, changed in place, removed."""
    resource = made(engine, server, case)
    read = engine.read(resource)

    assert not engine.diff(resource, **resource.inputs)[0].changed
    assert read == resource

    changed = inputs_of(server, case.changed)
    found, _ = engine.diff(resource, **changed)
    assert found.changed
    assert found.replaces == []
    updated = engine.update(resource, **changed)
    assert not engine.diff(updated, **changed)[0].changed
    assert engine.read(updated) == updated

    engine.delete(updated)
    engine.delete(updated)


def is_imported(engine: Engine, server: Server, case: Case) -> None:
    """Imported by id, it needs no change where the program says what it is."""
    resource = made(engine, server, case)

    imported = engine.import_(case.token, resource.id)

    assert imported is not None
    assert imported.id == resource.id
    said = {
        **imported.inputs,
        **{name: value for name, value in resource.inputs.items() if name not in imported.inputs},
    }
    changed = set(engine.diff(imported, **said)[0].kinds)
    assert changed <= {"token", "resetAclOnDestroy"}  # what the API never tells
    engine.delete(resource)


def policy_of_others_is_not_overwritten(engine: Engine, server: Server) -> None:
    server.write_policy(policy(9999))
    before = server.policy()

    refused = failure_of(lambda: engine.create(ACL, acl=policy()))

    assert OVERWRITING in refused
    assert server.policy() == before
    forced = engine.create(ACL, acl=policy(), overwriteExistingContent=True)
    assert server.policy() == policy()
    engine.delete(forced)
    assert server.policy() == policy()
    server.write_policy("")


def policy_of_others_is_imported_by_any_id(engine: Engine, server: Server) -> None:
    server.write_policy(policy(indent=4))

    imported = engine.import_(ACL, "whatever")

    assert imported is not None
    assert imported.id == "whatever"
    assert imported.outputs["acl"] == server.policy()
    assert not engine.diff(imported, acl=policy())[0].changed
    engine.update(imported, acl=policy(8443))
    assert server.policy() == policy(8443)
    server.write_policy("")


def policy_whose_tests_fail_is_refused_before_anything_is_changed(engine: Engine, server: Server) -> None:
    before = server.policy()

    try:
        engine.create(ACL, preview=True, acl=FAILING)
    except CheckFailedError as refused:
        said = refused.failures["acl"]
    else:
        raise AssertionError("it was taken")

    assert "test(s) failed" in said
    assert "tag:agent:5432" in said
    assert server.policy() == before


def policy_is_reset_only_where_the_program_says_so(engine: Engine, server: Server) -> None:
    default = server.policy()
    kept = engine.create(ACL, acl=policy())

    engine.delete(kept)
    assert server.policy() == policy()

    reset = engine.import_(ACL, kept.id)
    assert reset is not None
    reset = engine.update(reset, acl=policy(), resetAclOnDestroy=True)
    engine.delete(reset)
    assert server.policy() == default


def drift_is_seen_and_put_right(engine: Engine, server: Server) -> None:
    settings = engine.create(SETTINGS, devicesApprovalOn=True)
    acl = engine.create(ACL, acl=policy(), resetAclOnDestroy=True)
    assert server.ask("PATCH", "tailnet/-/settings", {"devicesApprovalOn": False}).ok
    server.write_policy(policy(9999))

    for resource, inputs, name in (
        (settings, {"devicesApprovalOn": True}, "devicesApprovalOn"),
        (acl, {"acl": policy(), "resetAclOnDestroy": True}, "acl"),
    ):
        drifted = engine.read(resource)
        assert drifted is not None
        assert set(engine.diff(drifted, **inputs)[0].kinds) == {name}
        assert not engine.diff(engine.update(drifted, **inputs), **inputs)[0].changed

    assert server.policy() == policy()
    assert server.ask("GET", "tailnet/-/settings").json()["devicesApprovalOn"] is True
    server.ask("PATCH", "tailnet/-/settings", {"devicesApprovalOn": False})
    engine.delete(acl)


def what_others_removed_is_gone(engine: Engine, server: Server) -> None:
    webhook = made(engine, server, CASES["webhook"])
    identity = made(engine, server, CASES["federated identity"])
    stream = made(engine, server, CASES["log stream"])
    for path in (
        f"webhooks/{webhook.id}", f"tailnet/-/keys/{identity.id}", "tailnet/-/logging/configuration/stream",
    ):  # fmt: skip
        assert server.ask("DELETE", path).ok

    assert [engine.read(each) for each in (webhook, identity, stream)] == [None, None, None]
    for each in (webhook, identity, stream):
        engine.delete(each)


def external_id_is_minted_and_kept(engine: Engine, server: Server) -> None:
    first, second = engine.create(EXTERNAL_ID), engine.create(EXTERNAL_ID)

    assert first.outputs["externalId"] == first.id != second.id
    assert first.outputs["tailscaleAwsAccountId"]
    assert engine.read(first) == first
    engine.delete(first)


FOR_ANY_SERVER = (
    policy_of_others_is_not_overwritten,
    policy_of_others_is_imported_by_any_id,
    policy_whose_tests_fail_is_refused_before_anything_is_changed,
    policy_is_reset_only_where_the_program_says_so,
    drift_is_seen_and_put_right,
    what_others_removed_is_gone,
    external_id_is_minted_and_kept,
)


def failure_of(call: Any) -> str:
    """Return what a call of the provider fails with."""
    try:
        call()
    except grpc.RpcError as refused:
        return str(refused.details())
    raise AssertionError("it succeeded")
