"""What the role that deploys may do in an account, and what it may no longer do to a tenant's hosts after hand-over.

The grants are exactly what the toolkit was seen to call (`tests/integration/test_deploy_policy.py` compares both ways),
and what AWS demands beside those calls.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from mutx_infra import naming
from mutx_infra.grants import Grant, document

DEPENDENT: dict[str, tuple[str, str]] = {
    "iam:PassRole": ("ec2:RunInstances", "a host is given its role, and flow logs theirs"),
    "kms:CreateGrant": ("ec2:RunInstances", "EC2 opens encrypted volumes by a grant of the caller's"),
    "kms:Decrypt": ("ec2:AttachVolume", "EC2 unwraps a data volume's key as the caller"),
    "kms:Encrypt": ("ssm:PutParameter", "SSM seals a join document as the caller"),
    "kms:GenerateDataKey": ("s3:PutObject", "the buckets of history and archive encrypt under keys"),
    "kms:GenerateDataKeyWithoutPlaintext": (
        "ec2:CreateVolume",
        "EC2 makes a data volume's key as the caller",
    ),
}
"""Actions that AWS demands of the caller without an API call of ours: which call needs it, and why."""

RARE: dict[str, str] = {
    "ec2:ModifyVolume": "a data volume grows when its tier's size does",
    "kms:CancelKeyDeletion": "a key that a pipeline destroyed is tagged before it goes",
    "s3:GetObjectRetention": "S3 tells who reads an object until when it is locked only where this is granted too",
}
"""Actions outside an ordinary life, each with when it is needed."""

_READ_ONLY = (
    "ec2:DescribeAddresses", "ec2:DescribeAvailabilityZones", "ec2:DescribeFlowLogs",
    "ec2:DescribeInstanceAttribute", "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstances", "ec2:DescribeInternetGateways", "ec2:DescribeLaunchTemplateVersions",
    "ec2:DescribeLaunchTemplates", "ec2:DescribeNatGateways", "ec2:DescribeNetworkAcls",
    "ec2:DescribePrefixLists", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVolumes", "ec2:DescribeVpcAttribute",
    "ec2:DescribeVpcEndpoints", "ec2:DescribeVpcs", "iam:ListInstanceProfiles", "iam:ListPolicies",
    "iam:ListRoles", "kms:ListAliases", "kms:ListKeys", "logs:DescribeLogGroups", "servicequotas:GetServiceQuota",
    "ssm:DescribeParameters", "sts:GetCallerIdentity",
)  # fmt: skip
_NETWORK = (
    "ec2:AllocateAddress", "ec2:AssociateRouteTable", "ec2:AttachInternetGateway",
    "ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress", "ec2:CreateFlowLogs",
    "ec2:CreateInternetGateway", "ec2:CreateNatGateway", "ec2:CreateNetworkAcl", "ec2:CreateNetworkAclEntry",
    "ec2:CreateRoute", "ec2:CreateRouteTable", "ec2:CreateSecurityGroup", "ec2:CreateSubnet", "ec2:CreateTags",
    "ec2:CreateVpc", "ec2:CreateVpcEndpoint", "ec2:DeleteFlowLogs", "ec2:DeleteInternetGateway",
    "ec2:DeleteNatGateway", "ec2:DeleteNetworkAcl", "ec2:DeleteNetworkAclEntry", "ec2:DeleteRoute",
    "ec2:DeleteRouteTable", "ec2:DeleteSecurityGroup", "ec2:DeleteSubnet", "ec2:DeleteTags", "ec2:DeleteVpc",
    "ec2:DeleteVpcEndpoints", "ec2:DetachInternetGateway", "ec2:DisassociateRouteTable",
    "ec2:ModifySecurityGroupRules", "ec2:ModifySubnetAttribute", "ec2:ModifyVpcAttribute",
    "ec2:ModifyVpcEndpoint", "ec2:ReleaseAddress", "ec2:ReplaceNetworkAclAssociation", "ec2:ReplaceRoute",
    "ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress",
)  # fmt: skip
_HOSTS = (
    "ec2:AttachVolume", "ec2:CreateLaunchTemplate", "ec2:CreateLaunchTemplateVersion", "ec2:CreateVolume",
    "ec2:DeleteLaunchTemplate", "ec2:DeleteVolume", "ec2:DetachVolume", "ec2:ModifyLaunchTemplate",
    "ec2:ModifyVolume", "ec2:RunInstances", "ec2:TerminateInstances",
)  # fmt: skip
_BOUNDED = ("iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy")
_ROLES = (
    "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies",
    "iam:ListRolePolicies", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy",
)  # fmt: skip
_PROFILES = (
    "iam:AddRoleToInstanceProfile", "iam:CreateInstanceProfile", "iam:DeleteInstanceProfile",
    "iam:GetInstanceProfile", "iam:RemoveRoleFromInstanceProfile", "iam:TagInstanceProfile",
    "iam:UntagInstanceProfile",
)  # fmt: skip
_POLICIES = (
    "iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:GetPolicy",
    "iam:GetPolicyVersion", "iam:ListPolicyVersions", "iam:TagPolicy", "iam:UntagPolicy",
)  # fmt: skip
_KEYS = (
    "kms:CancelKeyDeletion", "kms:DescribeKey", "kms:EnableKey", "kms:EnableKeyRotation", "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus", "kms:ListResourceTags", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion",
    "kms:TagResource", "kms:UntagResource", "kms:UpdateKeyDescription",
)  # fmt: skip
_ALIASES = ("kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias")
_BY_SERVICES = (
    "kms:CreateGrant", "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
)  # fmt: skip
_JOINING = ("ssm:DeleteParameter", "ssm:DeleteParameters", "ssm:GetParameter", "ssm:PutParameter")
_LOGS = (
    "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:FilterLogEvents", "logs:ListTagsForResource",
    "logs:PutRetentionPolicy", "logs:TagResource", "logs:UntagResource",
)  # fmt: skip
_KEPT = (
    "s3:GetBucketObjectLockConfiguration", "s3:GetObject", "s3:GetObjectRetention", "s3:GetObjectVersion",
    "s3:GetObjectVersionTagging", "s3:ListBucket", "s3:ListBucketVersions", "s3:PutObject",
    "s3:PutObjectVersionTagging",
)  # fmt: skip

_BUCKETS = (
    "s3:CreateBucket", "s3:GetBucketObjectLockConfiguration", "s3:GetBucketPolicy", "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketTagging", "s3:GetBucketVersioning", "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration", "s3:ListBucket", "s3:PutBucketObjectLockConfiguration", "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration",
)  # fmt: skip
_ARCHIVE_LOOK = ("kms:ListAliases", "kms:ListKeys", "s3:ListAllMyBuckets", "sts:GetCallerIdentity")
STATE = ("s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject")
"""What the engine itself calls where `pulumi.backend_url` is the platform's bucket."""

