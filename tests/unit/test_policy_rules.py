"""The policy pack's rules: what each refuses, what stands next to it and is lawful, and that our own stacks pass."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mutx_infra.stacks.policy.rules import (
    RESOURCE_RULES,
    STACK_RULES,
    UNTAGGABLE,
    Resource,
    is_taggable,
)

from tests.unit.test_stack_program import Recorder, plan_of, register

RULES = {rule.name: rule for rule in RESOURCE_RULES}
STACKS = {rule.name: rule for rule in STACK_RULES}
TAGS = {"Name": "acme-x", "mutx:tenant": "acme"}


def a(kind: str, **properties: Any) -> Resource:
    token = f"aws:{kind}:{kind.split('/')[1][0].upper()}{kind.split('/')[1][1:]}"
    return Resource(token, "x", f"urn::{token}::x", properties)


def statement(**parts: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **parts}]})


INGRESS, GROUP, OLD_RULE = "vpc/securityGroupIngressRule", "ec2/securityGroup", "ec2/securityGroupRule"
ROLE, GRANT = "iam/role", "iam/rolePolicy"
ENCRYPTED = [{"deviceName": "/dev/xvda", "ebs": {"encrypted": "true"}}]

VIOLATIONS = {
    "no-world-ingress": [
        a(INGRESS, cidrIpv4="0.0.0.0/0"),
        a(INGRESS, cidrIpv4="0.0.0.0/1"),
        a(INGRESS, cidrIpv4="203.0.113.7/32"),
        a(INGRESS, cidrIpv4="10.0.0.0/7"),
        a(INGRESS, cidrIpv6="::/0"),
        a(INGRESS, cidrIpv6="2001:db8::/32"),
        a(INGRESS, cidrIpv4="nonsense"),
        a(GROUP, ingress=[{"cidrBlocks": ["10.0.0.0/8"]}, {"cidrBlocks": ["10.0.0.0/8", "0.0.0.0/0"]}]),
        a(GROUP, ingress=[{"ipv6CidrBlocks": ["::/0"]}]),
        a("ec2/defaultSecurityGroup", ingress=[{"cidrBlocks": ["0.0.0.0/0"]}]),
        a(OLD_RULE, type="ingress", cidrBlocks=["0.0.0.0/0"]),
    ],
    "encryption-at-rest": [
        a("ebs/volume"),
        a("ebs/volume", encrypted=False),
        a("rds/instance", storageEncrypted=False),
        a("rds/cluster"),
        a("efs/fileSystem"),
        a("elasticache/replicationGroup", atRestEncryptionEnabled=True),
        a("ec2/instance"),
        a("ec2/instance", rootBlockDevice={"encrypted": True}, ebsBlockDevices=[{"encrypted": False}]),
        a("ec2/launchTemplate"),
        a("ec2/launchTemplate", blockDeviceMappings=[*ENCRYPTED, {"ebs": {"volumeSize": 8}}]),
    ],
    "imds-v2": [
        a("ec2/instance"),
        a("ec2/instance", metadataOptions={"httpTokens": "optional"}),
        a("ec2/instance", metadataOptions={"httpTokens": "required", "httpPutResponseHopLimit": 2}),
        a("ec2/launchTemplate", metadataOptions={"httpEndpoint": "enabled"}),
    ],
    "no-public-address": [
        a("ec2/instance", associatePublicIpAddress=True),
        a("ec2/launchTemplate", networkInterfaces=[{"associatePublicIpAddress": "true"}]),
        a("ec2/subnet", mapPublicIpOnLaunch=True),
        a("ec2/eip", instance="i-1"),
        a("ec2/eip", networkInterface="eni-1"),
        a("ec2/eipAssociation", allocationId="eipalloc-1"),
        a("rds/instance", publiclyAccessible=True),
        a("lb/loadBalancer"),
    ],
    "no-wildcard-iam": [
        a(GRANT, policy=statement(Action="*", Resource="arn:aws:s3:::b")),
        a(GRANT, policy=statement(Action="s3:*", Resource="arn:aws:s3:::b")),
        a(GRANT, policy=statement(Action=["s3:GetObject", "s3:Put*"], Resource="arn:aws:s3:::b/*")),
        a(GRANT, policy=statement(Action="s3:GetObject", Resource="*")),
        a(GRANT, policy=statement(Action="s3:GetObject", Resource=["arn:aws:s3:::b/*", "*"])),
        a(GRANT, policy=statement(NotAction="iam:*", Resource="arn:aws:s3:::b")),
        a(GRANT, policy=statement(Action="s3:GetObject", NotResource="arn:aws:s3:::b")),
        a(GRANT, policy=json.dumps({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})),
        a(GRANT, policy={"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}),
        a(GRANT, policy="not json"),
        a(GRANT, policy='{"Version": "2012-10-17"}'),
        a("iam/policy", policy=statement(Action="*", Resource="*")),
        a(ROLE, inlinePolicies=[{"policy": statement(Action="*", Resource="*")}]),
        a(ROLE, managedPolicyArns=["arn:aws:iam::aws:policy/AdministratorAccess"]),
        a("iam/rolePolicyAttachment", policyArn="arn:aws:iam::aws:policy/PowerUserAccess"),
        a(ROLE, assumeRolePolicy=statement(Action="sts:AssumeRole", Principal="*")),
        a(ROLE, assumeRolePolicy=statement(Action="sts:AssumeRole", Principal={"AWS": ["*"]})),
        a("s3/bucketPolicy", policy=statement(Action="s3:GetObject", Principal="*", Resource="arn:aws:s3:::b/*")),
        a("kms/key", policy=statement(Action="kms:Decrypt", Principal={"AWS": "*"}, Resource="*")),
    ],
    "tags": [
        a("ec2/vpc"),
        a("ec2/vpc", tags={"Name": "acme-vpc"}),
        a("ec2/vpc", tags={"mutx:tenant": "acme"}),
        a("ec2/vpc", tags={"Name": "acme-vpc", "mutx:tenant": ""}),
        a("iam/role"),
    ],
}  # fmt: skip

LAWFUL = {
    "no-world-ingress": [
        a(INGRESS, referencedSecurityGroupId="sg-1"),
        a(INGRESS, cidrIpv4="10.0.0.0/25"),
        a(INGRESS, cidrIpv4="100.64.0.0/10"),
        a(INGRESS, cidrIpv6="fd00::/8"),
        a(OLD_RULE, type="egress", cidrBlocks=["0.0.0.0/0"]),
        a("vpc/securityGroupEgressRule", cidrIpv4="0.0.0.0/0"),
        a("ec2/defaultSecurityGroup", ingress=[]),
    ],
    "encryption-at-rest": [
        a("ebs/volume", encrypted=True),
        a("ec2/instance", rootBlockDevice={"encrypted": True}),
        a("ec2/instance", launchTemplate={"id": "lt-1"}),
        a("ec2/launchTemplate", blockDeviceMappings=ENCRYPTED),
    ],
    "imds-v2": [
        a("ec2/instance", metadataOptions={"httpTokens": "required"}),
        a("ec2/instance", metadataOptions={"httpEndpoint": "disabled"}),
        a("ec2/instance", launchTemplate={"id": "lt-1"}),
    ],
    "no-public-address": [
        a("ec2/eip", domain="vpc"),
        a("ec2/subnet", mapPublicIpOnLaunch=False),
        a("lb/loadBalancer", internal=True),
    ],
    "no-wildcard-iam": [
        a(GRANT, policy=statement(Action=["s3:GetObject"], Resource="arn:aws:s3:::b/*")),
        a(GRANT, policy=statement(Action="sts:GetCallerIdentity", Resource="*")),
        a(GRANT, policy=json.dumps({"Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]})),
        a(
            ROLE,
            assumeRolePolicy=statement(Action="sts:AssumeRole", Principal={"Service": "ec2.amazonaws.com"}),
        ),
        a(
            "kms/key",
            policy=statement(Action="kms:*", Principal={"AWS": "arn:aws:iam::1:root"}, Resource="*"),
        ),
        a(
            "kms/key",
            policy=statement(Action="kms:Decrypt", Principal="*", Condition={"StringEquals": {"a": "b"}}),
        ),
    ],
    "tags": [
        a("ec2/vpc", tags=TAGS),
        a("ec2/vpc", tags={"Name": "x", "mutx:platform": "control-plane"}),
        a("ec2/route"),
        Resource("random:index/randomId:RandomId", "x", "urn", {}),
    ],
}


def cases(table: dict[str, list[Resource]]) -> list[Any]:
    return [
        pytest.param(name, resource, id=f"{name}-{number}")
        for name, found in table.items()
        for number, resource in enumerate(found)
    ]


def test_every_rule_has_its_cases() -> None:
    assert set(VIOLATIONS) == set(LAWFUL) == set(RULES)


@pytest.mark.parametrize(("name", "resource"), cases(VIOLATIONS))
def test_a_violation_is_found(name: str, resource: Resource) -> None:
    assert list(RULES[name].check(resource))


@pytest.mark.parametrize(("name", "resource"), cases(LAWFUL))
def test_what_is_lawful_passes(name: str, resource: Resource) -> None:
    assert list(RULES[name].check(resource)) == []


def used(resource: Resource, **uses: str) -> Resource:
    return Resource(
        resource.kind,
        resource.name,
        resource.urn,
        resource.properties,
        {k: frozenset({v}) for k, v in uses.items()},
    )


def test_a_vpc_without_its_whole_flow_log_is_found() -> None:
    vpc = a("ec2/vpc")
    check = STACKS["flow-logs"].check
    log = used(a("ec2/flowLog", trafficType="ALL"), vpcId=vpc.urn)

    assert list(check([vpc, log])) == []
    assert [found for found, _ in check([vpc])] == [vpc]
    assert [
        found for found, _ in check([vpc, used(a("ec2/flowLog", trafficType="REJECT"), vpcId=vpc.urn)])
    ] == [vpc]
    assert [found for found, _ in check([vpc, used(log, vpcId="urn::another")])] == [vpc]


def test_a_way_out_of_the_data_layer_is_found() -> None:
    data = a("ec2/routeTable", tags={"mutx:layer": "data"})
    check = STACKS["no-data-route-out"].check
    route = used(a("ec2/route", destinationCidrBlock="10.1.0.0/16"), routeTableId=data.urn)
    endpoint = used(a("ec2/vpcEndpoint"), routeTableIds=data.urn)
    inline = a("ec2/routeTable", tags={"mutx:layer": "data"}, routes=[{"cidrBlock": "0.0.0.0/0"}])

    assert list(check([data, used(route, routeTableId="urn::app")])) == []
    assert [found for found, _ in check([data, route])] == [route]
    assert [found for found, _ in check([data, endpoint])] == [endpoint]
    assert [found for found, _ in check([inline])] == [inline]


def resources_of(recorder: Recorder) -> list[Resource]:
    """What the program registered; under mocks an id is its name with `-id` behind it."""
    urns = {f"{made.name}-id": made.name for made in recorder.made}

    def uses(value: Any) -> frozenset[str]:
        values = value if isinstance(value, list) else [value]
        return frozenset(urns[found] for found in values if isinstance(found, str) and found in urns)

    return [
        Resource(made.typ, made.name, made.name, made.inputs, {k: uses(v) for k, v in made.inputs.items()})
        for made in recorder.made
    ]


@pytest.mark.parametrize(("tier", "zones"), [("starter", "a"), ("standard", "ab"), ("dedicated", "abc")])
def test_our_own_stack_passes_every_rule(tier: str, zones: str) -> None:
    resources = resources_of(register(plan_of(tier, zones)))

    found = [
        f"{r.name}: {problem}" for rule in RESOURCE_RULES for r in resources for problem in rule.check(r)
    ]
    found += [f"{r.name}: {problem}" for rule in STACK_RULES for r, problem in rule.check(resources)]

    assert len(resources) > 100
    assert found == []


@pytest.mark.parametrize("kind", sorted(UNTAGGABLE))
def test_what_is_said_to_take_no_tags_takes_none(kind: str) -> None:
    import pulumi_aws  # noqa: PLC0415

    _, path, name = kind.split(":")
    module = path.partition("/")[0]
    assert not hasattr(getattr(getattr(pulumi_aws, module), name), "tags")
    assert is_taggable("aws:ec2/vpc:Vpc")
