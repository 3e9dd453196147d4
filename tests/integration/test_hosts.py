"""Hosts, keys and identities of a tenant: what weakens them is found, and what holds data is not lost by accident."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.support.checkout import Checkout
from tests.support.tenants import assert_each_exists_once, create, keys_of, resources_of

PURPOSES = ["database", "logs", "parameters", "vault", "volumes"]


@pytest.fixture(scope="module")
def acme(checkout: Checkout) -> Any:
    """One tenant for all tests of this module; each leaves it as planned."""
    checkout.write_spec("acme")
    return create(checkout, "acme")


def instance_of(made: Any, host: str) -> str:
    return str(made["outputs"]["hosts"][host]["instance_id"])


def refusal(checkout: Checkout, tenant: str = "acme") -> str:
    """What a create says that cannot repair what it finds."""
    return checkout.run("tenant", "create", tenant, expect=6).stderr


def test_every_host_runs_as_planned_and_none_can_be_reached_from_outside(
    checkout: Checkout, acme: Any
) -> None:
    ec2 = checkout.aws("ec2")
    ids = [host["instance_id"] for host in acme["outputs"]["hosts"].values()]
    hosts = [r["Instances"][0] for r in ec2.describe_instances(InstanceIds=ids)["Reservations"]]

    assert len(hosts) == 5
    assert not any(host.get("PublicIpAddress") or host.get("KeyName") for host in hosts)
    assert {host["MetadataOptions"]["HttpTokens"] for host in hosts} == {"required"}
    volumes = ec2.describe_volumes(Filters=[{"Name": "tag:mutx:tenant", "Values": ["acme"]}])["Volumes"]
    assert len(volumes) == 7
    assert all(volume["Encrypted"] and volume["KmsKeyId"].startswith("arn:") for volume in volumes)


def test_user_data_holds_nothing_but_the_way_out_and_the_start_of_joining(
    checkout: Checkout, acme: Any
) -> None:
    answer = checkout.aws("ec2").describe_instance_attribute(
        InstanceId=instance_of(acme, "vault-1"), Attribute="userData"
    )

    script = base64.b64decode(answer["UserData"]["Value"]).decode()
    proxy = acme["outputs"]["hosts"]["mgmt-1"]["private_ip"]
    assert script.split("\n") == [
        "#!/bin/sh",
        f"printf '%s\\n' 'HTTPS_PROXY=http://{proxy}:3128' 'NO_PROXY=169.254.0.0/16' >/etc/mutx/way-out.env",
        "exec systemctl start --no-block 'mutx-join@acme:vault-1.service'",
        "",
    ]


def test_weakened_metadata_is_found(checkout: Checkout, acme: Any) -> None:
    ec2, host = checkout.aws("ec2"), instance_of(acme, "agent-1")
    ec2.modify_instance_metadata_options(
        InstanceId=host, HttpTokens="optional", HttpEndpoint="enabled", HttpPutResponseHopLimit=3
    )

    said = refusal(checkout)

    ec2.modify_instance_metadata_options(
        InstanceId=host, HttpTokens="required", HttpEndpoint="enabled", HttpPutResponseHopLimit=1
    )
    assert "host agent-1" in said
    assert "instance metadata without tokens, instance metadata beyond one hop" in said


def test_a_policy_that_somebody_attached_is_found(checkout: Checkout, acme: Any) -> None:
    iam = checkout.aws("iam")
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="mutx-acme-mgmt-1", PolicyName="more", PolicyDocument=json.dumps(everything))

    said = refusal(checkout)

    iam.delete_role_policy(RoleName="mutx-acme-mgmt-1", PolicyName="more")
    assert "PRIN-3: unexpected: role mutx-acme-mgmt-1" in said
    assert "allow action * resource *" in said


def test_a_boundary_that_was_taken_off_is_put_back(checkout: Checkout, acme: Any) -> None:
    iam = checkout.aws("iam")
    iam.delete_role_permissions_boundary(RoleName="mutx-acme-agent-1")

    repaired = create(checkout, "acme")

    assert [change["name"] for change in repaired["changes"]["resources"]] == ["acme-role-agent-1"]
    assert "PermissionsBoundary" in iam.get_role(RoleName="mutx-acme-agent-1")["Role"]


def test_a_host_that_somebody_terminated_is_made_again_and_gets_its_data_back(
    checkout: Checkout, acme: Any
) -> None:
    ec2 = checkout.aws("ec2")
    ec2.terminate_instances(InstanceIds=[instance_of(acme, "database-1")])
    (volume,) = ec2.describe_volumes(Filters=[{"Name": "tag:Name", "Values": ["acme-data-database-1"]}])[
        "Volumes"
    ]

    repaired = create(checkout, "acme")

    (now,) = ec2.describe_volumes(VolumeIds=[volume["VolumeId"]])["Volumes"]
    assert [a["InstanceId"] for a in now["Attachments"]] == [instance_of(repaired, "database-1")]
    assert_each_exists_once(checkout, "acme")


def test_the_host_that_all_others_leave_by_is_made_again_where_they_look_for_it(
    checkout: Checkout, acme: Any
) -> None:
    ec2 = checkout.aws("ec2")
    ec2.terminate_instances(InstanceIds=[instance_of(acme, "mgmt-1")])

    repaired = create(checkout, "acme")

    before, now = (found["outputs"]["hosts"] for found in (acme, repaired))
    assert now["mgmt-1"]["instance_id"] != before["mgmt-1"]["instance_id"]
    assert now["mgmt-1"]["private_ip"] == before["mgmt-1"]["private_ip"]
    assert now["agent-1"] == before["agent-1"]
    assert_each_exists_once(checkout, "acme")


def test_an_instance_in_the_tenant_s_network_that_is_nobody_s_is_found(checkout: Checkout, acme: Any) -> None:
    ec2 = checkout.aws("ec2")
    subnet = next(iter(acme["outputs"]["subnet_ids"]["app"].values()))
    made = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, SubnetId=subnet)
    foreign = made["Instances"][0]["InstanceId"]

    said = refusal(checkout)

    ec2.terminate_instances(InstanceIds=[foreign])
    assert f"PRIN-2: unexpected: host {foreign}" in said


def test_a_key_that_somebody_disabled_is_enabled_again(checkout: Checkout, acme: Any) -> None:
    kms = checkout.aws("kms")
    kms.disable_key(KeyId=acme["outputs"]["key_arns"]["vault"].rsplit("/", 1)[-1])

    repaired = create(checkout, "acme")

    assert [change["name"] for change in repaired["changes"]["resources"]] == ["acme-key-vault"]
    assert keys_of(checkout, "acme") == [(purpose, "Enabled") for purpose in PURPOSES]


def test_data_is_replaced_only_when_told_by_name(checkout: Checkout, acme: Any) -> None:
    """EBS volumes do not shrink: one that somebody enlarged would have to be replaced to be as planned."""
    ec2 = checkout.aws("ec2")
    (before,) = ec2.describe_volumes(Filters=[{"Name": "tag:Name", "Values": ["acme-data-vault-1"]}])[
        "Volumes"
    ]
    ec2.modify_volume(VolumeId=before["VolumeId"], Size=before["Size"] * 2)

    refused = checkout.run("tenant", "create", "acme", expect=4).stderr
    unknown = checkout.run("tenant", "create", "acme", "--replace", "data-nothing", expect=4).stderr
    kept = ec2.describe_volumes(VolumeIds=[before["VolumeId"]])["Volumes"]
    replaced = create(checkout, "acme", "--replace", "data-vault-1")

    assert "error[data-protected]" in refused
    assert "`--replace acme-data-vault-1`" in refused
    assert "error[replace-unknown]" in unknown
    assert len(kept) == 1
    assert {change["name"]: change["operation"] for change in replaced["changes"]["resources"]} == {
        "acme-data-vault-1": "replace",
        "acme-attachment-vault-1": "replace",
    }
    assert create(checkout, "acme")["changes"]["resources"] == []


def test_destroy_leaves_keys_on_their_way_out_and_the_tenant_can_come_back(
    checkout: Checkout, tenant: str
) -> None:
    before = create(checkout, tenant)["outputs"]["key_arns"]
    ssm = checkout.aws("ssm")
    for number in range(12):  # as joined hosts leave them; SSM deletes ten at a time
        ssm.put_parameter(Name=f"/mutx/{tenant}/hosts/agent-{number}/join", Value="joined", Type="String")
    ssm.put_parameter(Name=f"/mutx/{tenant}-else/hosts/agent-1/join", Value="joined", Type="String")

    destroyed = checkout.json("tenant", "destroy", tenant, "--yes")
    left, keys = resources_of(checkout, tenant), keys_of(checkout, tenant)
    again = create(checkout, tenant)["outputs"]["key_arns"]

    tombstones = [one for one in destroyed["tombstones"] if one["kind"] == "KMS key"]
    assert sorted(tombstone["purpose"] for tombstone in tombstones) == PURPOSES
    assert all(
        tombstone["is_going"] and tombstone["retained_until"] <= tombstone["goes_at"][:10]
        for tombstone in tombstones
    )
    assert keys == [(purpose, "PendingDeletion") for purpose in PURPOSES]
    assert left == []
    beginning = [{"Key": "Name", "Option": "BeginsWith", "Values": [f"/mutx/{tenant}"]}]
    parameters = ssm.describe_parameters(ParameterFilters=beginning)["Parameters"]
    assert [found["Name"] for found in parameters] == [f"/mutx/{tenant}-else/hosts/agent-1/join"]
    assert set(before.values()).isdisjoint(again.values())


@pytest.mark.parametrize("tier", ["standard", "dedicated"])
@pytest.mark.full
def test_larger_tiers_have_their_hosts_and_endpoints(checkout: Checkout, tenant: str, tier: str) -> None:
    checkout.write_spec(tenant, tier=tier)

    made = create(checkout, tenant)
    again = create(checkout, tenant)

    roles = [host["role"] for host in made["outputs"]["hosts"].values()]
    assert roles.count("vault") == 3
    assert set(made["outputs"]["endpoint_ids"]) == {"kms", "logs", "ssm"}
    assert again["changes"]["resources"] == []