AFTER_HAND_OVER = (
    "ec2-instance-connect:SendSSHPublicKey", "ec2:AssociateIamInstanceProfile", "ec2:AttachVolume",
    "ec2:CreateImage", "ec2:CreateSnapshot", "ec2:CreateSnapshots", "ec2:DetachVolume",
    "ec2:GetConsoleScreenshot", "ec2:GetPasswordData", "ec2:ModifyInstanceAttribute",
    "ec2:ModifyInstanceMetadataOptions", "ec2:ModifySnapshotAttribute",
    "ec2:ReplaceIamInstanceProfileAssociation", "kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext", "kms:PutKeyPolicy", "kms:ReEncryptFrom", "kms:ReEncryptTo",
    "ssm:SendCommand", "ssm:StartSession",
)  # fmt: skip
"""What would let the platform into a host, or to its data, once the tenant has it: denied by its boundary."""


def deploy_grants(
    account: str, region: str, buckets: Sequence[str], roles: Sequence[str] = ()
) -> tuple[Grant, ...]:
    """Return what the deploying role needs in one account and region.

    Args:
        account: AWS account id.
        region: the region of the tenants.
        buckets: those of history and archive that are reached with this role, in whichever account.
        roles: ARNs of the roles by which other accounts are entered from this one.
    """
    partition = naming.partition(region)

    def arn(service: str, resource: str) -> str:
        return f"arn:{partition}:{service}:{region}:{account}:{resource}"

    def iam(resource: str) -> str:
        return f"arn:{partition}:iam::{account}:{resource}"

    bounded = {"ArnLike": {"iam:PermissionsBoundary": iam("policy/mutx/*")}}
    ours = {"StringLike": {"aws:ResourceTag/mutx:tenant": "*"}}
    used_by = {"StringLike": {"kms:ViaService": f"*.{region}.amazonaws.com"}}
    passed_to = {"StringLike": {"iam:PassedToService": "*.amazonaws.com"}}
    machines = (arn("ec2", "*/*"), f"arn:{partition}:ec2:{region}::image/*")
    kept_in = tuple(f"arn:{partition}:s3:::{bucket}{part}" for bucket in buckets for part in ("", "/*"))
    enter = Grant("Enter", ("sts:AssumeRole",), tuple(roles), "accounts of tenants and of the archive")
    return (
        *([enter] if roles else []),
        Grant("Look", _READ_ONLY, ("*",), "IAM cannot limit these to resources"),
        Grant("Network", _NETWORK, (arn("ec2", "*/*"),), "what a tenant's packets pass"),
        Grant("Hosts", _HOSTS, machines, "hosts, their templates and volumes"),
        Grant(
            "BoundedRoles", _BOUNDED, (iam("role/mutx/*"),), "no role without a tenant's boundary", bounded
        ),
        Grant("Roles", _ROLES, (iam("role/mutx/*"),), "roles of hosts and flow logs"),
        Grant("Profiles", _PROFILES, (iam("instance-profile/mutx/*"),), "what carries a role to a host"),
        Grant("Policies", _POLICIES, (iam("policy/mutx/*"),), "the tenants' boundaries"),
        Grant("Pass", ("iam:PassRole",), (iam("role/mutx/*"),), DEPENDENT["iam:PassRole"][1], passed_to),
        Grant("NewKeys", ("kms:CreateKey",), ("*",), "a key that does not exist yet has no ARN"),
        Grant("Keys", _KEYS, (arn("kms", "key/*"),), "keys that carry a tenant's tag", ours),
        Grant("Aliases", _ALIASES, (arn("kms", "alias/mutx/*"), arn("kms", "key/*")), "names of keys"),
        Grant(
            "KeysByServices",
            _BY_SERVICES,
            (arn("kms", "key/*"),),
            "volumes, history, archive and join documents",
            used_by,
        ),
        Grant(
            "Logs", _LOGS, (arn("logs", "log-group:/mutx/*"),), "log groups, their retention, their events"
        ),
        Grant("Images", ("ssm:GetParameters",), (arn("ssm", "parameter/mutx/images/*"),), "baked images"),
        Grant(
            "Joining",
            _JOINING,
            (arn("ssm", "parameter/mutx/*/hosts/*"),),
            "a host is told how to join, answers, and nothing of it is left",
        ),
        Grant("Kept", _KEPT, kept_in, "who changed what, and archived logs: written once, read back"),
    )


