"""Remove one security group rule behind the toolkit's back, as a hurried person in the AWS console would.

Usage: python docs/tutorial/remove_a_rule.py TENANT. Works on the sandbox of this checkout only.
"""

from __future__ import annotations

import json
import subprocess
import sys

import boto3

RULE = "sg-database-from-agent-tcp-5432"


def main(tenant: str) -> None:
    """Revoke the rule that lets the tenant's agents reach PostgreSQL."""
    status = subprocess.run(
        ["mutx-infra", "sandbox", "status", "--json"],  # noqa: S607 - the one on the reader's PATH
        check=True,
        capture_output=True,
    )
    ec2 = boto3.client(
        "ec2",
        region_name="eu-west-1",
        endpoint_url=json.loads(status.stdout)["endpoints"]["aws"],
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",  # noqa: S106 - the sandbox takes any
    )
    name = f"{tenant}-{RULE}"
    found = ec2.describe_security_group_rules(Filters=[{"Name": "tag:Name", "Values": [name]}])
    (rule,) = found["SecurityGroupRules"]
    ec2.revoke_security_group_ingress(
        GroupId=rule["GroupId"], SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]]
    )
    sys.stdout.write(f"revoked {name}\n")


if __name__ == "__main__":
    main(sys.argv[1])
