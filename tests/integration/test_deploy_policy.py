"""The deploying role is granted what the toolkit calls, and calls what it is granted: compared with a recording."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

import pytest

from mutx_infra import bootstrap
from mutx_infra.access import targets_of
from mutx_infra.adapters.aws_session import AwsSession
from mutx_infra.adapters.ssm_join import SsmMailbox
from mutx_infra.deploy_policy import DEPENDENT, RARE, archive_grants, deploy_grants
from mutx_infra.errors import OutsideError
from mutx_infra.joining import FixedTailnet, Joining
from tests.support.checkout import Checkout
from tests.support.hosts import MemoryKnownHosts
from tests.support.recording import Recording
from tests.support.specs import a_plan
from tests.support.tenants import create, names_of

OPEN = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
}
KEY_OPEN = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
            "Action": "kms:*",
            "Resource": "*",
        },
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:Decrypt", "Resource": "*"},
    ],
}


@pytest.fixture(scope="module")
def recorded(checkout: Checkout) -> set[str]:
    """Every action of a tenant's life: made, retagged, weakened in every way that is repaired, destroyed."""
    recording = Recording(checkout.endpoint)
    checkout.write_spec("acme", tier="standard", tags={"a": "1"})
    made = create(checkout, "acme")
    join(checkout, made["outputs"])
    checkout.write_spec("acme", tier="standard", tags={"b": "2"})
    create(checkout, "acme")
    for drift in drifts(checkout, made["outputs"]):
        with recording.paused():
            drift()
    create(checkout, "acme")
    checkout.run("history", "verify", "acme")
    checkout.run("tenant", "destroy", "acme", "--yes")
    checkout.run("archive", "verify", "acme")
    return recording.actions()


def join(checkout: Checkout, outputs: Any) -> None:
    """Tell two hosts how to join, look for their answers, and forget one of them."""
    profile = checkout.root / ".mutx/sandbox/environment.yaml"
    environment = bootstrap.load_environment(profile)
    mailbox = SsmMailbox(AwsSession(environment.aws))
    tailnet = FixedTailnet(IPv4Network("100.64.0.0/10"))
    one, other = targets_of("acme", outputs, a_plan(tier="standard").flows)[:2]
    joining = Joining(mailbox, tailnet, MemoryKnownHosts(), ("ssh-ed25519 AAAA",), bootstrap.SystemClock())
    with pytest.raises(OutsideError, match="did not join within"):
        joining.bring_in((one, other), within_s=0)
    joining.forget((one,))


def drifts(checkout: Checkout, outputs: Any) -> list[Callable[[], object]]:
    """Ways in which somebody changes a tenant behind the toolkit's back, one for each call that repairs."""
    ec2, iam, kms, logs = (checkout.aws(name) for name in ("ec2", "iam", "kms", "logs"))
    role = "mutx-acme-agent-1"
    vault, database = (outputs["key_arns"][name].rsplit("/", 1)[-1] for name in ("vault", "database"))
    table = _named(ec2.describe_route_tables()["RouteTables"], "acme-routes-app")
    gateway = _named(ec2.describe_internet_gateways()["InternetGateways"], "acme-internet-gateway")
    template = _named(ec2.describe_launch_templates()["LaunchTemplates"], "acme-template-mgmt")
    rule = _named(ec2.describe_security_group_rules()["SecurityGroupRules"], "acme-sg-vault-from-mgmt-tcp-22")
    changed = {
        "IpProtocol": "tcp",
        "FromPort": 23,
        "ToPort": 23,
        "Description": "changed",
        "ReferencedGroupId": outputs["security_group_ids"]["mgmt"],
    }
    boundary = "arn:aws:iam::123456789012:policy/mutx/acme/mutx-acme-boundary"
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    return [
        lambda: ec2.modify_subnet_attribute(
            SubnetId=next(iter(outputs["subnet_ids"]["app"].values())), MapPublicIpOnLaunch={"Value": True}
        ),
        lambda: ec2.modify_vpc_attribute(VpcId=outputs["vpc_id"], EnableDnsHostnames={"Value": False}),
        lambda: ec2.replace_route(
            RouteTableId=table["RouteTableId"],
            DestinationCidrBlock="0.0.0.0/0",
            GatewayId=gateway["InternetGatewayId"],
        ),
        lambda: ec2.modify_security_group_rules(
            GroupId=rule["GroupId"],
            SecurityGroupRules=[
                {"SecurityGroupRuleId": rule["SecurityGroupRuleId"], "SecurityGroupRule": changed}
            ],
        ),
        lambda: ec2.modify_vpc_endpoint(
            VpcEndpointId=outputs["endpoint_ids"]["ssm"], PolicyDocument=json.dumps(OPEN)
        ),
        lambda: ec2.create_launch_template_version(
            LaunchTemplateId=template["LaunchTemplateId"], LaunchTemplateData={"InstanceType": "t3.large"}
        ),
        lambda: iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust)),
        lambda: iam.delete_role_permissions_boundary(RoleName=role),
        lambda: iam.create_policy_version(
            PolicyArn=boundary, PolicyDocument=json.dumps(OPEN), SetAsDefault=True
        ),
        lambda: kms.disable_key_rotation(KeyId=vault),
        lambda: kms.update_key_description(KeyId=vault, Description="changed"),
        lambda: kms.put_key_policy(KeyId=vault, PolicyName="default", Policy=json.dumps(KEY_OPEN)),
        lambda: kms.disable_key(KeyId=database),
        lambda: kms.update_alias(AliasName="alias/mutx/acme/logs", TargetKeyId=vault),
        lambda: logs.put_retention_policy(logGroupName="/mutx/acme/hosts", retentionInDays=1),
    ]  # fmt: skip


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(item for item in items if names_of([item], "acme") == [name])


def granted() -> set[str]:
    grants = deploy_grants(
        "123456789012", "eu-west-1", ["mutx-history-sandbox"], ["arn:aws:iam::310987654321:role/mutx-deploy"]
    )
    archive = archive_grants("310987654321", "mutx-archive-sandbox", "us-east-1")
    return {action for grant in (*grants, *archive) for action in grant.actions}


def test_every_action_that_is_used_is_granted(recorded: set[str]) -> None:
    assert sorted(recorded - granted()) == []


def test_every_action_that_is_granted_is_used_or_needed_by_one_that_is(recorded: set[str]) -> None:
    assert sorted(granted() - recorded - set(DEPENDENT) - set(RARE)) == []
    assert all(by in recorded for by, _reason in DEPENDENT.values())