def archive_grants(account: str, bucket: str, key_region: str) -> tuple[Grant, ...]:
    """Return what the role needs that enters the archive's account, where that is one of its own.

    Args:
        account: the archive's.
        bucket: the archive's.
        key_region: where its key is.
    """
    partition = naming.partition(key_region)
    where = f"arn:{partition}:s3:::{bucket}"
    by_s3 = {"StringEquals": {"kms:ViaService": f"s3.{key_region}.amazonaws.com"}}
    keys = (f"arn:{partition}:kms:{key_region}:{account}:key/*",)
    return (
        Grant("Archive", _KEPT, (where, f"{where}/*"), "archived logs: written once, read back"),
        Grant(
            "ArchiveKey", ("kms:Decrypt", "kms:GenerateDataKey"), keys, "the archive's bucket encrypts", by_s3
        ),
    )


def platform_grants(account: str, region: str) -> tuple[Grant, ...]:
    """Return what a role needs beside `deploy_grants` to build the platform in its own account.

    Nothing here lets it delete a bucket, an object that is locked, or a lock.
    """
    partition = naming.partition(region)
    state = f"arn:{partition}:s3:::{naming.bucket_name('state', account, region)}"
    return (
        Grant("ListBuckets", ("s3:ListAllMyBuckets",), ("*",), "IAM cannot limit this to resources"),
        _buckets(account, region),
        Grant("State", STATE, (state, f"{state}/*"), "the engine keeps the stacks' states there"),
    )


def platform_archive_grants(account: str, region: str) -> tuple[Grant, ...]:
    """Return what the role needs that is entered to build the archive in an account of its own."""
    partition = naming.partition(region)

    def kms(resource: str) -> str:
        return f"arn:{partition}:kms:{region}:{account}:{resource}"

    ours = {"StringLike": {"aws:ResourceTag/mutx:tenant": "*"}}
    return (
        Grant("Look", _ARCHIVE_LOOK, ("*",), "IAM cannot limit these to resources"),
        _buckets(account, region),
        Grant("NewKeys", ("kms:CreateKey",), ("*",), "a key that does not exist yet has no ARN"),
        Grant("Keys", _KEYS, (kms("key/*"),), "the archive's key", ours),
        Grant("Aliases", _ALIASES, (kms("alias/mutx/*"), kms("key/*")), "its name"),
    )


def _buckets(account: str, region: str) -> Grant:
    where = f"arn:{naming.partition(region)}:s3:::mutx-*-{account}-{region}"
    return Grant("Buckets", _BUCKETS, (where,), "buckets are made, closed, encrypted and locked")


def deploy_documents(
    account: str, region: str, buckets: Sequence[str], roles: Sequence[str] = ()
) -> dict[str, str]:
    """Render the grants as managed policies, by name; IAM takes 6,144 characters in each."""
    grants = deploy_grants(account, region, buckets, roles)
    network = tuple(grant for grant in grants if grant.sid in {"Look", "Network"})
    rest = tuple(grant for grant in grants if grant not in network)
    return {"mutx-deploy-network": document(network), "mutx-deploy": document(rest)}


def after_hand_over(tenant: str) -> str:
    """Render the boundary that the tenant puts on the platform's roles in its account at hand-over.

    A boundary grants nothing: what it allows is what other policies may still grant. Denied is every way to a host of
    the tenant, to its volumes and to its keys.
    """
    statements = [
        {"Sid": "WhatIsGrantedElsewhere", "Effect": "Allow", "Action": "*", "Resource": "*"},
        {
            "Sid": "NotTheTenantsHosts",
            "Effect": "Deny",
            "Action": list(AFTER_HAND_OVER),
            "Resource": "*",
            "Condition": {"StringEquals": {f"aws:ResourceTag/{naming.TENANT_TAG}": tenant}},
        },
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
