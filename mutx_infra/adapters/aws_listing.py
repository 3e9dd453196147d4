"""Paged listings of a tenant's things in AWS, shared by what observes and what looks for leftovers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mutx_infra.adapters.aws_session import AwsSession
from mutx_infra.naming import TENANT_TAG, iam_path, log_group

GLOBAL_REGION = "us-east-1"
"""Where IAM and STS are asked."""

GONE_STATES = frozenset({"terminated", "shutting-down", "deleted", "deleting"})
"""What is deleted stays listed for a while: NAT gateways, endpoints and instances for an hour."""

Item = dict[str, Any]


class AwsListing:
    """Every item of a listing, page by page."""

    def __init__(self, session: AwsSession) -> None:
        self.session = session

    def tagged(self, tenant: str, region: str, operation: str, key: str) -> list[Item]:
        """Return a tenant's items; the tags are looked at again, since not every endpoint honours the filter."""
        items = self.all("ec2", region, operation, key, tenant_filter(tenant))
        return [item for item in items if tags_of(item).get(TENANT_TAG) == tenant]

    def all(
        self,
        service: str,
        region: str,
        operation: str,
        key: str,
        filters: list[Item] | None = None,
        **more: object,
    ) -> list[Item]:
        """Return every item of a paged listing. EC2 spells `Filters` as `Filter` in one operation."""
        client = self.session.client(service, region)
        name = "Filter" if operation == "describe_flow_logs" else "Filters"
        request = {**more, **({name: filters} if filters else {})}
        if not client.can_paginate(operation):
            return list(getattr(client, operation)(**request)[key])
        return [item for page in client.get_paginator(operation).paginate(**request) for item in page[key]]

    def instances(self, region: str, filters: list[Item]) -> list[Item]:
        """Return instances, whatever reservation they came by."""
        reservations = self.all("ec2", region, "describe_instances", "Reservations", filters)
        return [instance for reservation in reservations for instance in reservation["Instances"]]

    def log_groups(self, tenant: str, region: str) -> list[Item]:
        """Return the log groups below the tenant's name."""
        return self.all(
            "logs", region, "describe_log_groups", "logGroups", logGroupNamePrefix=log_group(tenant, "")
        )

    def below(self, operation: str, key: str, tenant: str) -> list[Item]:
        """Return what stands below the tenant's IAM path."""
        more: Item = {"Scope": "Local"} if operation == "list_policies" else {}
        path = iam_path(tenant)
        items = self.all("iam", GLOBAL_REGION, operation, key, PathPrefix=path, **more)
        # Not every endpoint honours the prefix everywhere: another tenant's must never count as this one's.
        return [item for item in items if item["Path"] == path]


def tenant_filter(tenant: str) -> list[Item]:
    """Return EC2's filter for what carries a tenant's tag."""
    return [{"Name": f"tag:{TENANT_TAG}", "Values": [tenant]}]


def tags_of(item: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of an item, as EC2 lists them."""
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags") or []}


def key_tags(kms: Any, key: str) -> dict[str, str]:  # noqa: ANN401 - botocore builds its clients at run time
    """Return the tags of a KMS key, which KMS tells of one key at a time and spells in its own way."""
    return {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=key).get("Tags") or []}
