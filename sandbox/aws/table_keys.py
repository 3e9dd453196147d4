"""The table: KMS keys and their aliases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mutx_sandbox.aws.caller import AwsError
from mutx_sandbox.aws.ec2 import COMMON
from mutx_sandbox.aws.resource import Call, Create, Describe, Naming, ResourceType, Update
from mutx_sandbox.aws.tags import REGION, call_tagging
from mutx_sandbox.bridge.properties import Output, boolean, document, integer, string
from mutx_sandbox.bridge.values import Properties, Value

if TYPE_CHECKING:
    from mutx_sandbox.aws.work import Work

_ALIAS_LENGTH = 256
_PENDING = "KMSInvalidStateException"


def _kms_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in tags.items()]


def _extend_key(work: Work, item: Properties, new: bool) -> Properties:
    """Add what `DescribeKey` leaves out: policy, rotation and tags."""
    key = {"KeyId": item["KeyId"]}
    if new and work.inputs.get("policy") is not None:
        asked = {"Policy": work.inputs["policy"], "Tags": work.inputs.get("tags") or {}, "Rotates": False}
        return {**item, **asked}
    tags = work.call("ListResourceTags", key).get("Tags") or []
    extended = {
        **item,
        "Policy": work.call("GetKeyPolicy", {**key, "PolicyName": "default"})["Policy"],
        "Tags": {tag["TagKey"]: tag["TagValue"] for tag in tags},
    }
    if item.get("KeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT":
        rotation = work.call("GetKeyRotationStatus", key)
        extended["Rotates"] = rotation["KeyRotationEnabled"]
    return extended


def _find_made(work: Work) -> list[Properties]:
    """Return living keys with the wanted tags: KMS has no natural key."""
    wanted = work.inputs.get("tags") or {}
    found: list[Properties] = []
    request: Properties = {}
    while wanted:
        page = work.call("ListKeys", request)
        for entry in page["Keys"]:
            key = {"KeyId": entry["KeyId"]}
            tags = work.call("ListResourceTags", key).get("Tags") or []
            if {tag["TagKey"]: tag["TagValue"] for tag in tags} == wanted:
                found.append(work.call("DescribeKey", key)["KeyMetadata"])
        if not page.get("Truncated"):
            break
        request = {"Marker": page["NextMarker"]}
    return found


def _set_rotation(work: Work) -> None:
    wanted = work.inputs.get("enableKeyRotation")
    work.call("EnableKeyRotation" if wanted else "DisableKeyRotation", {"KeyId": work.id})


def _set_enabled(work: Work) -> None:
    work.call("EnableKey" if work.inputs.get("isEnabled") else "DisableKey", {"KeyId": work.id})


def _schedule_deletion(work: Work) -> None:
    """Schedule the deletion; a key that is on its way out already is a success."""
    request = {"KeyId": work.id, "PendingWindowInDays": work.state.get("deletionWindowInDays")}
    try:
        work.call("ScheduleKeyDeletion", request)
    except AwsError as exc:
        if exc.code != _PENDING:
            raise


KEY = ResourceType(
    name="aws:kms/key:Key",
    service="kms",
    properties={
        **COMMON,
        "description": string(computed=True),
        "policy": document(computed=True),
        "keyUsage": string(replaces=True, default="ENCRYPT_DECRYPT"),
        "customerMasterKeySpec": string(replaces=True, default="SYMMETRIC_DEFAULT", api="KeySpec"),
        "multiRegion": boolean(replaces=True, computed=True),
        "enableKeyRotation": boolean(api=None, item="Rotates", default=False),
        "isEnabled": boolean(api=None, item="Enabled", default=True),
        "deletionWindowInDays": integer(api=None, item=None),
        "bypassPolicyLockoutSafetyCheck": boolean(item=None, default=False),
    },
    outputs={"arn": Output(item="Arn"), "keyId": Output(item="KeyId")},
    create=Create(operation="CreateKey", item="KeyMetadata"),
    describe=Describe(
        operation="DescribeKey",
        by={"KeyId": "$id"},
        items="KeyMetadata",
        identity="KeyId",
        search=_find_made,
        gone="KeyState == 'PendingDeletion'",
    ),
    extend=_extend_key,
    updates=(
        Update(frozenset({"enableKeyRotation"}), _set_rotation),
        Update(frozenset({"isEnabled"}), _set_enabled),
        Update(
            frozenset({"description"}),
            Call("UpdateKeyDescription", {"KeyId": "$id", "Description": "$description"}),
        ),
        Update(
            frozenset({"policy"}),
            Call("PutKeyPolicy", {"KeyId": "$id", "PolicyName": "default", "Policy": "$policy"}),
        ),
    ),
    delete=(_schedule_deletion,),
    tagging=call_tagging("TagResource", "UntagResource", "KeyId", spell=_kms_tags),
    refused={
        "rotationPeriodInDays": "the stand-in rotates every year",
        "customKeyStoreId": "custom key stores are not in its table",
        "xksKeyId": "external key stores are not in its table",
    },
)


def _key_id(value: Value) -> str:
    """Return the id of a key given by id or ARN."""
    return str(value).rsplit("/", 1)[-1]


ALIAS = ResourceType(
    name="aws:kms/alias:Alias",
    service="kms",
    properties={
        "region": REGION,
        "name": string(replaces=True, api="AliasName", item=None),
        "namePrefix": string(replaces=True, api=None, item=None),
        "targetKeyId": string(required=True, item="KeyId", normal=_key_id),
    },
    outputs={
        "arn": Output(template="arn:$partition:kms:$region:$account:$name"),
        "targetKeyArn": Output(item="Arn"),
    },
    create=Create(operation="CreateAlias", echoes=False),
    describe=Describe(operation="DescribeKey", by={"KeyId": "$name"}, items="KeyMetadata"),
    make_id=lambda known: str(known["name"]),
    parse_import=lambda text: {"name": text},
    updates=(
        Update(
            frozenset({"targetKeyId"}),
            Call("UpdateAlias", {"AliasName": "$name", "TargetKeyId": "$targetKeyId"}),
        ),
    ),
    delete=(Call("DeleteAlias", {"AliasName": "$name"}),),
    naming=Naming(longest=_ALIAS_LENGTH),
    unique_by=("name",),
)

TYPES = (KEY, ALIAS)
