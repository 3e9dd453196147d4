"""The sandbox's other accounts, entered by the role as the toolkit enters them."""

from __future__ import annotations

from typing import Any

import boto3

from tests.support.checkout import Checkout

TENANT_ACCOUNT, ARCHIVE_ACCOUNT = "210987654321", "310987654321"
ROLE = {"name": "mutx-deploy", "external_id": "mutx-sandbox"}


def client_in(checkout: Checkout, account: str, service: str, region: str = "eu-west-1") -> Any:
    """A client of an account that is not the sandbox's own."""
    endpoint = checkout.endpoint
    entered = checkout.aws("sts").assume_role(
        RoleArn=f"arn:aws:iam::{account}:role/{ROLE['name']}",
        RoleSessionName="test",
        ExternalId=ROLE["external_id"],
    )["Credentials"]
    return boto3.client(
        service, region_name=region, endpoint_url=endpoint, aws_access_key_id=entered["AccessKeyId"],
        aws_secret_access_key=entered["SecretAccessKey"], aws_session_token=entered["SessionToken"],
    )  # fmt: skip
