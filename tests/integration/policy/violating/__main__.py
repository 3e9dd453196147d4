"""A program that breaks rules of the policy pack, one resource each, and keeps to the others."""

import json

import pulumi_aws as aws

TAGS = {"mutx:tenant": "acme"}

vpc = aws.ec2.Vpc("unlogged", cidr_block="10.0.0.0/24", tags={**TAGS, "Name": "unlogged"})
aws.ec2.Vpc("untagged", cidr_block="10.0.1.0/24")
aws.ec2.Subnet(
    "public",
    vpc_id=vpc.id,
    cidr_block="10.0.0.0/25",
    map_public_ip_on_launch=True,
    tags={**TAGS, "Name": "public"},
)
group = aws.ec2.SecurityGroup("group", vpc_id=vpc.id, description="d", tags={**TAGS, "Name": "group"})
aws.vpc.SecurityGroupIngressRule(
    "world",
    security_group_id=group.id,
    ip_protocol="tcp",
    from_port=22,
    to_port=22,
    cidr_ipv4="0.0.0.0/0",
    tags={**TAGS, "Name": "world"},
)
gateway = aws.ec2.InternetGateway("gateway", vpc_id=vpc.id, tags={**TAGS, "Name": "gateway"})
table = aws.ec2.RouteTable("data", vpc_id=vpc.id, tags={**TAGS, "Name": "data", "mutx:layer": "data"})
aws.ec2.Route("way-out", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.id)
role = aws.iam.Role(
    "role",
    assume_role_policy=json.dumps(
        {
            "Statement": [
                {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
            ]
        }
    ),
    tags={**TAGS, "Name": "role"},
)
aws.iam.RolePolicy(
    "wildcard",
    role=role.name,
    policy=json.dumps({"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}),
)
aws.ebs.Volume("plain", availability_zone="eu-west-1a", size=1, tags={**TAGS, "Name": "plain"})
aws.ec2.LaunchTemplate(
    "tokenless",
    image_id="ami-00000000000000ba5",
    metadata_options={"http_endpoint": "enabled", "http_tokens": "optional"},
    block_device_mappings=[
        {"device_name": "/dev/xvda", "ebs": {"encrypted": "true", "volume_size": 8, "volume_type": "gp3"}}
    ],
    tags={**TAGS, "Name": "tokenless"},
)
