"""Who may do what in IAM, as data: each grant names its actions, its resources and its reason (PRIN-3).

Policy documents are rendered from these rows and compared with the live ones; nothing else grants anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mutx_infra import naming
from mutx_infra.buckets import BucketPlan
from mutx_infra.hosts import HostPlan, Purpose
from mutx_infra.plan import TenantPlan

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Grant:
    """Some actions on some resources.

    Attributes:
        sid: name of the statement, letters and digits.
        reason: why it is needed; IAM has no place for it, so it stays here.
        conditions: IAM's condition block.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    reason: str
    conditions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def document(grants: Iterable[Grant]) -> str:
    """Render grants as an IAM policy document; equal grants give equal text."""
    return json.dumps({"Version": "2012-10-17", "Statement": [_statement(grant) for grant in grants]})


def host_grants(plan: TenantPlan, host: HostPlan, key_arn: Callable[[Purpose], str]) -> tuple[Grant, ...]:
    """Return what a host's role may do: read its own join key once, and write its own log streams.

    `key_arn` gives the ARN of a purpose's key.
    """
    parameter = _arn(plan, "ssm", f"parameter{host.join_parameter}")
    streams = tuple(
        f"{_arn(plan, 'logs', f'log-group:{group.name}')}:log-stream:{host.key}"
        for group in plan.log_groups
        if group.key == "hosts" or (group.key == "vault" and host.role == "vault")
    )
    return (
        Grant(
            "Join",
            ("ssm:GetParameter", "ssm:DeleteParameter", "ssm:PutParameter"),
            (parameter,),
            "mutx-join reads the join key, deletes it, and leaves the host key's fingerprint in its place",
        ),
        Grant(
            "OpenJoinKey",
            ("kms:Decrypt",),
            (key_arn(Purpose.PARAMETERS),),
            "the join key is a SecureString; the context binds the key to this one parameter",
            {"StringEquals": {"kms:EncryptionContext:PARAMETER_ARN": parameter}},
        ),
        Grant(
            "WriteLogs",
            ("logs:CreateLogStream", "logs:PutLogEvents"),
            streams,
            "auditd's and Vault's records leave the host as they are written",
        ),
    )


def flow_log_grants(plan: TenantPlan) -> tuple[Grant, ...]:
    """Return the least that flow logs need: streams and events of one log group."""
    arn = _arn(plan, "logs", f"log-group:{naming.flow_log_group(plan.tenant)}")
    return (
        Grant(
            "WriteFlowLogs",
            ("logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"),
            (arn, f"{arn}:*"),
            "AWS delivers flow logs as this role",
        ),
    )


def boundary_grants(plan: TenantPlan, key_arn: Callable[[Purpose], str]) -> tuple[Grant, ...]:
    """Return the most that any role of the tenant's stack may ever do, whatever is attached to it later."""
    hosts = [grant for host in plan.hosts for grant in host_grants(plan, host, key_arn)]
    joined = tuple(
        Grant(
            sid,
            tuple(sorted({action for grant in hosts if grant.sid == sid for action in grant.actions})),
            tuple(sorted({resource for grant in hosts if grant.sid == sid for resource in grant.resources})),
            "no more than all hosts of the tenant together",
        )
        for sid in ("Join", "OpenJoinKey", "WriteLogs")
    )
    return (*joined, *flow_log_grants(plan), *(auditor_grants(key_arn) if plan.buckets else ()))


def auditor_grants(key_arn: Callable[[Purpose], str]) -> tuple[Grant, ...]:
    """Return what the auditor may do: sign, and show the key that signatures are checked with."""
    return (
        Grant(
            "SignEvidence",
            ("kms:Sign", "kms:GetPublicKey"),
            (key_arn(Purpose.SIGNING),),
            "evidence is signed by a key that never leaves KMS",
        ),
    )


def auditor_trust(plan: TenantPlan) -> str:
    """Let principals of the platform's account become the auditor, each with a second factor."""
    root = f"arn:{naming.partition(plan.region)}:iam::{plan.account}:root"
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": root},
        "Action": "sts:AssumeRole",
        "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def bucket_policy(plan: TenantPlan, bucket: BucketPlan) -> str:
    """Render a bucket's policy: nothing without TLS."""
    arn = f"arn:{naming.partition(plan.region)}:s3:::{bucket.name}"
    statement = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def service_trust(service: str, conditions: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """Render a role's trust policy: one AWS service may assume it, under conditions."""
    statement: Document = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    if conditions:
        statement["Condition"] = {test: dict(values) for test, values in conditions.items()}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def flow_log_trust(plan: TenantPlan) -> str:
    """Let the flow log service of this account and region assume the role, and no other (confused deputy)."""
    return service_trust(
        "vpc-flow-logs.amazonaws.com",
        {
            "StringEquals": {"aws:SourceAccount": plan.account},
            "ArnLike": {"aws:SourceArn": _arn(plan, "ec2", "vpc-flow-log/*")},
        },
    )


def host_trust() -> str:
    """Let EC2 hand the role to an instance."""
    return service_trust("ec2.amazonaws.com")


def key_policy(plan: TenantPlan, purpose: Purpose) -> str:
    """Render a key's policy: the account's IAM decides, and the log service may use the key of the logs."""
    partition = naming.partition(plan.region)
    statements: list[Document] = [
        {
            "Sid": "IamDecides",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{partition}:iam::{plan.account_of(purpose)}:root"},
            # AWS's own default: a key whose policy names no administrator can never be changed or deleted.
            "Action": "kms:*",
            "Resource": "*",
        }
    ]
    if purpose is Purpose.LOGS:
        statements.append(
            {
                "Sid": "LogsOfThisTenant",
                "Effect": "Allow",
                "Principal": {"Service": f"logs.{plan.region}.amazonaws.com"},
                "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo",
                           "kms:GenerateDataKey", "kms:DescribeKey"],
                "Resource": "*",
                "Condition": {
                    "ArnLike": {
                        "kms:EncryptionContext:aws:logs:arn": _arn(
                            plan, "logs", f"log-group:/mutx/{plan.tenant}/*"
                        )
                    }
                },
            }
        )  # fmt: skip
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def endpoint_policy(plan: TenantPlan, service: str) -> str:
    """Render an interface endpoint's policy: this account, this tenant's names; so it is no way out for data."""
    resources = {
        "kms": _arn(plan, "kms", "key/*"),
        "logs": _arn(plan, "logs", f"log-group:/mutx/{plan.tenant}/*"),
        "ssm": _arn(plan, "ssm", f"parameter/mutx/{plan.tenant}/*"),
    }
    actions = {
        "kms": ["kms:Decrypt"],
        "logs": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "ssm": ["ssm:DeleteParameter", "ssm:GetParameter", "ssm:PutParameter"],
    }
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": actions[service],
        "Resource": resources[service],
        "Condition": {"StringEquals": {"aws:PrincipalAccount": plan.account}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _statement(grant: Grant) -> Document:
    statement: Document = {
        "Sid": grant.sid,
        "Effect": "Allow",
        "Action": list(grant.actions),
        "Resource": list(grant.resources),
    }
    if grant.conditions:
        statement["Condition"] = {test: dict(values) for test, values in grant.conditions.items()}
    return statement


def _arn(plan: TenantPlan, service: str, resource: str) -> str:
    return f"arn:{naming.partition(plan.region)}:{service}:{plan.region}:{plan.account}:{resource}"
