"""The table: roles and their inline policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mutx_sandbox.aws.resource import (
    Call,
    Create,
    Describe,
    Naming,
    Output,
    ResourceType,
    Tagging,
    Update,
    boolean,
    document,
    integer,
    string,
)
from mutx_sandbox.aws.tags import TAGS, pairs
from mutx_sandbox.aws.values import Properties

if TYPE_CHECKING:
    from mutx_sandbox.aws.work import Work

_ROLE_NAME_LENGTH = 64
_POLICY_NAME_LENGTH = 128


def _update_role(work: Work) -> None:
    work.call(
        "UpdateRole",
        {
            "RoleName": work.id,
            "Description": work.inputs.get("description") or "",
            "MaxSessionDuration": work.inputs.get("maxSessionDuration"),
        },
    )


def _set_boundary(work: Work) -> None:
    boundary = work.inputs.get("permissionsBoundary")
    if boundary:
        work.call("PutRolePermissionsBoundary", {"RoleName": work.id, "PermissionsBoundary": boundary})
    else:
        work.call("DeleteRolePermissionsBoundary", {"RoleName": work.id})


def _detach_if_asked(work: Work) -> None:
    """Take every policy off a role with `forceDetachPolicies`; without it IAM refuses to delete the role."""
    if not work.state.get("forceDetachPolicies"):
        return
    role = {"RoleName": work.id}
    for policy in work.call("ListAttachedRolePolicies", role)["AttachedPolicies"]:
        work.call("DetachRolePolicy", {**role, "PolicyArn": policy["PolicyArn"]}, frozenset({"NoSuchEntity"}))
    for name in work.call("ListRolePolicies", role)["PolicyNames"]:
        work.call("DeleteRolePolicy", {**role, "PolicyName": name}, frozenset({"NoSuchEntity"}))


_NOT_INLINE = "declare aws:iam/rolePolicy:RolePolicy resources instead"

ROLE = ResourceType(
    name="aws:iam/role:Role",
    service="iam",
    regional=False,
    properties={
        "tags": TAGS,
        "name": string(replaces=True, api="RoleName"),
        "namePrefix": string(replaces=True, api=None, item=None),
        "path": string(replaces=True, default="/"),
        "description": string(),
        "assumeRolePolicy": document(required=True, api="AssumeRolePolicyDocument"),
        "maxSessionDuration": integer(default=3600),
        "permissionsBoundary": string(item="PermissionsBoundary.PermissionsBoundaryArn"),
        "forceDetachPolicies": boolean(api=None, item=None, default=False),
    },
    outputs={
        "arn": Output(item="Arn"),
        "createDate": Output(item="CreateDate"),
        "uniqueId": Output(item="RoleId"),
    },
    create=Create(operation="CreateRole", item="Role"),
    describe=Describe(
        operation="GetRole",
        by={"RoleName": "$id"},
        items="Role",
        identity="RoleName",
        among={"RoleName": "$name"},
    ),
    updates=(
        Update(
            frozenset({"assumeRolePolicy"}),
            Call("UpdateAssumeRolePolicy", {"RoleName": "$id", "PolicyDocument": "$assumeRolePolicy"}),
        ),
        Update(frozenset({"description", "maxSessionDuration"}), _update_role),
        Update(frozenset({"permissionsBoundary"}), _set_boundary),
    ),
    delete=(_detach_if_asked, Call("DeleteRole", {"RoleName": "$id"})),
    tagging=Tagging(
        put=lambda request, tags: request.update(Tags=pairs(tags)),
        add=lambda work, tags: _do(work, "TagRole", {"RoleName": work.id, "Tags": pairs(tags)}),
        remove=lambda work, keys: _do(work, "UntagRole", {"RoleName": work.id, "TagKeys": keys}),
    ),
    naming=Naming(longest=_ROLE_NAME_LENGTH),
    unique_by=("name",),
    refused={"inlinePolicies": _NOT_INLINE, "managedPolicyArns": "managed policies are not in its table"},
)


def _do(work: Work, operation: str, parameters: dict[str, object]) -> None:
    work.call(operation, parameters)


def _parse_policy(text: str) -> Properties:
    role, separator, name = text.partition(":")
    if not separator or not name:
        raise ValueError("an inline policy is imported as ROLE:NAME")
    return {"role": role, "name": name}


ROLE_POLICY = ResourceType(
    name="aws:iam/rolePolicy:RolePolicy",
    service="iam",
    regional=False,
    properties={
        "role": string(required=True, replaces=True, api="RoleName"),
        "name": string(replaces=True, api="PolicyName"),
        "namePrefix": string(replaces=True, api=None, item=None),
        "policy": document(required=True, api="PolicyDocument"),
    },
    create=Create(operation="PutRolePolicy", echoes=True, repeatable=True),
    describe=Describe(operation="GetRolePolicy", by={"RoleName": "$role", "PolicyName": "$name"}, items="@"),
    keys=("role", "name"),
    make_id=lambda known: f"{known['role']}:{known['name']}",
    parse_import=_parse_policy,
    updates=(
        Update(
            frozenset({"policy"}),
            Call("PutRolePolicy", {"RoleName": "$role", "PolicyName": "$name", "PolicyDocument": "$policy"}),
        ),
    ),
    delete=(Call("DeleteRolePolicy", {"RoleName": "$role", "PolicyName": "$name"}),),
    naming=Naming(longest=_POLICY_NAME_LENGTH),
    unique_by=("role", "name"),
)

TYPES = (ROLE, ROLE_POLICY)
