"""The table: roles, their policies, and the instance profiles that carry them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mutx_sandbox.aws.resource import Call, Create, Describe, Naming, ResourceType, Update
from mutx_sandbox.aws.tags import TAGS, call_tagging
from mutx_sandbox.bridge.properties import Kind, Output, boolean, document, integer, string
from mutx_sandbox.bridge.values import Properties

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
    tagging=call_tagging("TagRole", "UntagRole", "RoleName"),
    naming=Naming(longest=_ROLE_NAME_LENGTH),
    unique_by=("name",),
    refused={"inlinePolicies": _NOT_INLINE, "managedPolicyArns": "managed policies are not in its table"},
)


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

_POLICY_VERSIONS = 5
"""IAM keeps no more versions of a managed policy."""


def _extend_policy(work: Work, item: Properties, _new: bool) -> Properties:
    """Add the default version's document."""
    wanted = {"PolicyArn": item["Arn"], "VersionId": item["DefaultVersionId"]}
    return {**item, "Document": work.call("GetPolicyVersion", wanted)["PolicyVersion"]["Document"]}


def _versions(work: Work) -> list[Properties]:
    """Return the versions that are not in force, the oldest last."""
    found = work.call("ListPolicyVersions", {"PolicyArn": work.id})["Versions"]
    return [version for version in found if not version["IsDefaultVersion"]]


def _new_policy_version(work: Work) -> None:
    others = sorted(_versions(work), key=lambda version: int(str(version["VersionId"]).lstrip("v")))
    if len(others) + 1 >= _POLICY_VERSIONS:
        work.call("DeletePolicyVersion", {"PolicyArn": work.id, "VersionId": others[0]["VersionId"]})
    request = {"PolicyArn": work.id, "PolicyDocument": work.inputs["policy"], "SetAsDefault": True}
    work.call_once("CreatePolicyVersion", request)


def _delete_versions(work: Work) -> None:
    for version in _versions(work):
        work.call("DeletePolicyVersion", {"PolicyArn": work.id, "VersionId": version["VersionId"]})


POLICY = ResourceType(
    name="aws:iam/policy:Policy",
    service="iam",
    regional=False,
    properties={
        "tags": TAGS,
        "name": string(replaces=True, api="PolicyName"),
        "namePrefix": string(replaces=True, api=None, item=None),
        "path": string(replaces=True, default="/"),
        "description": string(replaces=True),
        "policy": document(required=True, api="PolicyDocument", item="Document"),
    },
    outputs={
        "arn": Output(item="Arn"),
        "policyId": Output(item="PolicyId"),
        "attachmentCount": Output(item="AttachmentCount", kind=Kind.INTEGER),
    },
    create=Create(operation="CreatePolicy", item="Policy"),
    describe=Describe(
        operation="GetPolicy",
        by={"PolicyArn": "$id"},
        items="Policy",
        identity="Arn",
        among={"PolicyArn": "arn:$partition:iam::$account:policy$path$name"},
    ),
    extend=_extend_policy,
    updates=(Update(frozenset({"policy"}), _new_policy_version),),
    delete=(_delete_versions, Call("DeletePolicy", {"PolicyArn": "$id"})),
    tagging=call_tagging("TagPolicy", "UntagPolicy", "PolicyArn"),
    naming=Naming(longest=_POLICY_NAME_LENGTH),
    unique_by=("name", "path"),
)


def _set_profile_role(work: Work) -> None:
    """Put the wanted role in the profile, which holds one at most."""
    before, wanted = work.state.get("role"), work.inputs.get("role")
    profile = {"InstanceProfileName": work.id}
    if before and before != wanted:
        work.call(
            "RemoveRoleFromInstanceProfile", {**profile, "RoleName": before}, frozenset({"NoSuchEntity"})
        )
    if wanted and before != wanted:
        work.call("AddRoleToInstanceProfile", {**profile, "RoleName": wanted}, frozenset({"LimitExceeded"}))


def _empty_profile(work: Work) -> None:
    if work.state.get("role"):
        request = {"InstanceProfileName": work.id, "RoleName": work.state["role"]}
        work.call("RemoveRoleFromInstanceProfile", request, frozenset({"NoSuchEntity"}))


INSTANCE_PROFILE = ResourceType(
    name="aws:iam/instanceProfile:InstanceProfile",
    service="iam",
    regional=False,
    properties={
        "tags": TAGS,
        "name": string(replaces=True, api="InstanceProfileName"),
        "namePrefix": string(replaces=True, api=None, item=None),
        "path": string(replaces=True, default="/"),
        "role": string(api=None, item="Roles[0].RoleName"),
    },
    outputs={
        "arn": Output(item="Arn"),
        "createDate": Output(item="CreateDate"),
        "uniqueId": Output(item="InstanceProfileId"),
    },
    create=Create(operation="CreateInstanceProfile", item="InstanceProfile"),
    describe=Describe(
        operation="GetInstanceProfile",
        by={"InstanceProfileName": "$id"},
        items="InstanceProfile",
        identity="InstanceProfileName",
        among={"InstanceProfileName": "$name"},
    ),
    updates=(Update(frozenset({"role"}), _set_profile_role),),
    delete=(_empty_profile, Call("DeleteInstanceProfile", {"InstanceProfileName": "$id"})),
    tagging=call_tagging("TagInstanceProfile", "UntagInstanceProfile", "InstanceProfileName"),
    naming=Naming(longest=_POLICY_NAME_LENGTH),
    unique_by=("name",),
)

TYPES = (ROLE, ROLE_POLICY, POLICY, INSTANCE_PROFILE)
