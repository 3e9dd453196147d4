"""The auditor's role: it can sign evidence and show the public key, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from mutx_infra.grants import auditor_grants, auditor_trust, document
from mutx_infra.naming import auditor_role, iam_path, resource_name
from mutx_infra.plan import TenantPlan


@dataclass(frozen=True, slots=True)
class AuditorArgs:
    """The plan, the key that evidence is signed with, and the policy that bounds the role."""

    plan: TenantPlan
    signing_key_arn: pulumi.Input[str]
    boundary_arn: pulumi.Input[str]


class Auditor(pulumi.ComponentResource):
    """A role with one grant.

    Attributes:
        role_arn: the role.
    """

    def __init__(self, name: str, args: AuditorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mutx:platform:Auditor", name, None, opts)
        plan, own = args.plan, pulumi.ResourceOptions(parent=self)
        role = aws.iam.Role(
            resource_name(name, "role-auditor"),
            name=auditor_role(plan.tenant),
            path=iam_path(plan.tenant),
            description="Signs evidence; nothing else",
            assume_role_policy=auditor_trust(plan),
            permissions_boundary=args.boundary_arn,
            tags=plan.tags_of("role-auditor"),
            opts=own,
        )
        aws.iam.RolePolicy(
            resource_name(name, "grant-auditor"),
            name="sign-evidence",
            role=role.name,
            policy=pulumi.Output.from_input(args.signing_key_arn).apply(
                lambda arn: document(auditor_grants(lambda _: arn))
            ),
            opts=own,
        )
        self.role_arn: pulumi.Output[str] = role.arn
        self.register_outputs({"roleArn": self.role_arn})
