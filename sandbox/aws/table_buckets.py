"""The table: S3 buckets, each with its settings as resources of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mutx_sandbox.aws.caller import AwsError
from mutx_sandbox.aws.resource import Call, Create, Describe, Naming, ResourceType, Step, Tagging, Update
from mutx_sandbox.aws.shapes import to_api
from mutx_sandbox.aws.tags import REGION, TAGS, pairs
from mutx_sandbox.bridge.properties import Kind, Output, Property, boolean, document, string
from mutx_sandbox.bridge.values import Properties, Value

if TYPE_CHECKING:
    from mutx_sandbox.aws.work import Work

_BUCKET_NAME_LENGTH = 63
_FIRST_REGION = "us-east-1"
_ODD_NAMES = {"sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID", "id": "ID"}
"""Where S3's spelling is not the property's in UpperCamel."""
_PROPERTY_NAMES = {odd: name for name, odd in _ODD_NAMES.items()}


def _to_property(value: Value) -> Value:
    """Turn the API's names into properties', deeply; what is empty or zero was not said."""
    if isinstance(value, dict):
        kept = {key: _to_property(item) for key, item in value.items() if item not in (None, "", 0, {}, [])}
        return {_PROPERTY_NAMES.get(key, key[:1].lower() + key[1:]): item for key, item in kept.items()}
    return [_to_property(item) for item in value] if isinstance(value, list) else value


def _without_empty(value: Value) -> Value:
    """Drop what says nothing, deeply: a filter for the prefix "" is no filter."""
    if isinstance(value, dict):
        kept = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, "", {}, [])}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value


def _make_bucket(work: Work) -> Properties:
    request: Properties = {
        "Bucket": work.inputs["bucket"],
        "ObjectLockEnabledForBucket": work.inputs.get("objectLockEnabled"),
    }
    if work.region != _FIRST_REGION:
        request["CreateBucketConfiguration"] = {"LocationConstraint": work.region}
    return work.call_once("CreateBucket", request)


def _extend_bucket(work: Work, item: Properties, new: bool) -> Properties:
    """Add tags and lock, which S3 keeps apart."""
    if new:
        return {
            **item,
            "Tags": work.inputs.get("tags") or {},
            "Locked": bool(work.inputs.get("objectLockEnabled")),
        }
    return {
        **item,
        "Tags": _tags_of(work),
        "Locked": _asked(work, "GetObjectLockConfiguration").get("ObjectLockConfiguration") is not None,
    }


def _tags_of(work: Work) -> dict[str, str]:
    found = _asked(work, "GetBucketTagging").get("TagSet") or []
    return {tag["Key"]: tag["Value"] for tag in found}


def _asked(work: Work, operation: str) -> Properties:
    """Return a setting, or nothing where S3 says that there is none."""
    try:
        return work.call(operation, {"Bucket": work.id})
    except AwsError as exc:
        if exc.is_absence:
            return {}
        raise


def _tag_new(work: Work) -> None:
    if work.inputs.get("tags"):
        _retag(work, work.inputs["tags"], [])


def _retag(work: Work, changed: Mapping[str, str], removed: list[str]) -> None:
    """Write all tags: S3 has no call for some of them."""
    tags = {key: value for key, value in {**_tags_of(work), **changed}.items() if key not in removed}
    if tags:
        work.call("PutBucketTagging", {"Bucket": work.id, "Tagging": {"TagSet": pairs(tags)}})
    else:
        work.call("DeleteBucketTagging", {"Bucket": work.id})


BUCKET = ResourceType(
    name="aws:s3/bucket:Bucket",
    service="s3",
    properties={
        "region": REGION,
        "tags": TAGS,
        "bucket": string(replaces=True, item=None),
        "bucketPrefix": string(replaces=True, api=None, item=None),
        "objectLockEnabled": boolean(replaces=True, api="ObjectLockEnabledForBucket", item="Locked"),
    },
    outputs={
        "arn": Output(template="arn:$partition:s3:::$bucket"),
        "bucketDomainName": Output(template="$bucket.s3.amazonaws.com"),
        "bucketRegionalDomainName": Output(template="$bucket.s3.$region.amazonaws.com"),
    },
    create=Create(operation=_make_bucket, finish=_tag_new),
    describe=Describe(operation="HeadBucket", by={"Bucket": "$bucket"}, items="@"),
    make_id=lambda known: str(known["bucket"]),
    parse_import=lambda text: {"bucket": text},
    extend=_extend_bucket,
    delete=(Call("DeleteBucket", {"Bucket": "$id"}),),
    tagging=Tagging(
        put=None,
        add=lambda work, tags: _retag(work, tags, []),
        remove=lambda work, keys: _retag(work, {}, keys),
    ),
    naming=Naming(property="bucket", longest=_BUCKET_NAME_LENGTH, prefix="bucketPrefix"),
    unique_by=("bucket",),
    refused=dict.fromkeys(
        (
            "acl",
            "corsRules",
            "grants",
            "lifecycleRules",
            "logging",
            "objectLockConfiguration",
            "policy",
            "replicationConfiguration",
            "serverSideEncryptionConfiguration",
            "versioning",
            "website",
        ),
        "declare the setting's own resource instead",
    ),
)


def _setting(
    name: str,
    properties: Mapping[str, Property],
    operation: str,
    member: str,
    delete: tuple[Step, ...],
    read: Callable[[Properties], Properties],
) -> ResourceType:
    """Describe a setting of a bucket: one structure that is put, got and deleted as a whole.

    Args:
        name: the type's name.
        properties: the structure's members, by property.
        operation: what follows `Get` and `Put` in the API's names.
        member: the put request's member that holds the structure.
        delete: how it is taken away.
        read: turns the get response into the structure.
    """

    def put(work: Work) -> Properties:
        said = {key: work.inputs[key] for key in properties if work.inputs.get(key) is not None}
        structure = to_api(said, _ODD_NAMES)
        flat = structure.pop(member, None)
        wanted = flat if flat is not None else structure
        return work.call(f"Put{operation}", {"Bucket": work.inputs["bucket"], member: wanted})

    def extend(_work: Work, item: Properties, _new: bool) -> Properties:
        return _to_property(read(item)) if _is_raw(item) else item

    def update(work: Work) -> None:
        put(work)

    return ResourceType(
        name=name,
        service="s3",
        properties={
            "region": REGION,
            "bucket": string(required=True, replaces=True, item=None),
            **properties,
        },
        create=Create(operation=put, repeatable=True),
        describe=Describe(operation=f"Get{operation}", by={"Bucket": "$bucket"}, items="@"),
        make_id=lambda known: str(known["bucket"]),
        parse_import=lambda text: {"bucket": text},
        extend=extend,
        updates=(Update(frozenset(properties), update),),
        delete=delete,
        unique_by=("bucket",),
    )


def _is_raw(item: Properties) -> bool:
    return not any(key[:1].islower() for key in item)


def _member(kind: Kind, name: str, **more: Value) -> Property:
    return Property(kind=kind, item=name, **more)


VERSIONING = _setting(
    "aws:s3/bucketVersioning:BucketVersioning",
    {
        "versioningConfiguration": _member(
            Kind.OBJECT, "versioningConfiguration", required=True, computed=True
        )
    },
    "BucketVersioning",
    "VersioningConfiguration",
    (
        Call(
            "PutBucketVersioning",
            {"Bucket": "$bucket", "VersioningConfiguration": {"Status": "Suspended"}},
            frozenset({"InvalidBucketState"}),
        ),
    ),
    lambda found: {"VersioningConfiguration": {"Status": found.get("Status")}},
)

ENCRYPTION = _setting(
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    {"rules": _member(Kind.OBJECTS, "rules", required=True)},
    "BucketEncryption",
    "ServerSideEncryptionConfiguration",
    (Call("DeleteBucketEncryption", {"Bucket": "$bucket"}),),
    lambda found: {"Rules": found.get("ServerSideEncryptionConfiguration", {}).get("Rules")},
)

_BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")

PUBLIC_ACCESS_BLOCK = _setting(
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    {name: _member(Kind.BOOLEAN, name, default=False) for name in _BLOCKS},
    "PublicAccessBlock",
    "PublicAccessBlockConfiguration",
    (Call("DeletePublicAccessBlock", {"Bucket": "$bucket"}),),
    lambda found: found.get("PublicAccessBlockConfiguration", {}),
)

LOCK = _setting(
    "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
    {
        "objectLockEnabled": _member(Kind.STRING, "objectLockEnabled", default="Enabled", replaces=True),
        "rule": _member(Kind.OBJECT, "rule"),
    },
    "ObjectLockConfiguration",
    "ObjectLockConfiguration",
    (
        Call(
            "PutObjectLockConfiguration",
            {"Bucket": "$bucket", "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
        ),
    ),
    lambda found: found.get("ObjectLockConfiguration", {}),
)

LIFECYCLE = _setting(
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    {"rules": _member(Kind.OBJECTS, "rules", required=True, normal=_without_empty)},
    "BucketLifecycleConfiguration",
    "LifecycleConfiguration",
    (Call("DeleteBucketLifecycle", {"Bucket": "$bucket"}),),
    lambda found: {"Rules": found.get("Rules")},
)

BUCKET_POLICY = ResourceType(
    name="aws:s3/bucketPolicy:BucketPolicy",
    service="s3",
    properties={
        "region": REGION,
        "bucket": string(required=True, replaces=True, item=None),
        "policy": document(required=True),
    },
    create=Create(operation="PutBucketPolicy", echoes=True, repeatable=True),
    describe=Describe(operation="GetBucketPolicy", by={"Bucket": "$bucket"}, items="@"),
    make_id=lambda known: str(known["bucket"]),
    parse_import=lambda text: {"bucket": text},
    updates=(
        Update(frozenset({"policy"}), Call("PutBucketPolicy", {"Bucket": "$bucket", "Policy": "$policy"})),
    ),
    delete=(Call("DeleteBucketPolicy", {"Bucket": "$bucket"}),),
    unique_by=("bucket",),
)

TYPES = (BUCKET, VERSIONING, ENCRYPTION, PUBLIC_ACCESS_BLOCK, LOCK, LIFECYCLE, BUCKET_POLICY)
