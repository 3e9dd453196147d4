"""The deploying role's policies: limited in every way that IAM knows, and small enough for it."""

from __future__ import annotations

import json

from mutx_infra.deploy_policy import (
    AFTER_HAND_OVER,
    DEPENDENT,
    RARE,
    after_hand_over,
    archive_grants,
    deploy_documents,
    deploy_grants,
    platform_archive_grants,
    platform_grants,
)

LIMIT = 6144
"""Characters of a managed policy without white space. Source: IAM user guide, "IAM object quotas"."""
ROLES = ["arn:aws:iam::210987654321:role/mutx-deploy", "arn:aws:iam::310987654321:role/mutx-deploy"]
GRANTS = deploy_grants("123456789012", "eu-west-1", ["mutx-history", "mutx-archive"], ROLES)


def test_no_action_is_a_wildcard_and_none_is_granted_twice() -> None:
    actions = [action for grant in GRANTS for action in grant.actions]

    assert not [action for action in actions if set("*?") & set(action)]
    assert len(actions) == len(set(actions))


def test_only_what_iam_cannot_limit_is_granted_on_every_resource() -> None:
    everywhere = {action for grant in GRANTS if "*" in grant.resources for action in grant.actions}

    assert not [
        a for a in everywhere if not a.split(":")[1].startswith(("Describe", "List", "Get", "CreateKey"))
    ]


def test_no_role_can_be_made_without_a_boundary_or_outside_our_path() -> None:
    (making,) = [grant for grant in GRANTS if "iam:CreateRole" in grant.actions]

    assert making.resources == ("arn:aws:iam::123456789012:role/mutx/*",)
    assert making.conditions["ArnLike"]["iam:PermissionsBoundary"].endswith(":policy/mutx/*")


def test_the_deploying_role_cannot_change_itself() -> None:
    changing = [grant for grant in GRANTS if grant.actions != ("sts:AssumeRole",)]
    resources = {r for grant in changing for r in grant.resources if ":iam:" in r}

    assert all("/mutx/" in resource for resource in resources)


def test_every_grant_and_every_exception_has_a_reason() -> None:
    assert all(grant.reason for grant in GRANTS)
    assert all(reason for _by, reason in DEPENDENT.values())
    assert all(RARE.values())


def test_the_documents_fit_and_hold_every_grant() -> None:
    documents = deploy_documents(
        "123456789012", "eu-west-1", ["mutx-history-" + "x" * 50, "mutx-archive-" + "x" * 50], ROLES
    )
    statements = [s for text in documents.values() for s in json.loads(text)["Statement"]]

    assert all(len("".join(text.split())) <= LIMIT for text in documents.values())
    assert {s["Sid"] for s in statements} == {grant.sid for grant in GRANTS}


def test_the_role_of_the_archives_account_can_do_nothing_but_keep_and_read() -> None:
    grants = archive_grants("310987654321", "mutx-archive", "eu-west-1")

    actions = {action for grant in grants for action in grant.actions}
    assert not {
        a for a in actions if a.startswith(("s3:Delete", "s3:Bypass", "s3:PutBucket", "s3:PutObjectRet"))
    }
    assert {r for grant in grants for r in grant.resources} == {
        "arn:aws:s3:::mutx-archive",
        "arn:aws:s3:::mutx-archive/*",
        "arn:aws:kms:eu-west-1:310987654321:key/*",
    }
    assert grants[1].conditions == {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}


def test_after_hand_over_no_way_leads_to_the_tenant_s_hosts() -> None:
    allow, deny = json.loads(after_hand_over("acme"))["Statement"]

    assert (allow["Effect"], deny["Effect"]) == ("Allow", "Deny")
    assert deny["Condition"] == {"StringEquals": {"aws:ResourceTag/mutx:tenant": "acme"}}
    assert {
        "ssm:SendCommand", "ssm:StartSession", "ec2:CreateSnapshot", "ec2:CreateImage",
        "ec2:ModifyInstanceAttribute", "ec2:AttachVolume", "kms:Decrypt", "kms:CreateGrant", "kms:PutKeyPolicy",
    } <= set(AFTER_HAND_OVER) == set(deny["Action"])  # fmt: skip
    assert len("".join(after_hand_over("a" * 63).split())) <= LIMIT


def test_hand_over_leaves_the_platform_able_to_destroy() -> None:
    assert not {"ec2:TerminateInstances", "ec2:DeleteVolume", "kms:ScheduleKeyDeletion"} & set(
        AFTER_HAND_OVER
    )


def test_who_builds_the_platform_cannot_take_away_what_must_be_kept() -> None:
    grants = (
        *platform_grants("123456789012", "eu-west-1"),
        *platform_archive_grants("310987654321", "eu-west-1"),
    )
    actions = {action for grant in grants for action in grant.actions if grant.sid != "State"}

    assert not {
        a for a in actions if a.startswith(("s3:Delete", "s3:Bypass", "s3:PutObjectRet", "s3:PutObjectLegal"))
    }
    assert not [action for action in actions if set("*?") & set(action)]
    (state,) = [grant for grant in grants if grant.sid == "State"]
    assert state.resources[0] == "arn:aws:s3:::mutx-state-123456789012-eu-west-1"
    everywhere = {a for grant in grants if "*" in grant.resources for a in grant.actions}
    assert everywhere <= {
        "kms:CreateKey",
        "kms:ListAliases",
        "kms:ListKeys",
        "s3:ListAllMyBuckets",
        "sts:GetCallerIdentity",
    }
    assert all(grant.reason for grant in grants)
