"""A small network whose shape follows the stack's config; run by the engine in test_engine.py."""

import json

import pulumi
import pulumi_aws as aws

config = pulumi.Config()
tags = {"Name": config.get("name") or "engine", "note": config.get_secret("note") or "none"}

print("the root is", pulumi.get_root_directory())  # noqa: T201 - what a program prints must reach the operator
vpc = aws.ec2.Vpc(
    "vpc",
    cidr_block="10.0.0.0/24",
    tags=tags,
    opts=pulumi.ResourceOptions(replace_on_changes=["tags.Name"] if config.get_bool("replace") else None),
)
group = aws.ec2.SecurityGroup("group", vpc_id=vpc.id, tags=tags)
for port in range(100, 100 + (config.get_int("rules") or 2)):
    aws.vpc.SecurityGroupIngressRule(
        f"rule-{port}",
        security_group_id=group.id,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        cidr_ipv4="10.0.0.0/8",
        description="why",
    )
role = aws.iam.Role(
    "role",
    assume_role_policy={
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
        ],
    },
)
if other := config.get("other-region"):
    far = aws.Provider(
        "far",
        region=other,
        access_key="sandbox",
        secret_key="sandbox",
        endpoints=[{"ec2": json.loads(pulumi.Config("aws").require("endpoints"))[0]["ec2"]}],
    )
    pulumi.export(
        "far", aws.ec2.Vpc("far", cidr_block="10.1.0.0/24", opts=pulumi.ResourceOptions(provider=far)).arn
    )
if imported := config.get("import"):
    aws.ec2.Vpc("imported", cidr_block="10.7.0.0/24", opts=pulumi.ResourceOptions(import_=imported))
if config.get_bool("fail"):
    raise ValueError("the program does not want to")

pulumi.export("vpc", vpc.id)
pulumi.export("group", group.id)
pulumi.export("account", aws.get_caller_identity().account_id)
