"""The package as the engine sees it."""

from __future__ import annotations

from typing import Any

from mutx_sandbox.aws.resource import ResourceType
from mutx_sandbox.aws.table import TABLE
from mutx_sandbox.bridge.package import Package


class AwsPackage(Package[ResourceType]):
    """The table's types; those that can be tagged have all their tags as an output."""

    def describe(self, kind: ResourceType) -> dict[str, Any]:
        """Return the schema of one resource type."""
        described = super().describe(kind)
        if kind.tagging is not None:
            tags = {"type": "object", "additionalProperties": {"type": "string"}}
            described["properties"] = {**described["properties"], "tagsAll": tags}
        return described


PACKAGE = AwsPackage("aws", TABLE, "7.51.1")
