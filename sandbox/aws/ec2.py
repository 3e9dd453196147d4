"""What most EC2 resource types have in common, so that their table entries say only what is their own."""

from __future__ import annotations

from collections.abc import Mapping

from mutx_sandbox.aws.resource import Describe
from mutx_sandbox.aws.tags import REGION, TAGS
from mutx_sandbox.bridge.properties import Output
from mutx_sandbox.bridge.values import Properties

COMMON = {"region": REGION, "tags": TAGS}
"""Properties of every tagged EC2 type."""

OWNER = {"ownerId": Output(item="OwnerId")}


def arn(resource: str, service: str = "ec2") -> Output:
    """Return the ARN output of a regional resource, e.g. `vpc/$id`."""
    return Output(template=f"arn:$partition:{service}:$region:$account:{resource}")


def described(
    operation: str,
    plural: str,
    identity: str,
    *,
    among: Mapping[str, str] | None = None,
    gone: str = "",
    given: str = "",
) -> Describe:
    """Describe a type by `<Identity>s=[id]`, as most of EC2 does.

    Args:
        operation: e.g. `DescribeVpcs`.
        plural: member of the response that lists the items, e.g. `Vpcs`.
        identity: member of an item that is its id, e.g. `VpcId`.
        among: EC2 filters that narrow the search for a lost resource, `{"vpc-id": "$vpcId"}`.
        gone: see `Describe.gone`.
        given: see `Describe.given`.
    """
    return Describe(
        operation=operation,
        by={f"{identity}s": ["$id"]},
        items=plural,
        identity=identity,
        among=filters(among or {}),
        gone=gone,
        given=given,
    )


def filters(wanted: Mapping[str, str]) -> Properties:
    """Return a request that filters; without filters it lists everything in the region."""
    if not wanted:
        return {}
    return {"Filters": [{"Name": name, "Values": [value]} for name, value in wanted.items()]}
