"""The tenant program under Pulumi's mocks: what it registers, judged by inputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks, settings

from mutx_infra.plan import Allocation, TenantPlan, make_plan
from mutx_infra.tenant import TenantSpec
from mutx_infra.way_out import user_data
from tests.support.loops import pulumi_event_loop

WORLD = "0.0.0.0/0"
_INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
_EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
_UNTAGGED = (
    "Route",
    "RouteTableAssociation",
    "NetworkAclRule",
    "NetworkAclAssociation",
    "RolePolicy",
    "Alias",
    "VolumeAttachment",
)


class Recorder(mocks.Mocks):
    def __init__(self) -> None:
        self.made: list[mocks.MockResourceArgs] = []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.made.append(args)
        computed = {
            "arn": f"arn:{args.name}",
            "allocationId": "eip",
            "prefixListId": "pl-s3",
            "publicIp": "192.0.2.1",
            "keyId": f"{args.name}-key",
            "latestVersion": 1,
            "privateIp": "10.0.1.9",
        }
        return f"{args.name}-id", {**args.inputs, **computed}

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:
        raise AssertionError(f"the program looks something up: {args.token}")

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [made.inputs for made in self.made if made.typ == kind]


def plan_of(tier: str = "starter", zones: str = "a") -> TenantPlan:
    spec = TenantSpec.model_validate_json(json.dumps({"id": "acme", "region": "eu-west-1", "tier": tier}))
    block = "10.0.1.0/24" if len(zones) == 1 else "10.0.4.0/22"
    names = [f"eu-west-1{letter}" for letter in zones]
    return make_plan(spec, Allocation(account="123456789012", region="eu-west-1", block=block, zones=names))


@pulumi_event_loop()
def register(plan: TenantPlan) -> Recorder:
    from mutx_infra.stacks.tenant.program import build  # noqa: PLC0415 - 1 s that other files need not pay

    recorder = Recorder()
    mocks.set_mocks(recorder)

    @pulumi.runtime.test
    def run() -> None:
        build(plan)

    run()
    return recorder


@pytest.fixture(scope="module")
def starter() -> Iterator[Recorder]:
    yield register(plan_of())
    settings.reset_options()


def test_no_security_group_rule_admits_the_world(starter: Recorder) -> None:
    assert [rule for rule in starter.of(_INGRESS) if rule.get("cidrIpv4") or rule.get("cidrIpv6")] == []


def test_the_data_tier_accepts_its_rightful_groups_only(starter: Recorder) -> None:
    admitted = {
        (rule["fromPort"], rule["referencedSecurityGroupId"])
        for rule in starter.of(_INGRESS)
        if rule["securityGroupId"] == "acme-sg-database-id"
    }

    assert admitted == {(5432, "acme-sg-agent-id"), (6379, "acme-sg-agent-id"), (22, "acme-sg-mgmt-id")}


def test_every_rule_says_why_it_exists(starter: Recorder) -> None:
    rules = [*starter.of(_INGRESS), *starter.of(_EGRESS)]

    assert len(rules) == 37
    assert all(rule["description"] for rule in rules)


def test_data_has_no_route_besides_the_local_one(starter: Recorder) -> None:
    routed = {route["routeTableId"] for route in starter.of("aws:ec2/route:Route")}
    endpoint = starter.of("aws:ec2/vpcEndpoint:VpcEndpoint")[0]

    assert "acme-routes-data-id" not in routed
    assert endpoint["routeTableIds"] == ["acme-routes-mgmt-id"]


def test_only_the_egress_layer_reaches_the_internet_gateway(starter: Recorder) -> None:
    by_gateway = {r["routeTableId"] for r in starter.of("aws:ec2/route:Route") if r.get("gatewayId")}

    assert by_gateway == {"acme-routes-egress-id"}


def test_the_default_security_group_is_emptied(starter: Recorder) -> None:
    (group,) = starter.of("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")

    assert (group["ingress"], group["egress"]) == ([], [])


def test_no_subnet_gives_hosts_public_addresses(starter: Recorder) -> None:
    subnets = starter.of("aws:ec2/subnet:Subnet")

    assert len(subnets) == 4
    assert not any(subnet["mapPublicIpOnLaunch"] for subnet in subnets)


def test_everything_that_aws_can_tag_carries_the_tenant_and_a_name_of_its_own(starter: Recorder) -> None:
    cloud = [made for made in starter.made if made.typ.startswith("aws:")]
    tagged = [made for made in cloud if not made.typ.endswith(_UNTAGGED)]

    assert all(made.inputs["tags"]["mutx:tenant"] == "acme" for made in tagged)
    assert [made.inputs["tags"]["Name"] for made in tagged] == [made.name for made in tagged]


def test_flow_logs_record_all_traffic_for_thirty_days(starter: Recorder) -> None:
    (log,) = starter.of("aws:ec2/flowLog:FlowLog")
    groups = {group["name"]: group for group in starter.of("aws:cloudwatch/logGroup:LogGroup")}

    assert log["trafficType"] == "ALL"
    assert log["logDestination"] == "arn:acme-flow-log-group"
    assert groups["/mutx/acme/vpc-flow-logs"]["retentionInDays"] == 30


def test_login_and_vault_records_are_kept_for_a_year_under_the_key_of_the_logs(starter: Recorder) -> None:
    groups = {group["name"]: group for group in starter.of("aws:cloudwatch/logGroup:LogGroup")}

    assert {groups[f"/mutx/acme/{name}"]["retentionInDays"] for name in ("hosts", "vault-audit")} == {365}
    assert {group["kmsKeyId"] for group in groups.values()} == {"arn:acme-key-logs"}


def test_the_flow_log_role_may_write_to_its_log_group_only(starter: Recorder) -> None:
    (grant,) = [g for g in starter.of("aws:iam/rolePolicy:RolePolicy") if g["name"] == "write-flow-logs"]
    resources = json.loads(grant["policy"])["Statement"][0]["Resource"]

    group = "arn:aws:logs:eu-west-1:123456789012:log-group:/mutx/acme/vpc-flow-logs"
    assert resources == [group, f"{group}:*"]


def test_no_host_has_a_public_address_a_key_pair_or_metadata_without_tokens(starter: Recorder) -> None:
    templates = starter.of("aws:ec2/launchTemplate:LaunchTemplate")
    hosts = starter.of("aws:ec2/instance:Instance")

    assert len(templates) == len(hosts) == 5
    assert not any("keyName" in made or "associatePublicIpAddress" in made for made in [*templates, *hosts])
    assert not any("networkInterfaces" in template for template in templates)
    assert {
        (t["metadataOptions"]["httpTokens"], t["metadataOptions"]["httpPutResponseHopLimit"])
        for t in templates
    } == {("required", 1)}


def test_every_volume_lies_under_a_key_of_its_purpose(starter: Recorder) -> None:
    roots = {
        mapping["ebs"]["kmsKeyId"]
        for template in starter.of("aws:ec2/launchTemplate:LaunchTemplate")
        for mapping in template["blockDeviceMappings"]
    }
    data = {v["tags"]["Name"]: (v["encrypted"], v["kmsKeyId"]) for v in starter.of("aws:ebs/volume:Volume")}

    assert roots == {"arn:acme-key-volumes"}
    assert data == {
        "acme-data-database-1": (True, "arn:acme-key-database"),
        "acme-data-vault-1": (True, "arn:acme-key-vault"),
    }


def test_every_key_rotates_and_goes_only_after_thirty_days(starter: Recorder) -> None:
    keys = starter.of("aws:kms/key:Key")

    assert len(keys) == 5
    assert all(key["enableKeyRotation"] and key["deletionWindowInDays"] == 30 for key in keys)


def test_a_host_starts_nothing_but_its_own_joining(starter: Recorder) -> None:
    scripts = {
        host["tags"]["mutx:host"]: host["userData"] for host in starter.of("aws:ec2/instance:Instance")
    }

    assert scripts == {host.key: user_data(plan_of(), host) for host in plan_of().hosts}
    assert len(set(scripts.values())) == 5


def test_mgmt_takes_its_address_before_anything_else_of_the_subnet_is_there() -> None:
    made = register(plan_of("standard", "ab")).made
    kinds = ("aws:ec2/instance:Instance", "aws:ec2/vpcEndpoint:VpcEndpoint")
    takers = [
        resource
        for resource in made
        if resource.typ in kinds and resource.inputs.get("vpcEndpointType") != "Gateway"
    ]

    assert len(takers) > 5
    assert takers[0].inputs["tags"]["mutx:host"] == "mgmt-1"
    assert [taker.inputs.get("privateIp") for taker in takers].count(None) == len(takers) - 1


def test_every_role_is_bounded(starter: Recorder) -> None:
    roles = starter.of("aws:iam/role:Role")

    assert len(roles) == 6
    assert {role["permissionsBoundary"] for role in roles} == {"arn:acme-boundary"}


def test_interface_endpoints_stand_where_the_tier_asks_for_them(starter: Recorder) -> None:
    recorder = register(plan_of("standard", "ab"))
    settings.reset_options()
    made = [e for e in recorder.of("aws:ec2/vpcEndpoint:VpcEndpoint") if e["vpcEndpointType"] == "Interface"]

    assert {e["serviceName"].rsplit(".", 1)[-1] for e in made} == {"kms", "logs", "ssm"}
    assert {tuple(e["securityGroupIds"]) for e in made} == {("acme-sg-endpoint-id",)}
    assert len(starter.of("aws:ec2/vpcEndpoint:VpcEndpoint")) == 1


def test_a_dedicated_tenant_leaves_by_a_nat_gateway_of_the_same_zone() -> None:
    recorder = register(plan_of("dedicated", "abc"))
    routes = {r["routeTableId"]: r.get("natGatewayId") for r in recorder.of("aws:ec2/route:Route")}
    settings.reset_options()

    assert len(recorder.of("aws:ec2/natGateway:NatGateway")) == 3
    assert {routes[f"acme-routes-app-{zone}-id"] for zone in "abc"} == {
        f"acme-nat-{zone}-id" for zone in "abc"
    }
