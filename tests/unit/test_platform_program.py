"""The platform's program under Pulumi's mocks: what lives in the archive's account, and how that is entered."""

from __future__ import annotations

import json

import pulumi
import pytest
from pulumi.runtime import mocks, settings

from mutx_infra.adapters.stack_settings import stack_config
from mutx_infra.environment import Environment
from mutx_infra.plan import TenantPlan
from tests.support.loops import pulumi_event_loop
from tests.support.specs import ACCOUNT, a_plan
from tests.unit.test_stack_program import Recorder

ARCHIVE = "310987654321"
PROVIDER = "pulumi:providers:aws"
ROLE = {"name": "mutx-deploy", "external_id": "e-1"}


def platform_plan(**fields: object) -> TenantPlan:
    return a_plan("platform", block="10.255.252.0/22", tier="platform", **fields)


def an_environment(**aws: object) -> Environment:
    return Environment.model_validate(
        {
            "name": "test",
            "aws": {"account_id": ACCOUNT, "archive_account": ARCHIVE, "tenant_role": ROLE, **aws},
            "pulumi": {"backend_url": "s3://state", "secrets_provider": "awskms://k"},
            "registry": {"url": "postgresql://mutx@registry.internal/mutx"},
            "history": {"url": "s3://mutx-history"},
            "archive": {"url": "s3://mutx-archive"},
        }
    )


@pulumi_event_loop()
def register(plan: TenantPlan, config: dict[str, object]) -> Recorder:
    from mutx_infra.stacks.platform.program import build  # noqa: PLC0415 - 1 s that other files need not pay

    recorder = Recorder()
    mocks.set_mocks(recorder, project="mutx-platform", stack="platform")
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    pulumi.runtime.set_all_config(texts, ["aws:secretKey"] if "aws:secretKey" in texts else [])

    @pulumi.runtime.test
    def run() -> None:
        build(plan)

    run()
    pulumi.runtime.set_all_config({})
    settings.reset_options()
    return recorder


@pytest.fixture(scope="module")
def apart() -> Recorder:
    plan = platform_plan(archive={"account": ARCHIVE})
    config = stack_config(an_environment(profile="production"), plan)
    return register(
        plan, {**config, "aws:s3UsePathStyle": "true", "aws:maxRetries": "7", "aws:secretKey": "s"}
    )


def elsewhere(recorder: Recorder) -> list[str]:
    """What is made by another provider than the stack's own."""
    return sorted(made.name for made in recorder.made if "archive-account" in (made.provider or ""))


def test_archive_buckets_and_their_key_alone_are_made_in_the_archive_s_account(apart: Recorder) -> None:
    settings_of = ["", "-closed", "-encryption", "-lifecycle", "-lock", "-policy", "-versioning"]
    buckets = [f"platform-bucket-archive-{years}{end}" for years in ("1y", "7y") for end in settings_of]

    assert elsewhere(apart) == sorted([*buckets, "platform-alias-archive", "platform-key-archive"])


def test_the_provider_enters_that_account_and_no_other_with_the_settings_of_the_stack(
    apart: Recorder,
) -> None:
    (inputs,) = apart.of(PROVIDER)

    assert json.loads(inputs["allowedAccountIds"]) == [ARCHIVE]
    assert json.loads(inputs["assumeRoles"]) == [
        {
            "roleArn": f"arn:aws:iam::{ARCHIVE}:role/mutx-deploy",
            "externalId": "e-1",
            "sessionName": "mutx-infra",
        }
    ]
    assert (inputs["region"], inputs["profile"]) == ("eu-west-1", "production")
    assert (inputs["s3UsePathStyle"], inputs["maxRetries"]) == ("true", "7")
    assert inputs["secretKey"] != "s", "a secret stays one"
    assert inputs["secretKey"]["value"] == "s"


def test_the_key_s_policy_names_the_archive_s_account(apart: Recorder) -> None:
    (policy,) = [
        key["policy"] for key in apart.of("aws:kms/key:Key") if key["tags"]["mutx:purpose"] == "archive"
    ]

    assert f"arn:aws:iam::{ARCHIVE}:root" in policy
    assert ACCOUNT not in policy


def test_without_an_account_of_its_own_the_archive_needs_no_provider() -> None:
    plan = platform_plan()
    recorder = register(plan, stack_config(an_environment(), plan))

    assert recorder.of(PROVIDER) == []
    assert elsewhere(recorder) == []
    assert "mutx-archive-1y-123456789012-eu-west-1" in [
        b["bucket"] for b in recorder.of("aws:s3/bucket:Bucket")
    ]


def test_every_setting_of_the_stack_is_an_argument_of_the_provider() -> None:
    """A name that the SDK spells otherwise would fail only where somebody sets it."""
    import inspect  # noqa: PLC0415

    import pulumi_aws as aws  # noqa: PLC0415
    from mutx_infra.stacks.platform.archive import _SECRETS, _TEXTS, _VALUES, _argument  # noqa: PLC0415

    known = set(inspect.signature(aws.ProviderArgs.__init__).parameters)
    names = {_argument(name) for name in (*_SECRETS, *_TEXTS, *_VALUES)}
    own = {"region", "allowed_account_ids", "assume_roles", "forbidden_account_ids"}

    assert names <= known
    assert known - names - own - {"__self__", "self"} <= {"tag_policy_compliance", "user_agents"}
