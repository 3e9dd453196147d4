"""The ways in which AWS services take tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mutx_sandbox.aws.resource import Tagging
from mutx_sandbox.bridge.properties import Kind, Property
from mutx_sandbox.bridge.values import Properties

if TYPE_CHECKING:
    from mutx_sandbox.aws.work import Work

TAGS = Property(kind=Kind.MAP, api=None)
"""The `tags` property, the same for every type that has one."""

REGION = Property(replaces=True, computed=True, api=None)
"""The `region` property: where a single resource is managed, if not in the provider's region."""


def pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as most APIs take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def call_tagging(
    add: str,
    remove: str,
    target: str,
    *,
    spell: Callable[[Mapping[str, str]], list[dict[str, str]]] = pairs,
) -> Tagging:
    """Tags of a resource whose service has a call to add some and one to remove some, by the resource's id.

    Args:
        add: the operation that adds, e.g. `TagRole`.
        remove: the operation that removes.
        target: the member that holds the id.
        spell: tags as the service takes them.
    """

    def put_tags(work: Work, tags: Mapping[str, str]) -> None:
        work.call(add, {target: work.id, "Tags": spell(tags)})

    def remove_tags(work: Work, keys: list[str]) -> None:
        work.call(remove, {target: work.id, "TagKeys": keys})

    return Tagging(
        put=lambda request, tags: request.update(Tags=spell(tags)), add=put_tags, remove=remove_tags
    )


def ec2_tagging(resource_type: str) -> Tagging:
    """Tags of an EC2 resource, given with the creation by TagSpecifications.

    Args:
        resource_type: EC2's word for the type, e.g. `vpc`, `elastic-ip`.
    """

    def put(request: Properties, tags: Mapping[str, str]) -> None:
        request["TagSpecifications"] = [{"ResourceType": resource_type, "Tags": pairs(tags)}]

    return Tagging(put=put, add=add_ec2_tags, remove=_remove_ec2_tags)


def add_ec2_tags(work: Work, tags: Mapping[str, str]) -> None:
    """Set tags of an existing EC2 resource."""
    work.call("CreateTags", {"Resources": [work.id], "Tags": pairs(tags)})


def _remove_ec2_tags(work: Work, keys: list[str]) -> None:
    work.call("DeleteTags", {"Resources": [work.id], "Tags": [{"Key": key} for key in keys]})
