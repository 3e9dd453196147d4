from __future__ import annotations

from collections.abc import Mapping

import pytest
from pydantic import ValidationError

from mutx_infra.environment import Environment
from mutx_infra.environment_part import is_loopback_url

PRODUCTION: dict[str, object] = {
    "name": "production",
    "aws": {"account_id": "123456789012"},
    "pulumi": {"backend_url": "s3://state", "secrets_provider": "awskms://alias/state?region=eu-west-1"},
    "registry": {"url": "postgresql://mutx@registry.internal/mutx"},
    "history": {"url": "s3://mutx-history?region=eu-west-1"},
    "archive": {"url": "s3://mutx-archive?region=eu-west-1"},
}
LOCAL: dict[str, object] = {
    "name": "local",
    "aws": {"account_id": "123456789012", "endpoint_url": "http://127.0.0.1:4566"},
    "pulumi": {
        "backend_url": "file:///var/state",
        "passphrase_file": "/var/passphrase",
        "attached_providers": {"aws": "127.0.0.1:1234"},
    },
    "registry": {"url": "sqlite:////var/registry.db"},
}


def _with(profile: Mapping[str, object], part: str, **fields: object) -> dict[str, object]:
    inner = profile[part]
    assert isinstance(inner, dict)
    return {**profile, part: {**inner, **fields}}


def test_a_profile_of_aws_with_a_shared_registry_is_valid_and_not_loopback() -> None:
    assert not Environment.model_validate(PRODUCTION).is_loopback


def test_an_archive_may_lie_in_an_account_that_the_role_enters() -> None:
    role = {"name": "mutx-deploy", "external_id": "mutx"}
    profile = _with(_with(PRODUCTION, "archive", account="310987654321"), "aws", tenant_role=role)

    archive = Environment.model_validate(profile).archive

    assert archive is not None
    assert (archive.account, archive.settle_minutes) == ("310987654321", 10)


def test_a_profile_of_local_endpoints_is_valid_and_loopback() -> None:
    assert Environment.model_validate(LOCAL).is_loopback


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "sqlite with aws": (_with(PRODUCTION, "registry", url="sqlite:////var/registry.db"), "SQLite"),
    "attached provider with aws": (
        _with(PRODUCTION, "pulumi", attached_providers={"aws": "127.0.0.1:1"}),
        "attached_providers",
    ),
    "provider on another machine": (
        _with(LOCAL, "pulumi", attached_providers={"aws": "10.0.0.1:1234"}),
        "must be a loopback address",
    ),
    "plain http elsewhere": (_with(PRODUCTION, "aws", endpoint_url="http://10.0.0.1:4566"), "https"),
    "passphrase without its file": (_with(LOCAL, "pulumi", passphrase_file=None), "passphrase_file"),
    "no history with aws": ({key: value for key, value in PRODUCTION.items() if key != "history"}, "history"),
    "history on this machine's disk with aws": (
        _with(PRODUCTION, "history", url="file:///var/history"),
        "history",
    ),
    "history of an unknown kind": (_with(LOCAL, "registry") | {"history": {"url": "ftp://x"}}, "history"),
    "no archive with aws": ({key: value for key, value in PRODUCTION.items() if key != "archive"}, "archive"),
    "archive on this machine's disk with aws": (
        _with(PRODUCTION, "archive", url="file:///var/archive"),
        "archive",
    ),
    "archive in another account that no role enters": (
        _with(PRODUCTION, "archive", account="310987654321"),
        "tenant_role is required with archive.account",
    ),
    "archive that waits for a day": (_with(PRODUCTION, "archive", settle_minutes=1440), "settle_minutes"),
    "hosts that go round the proxy": (
        {**PRODUCTION, "tailnet": {"coordination": ["169.254.170.24:3478"]}},
        "coordination is for a tailnet on loopback",
    ),
    "coordination that is routed": (
        {**LOCAL, "tailnet": {"api_url": "http://127.0.0.1:1", "coordination": ["10.0.0.1:3478"]}},
        "coordination",
    ),
    "a tailnet's token in a file with Tailscale itself": (
        {**PRODUCTION, "tailnet": {"api_key_file": "/var/token"}},
        "api_key_file is for a tailnet on loopback",
    ),
    "no account": ({**PRODUCTION, "aws": {}}, "account_id"),
    "short account": (_with(PRODUCTION, "aws", account_id="1234"), "account_id"),
    "account as a number": (_with(PRODUCTION, "aws", account_id=123456789012), "account_id"),
    "unknown field": ({**PRODUCTION, "sandbox": True}, "sandbox"),
    "unknown version": ({**PRODUCTION, "version": 2}, "version"),
    "bad name": ({**PRODUCTION, "name": "Production!"}, "name"),
    "no registry": ({key: value for key, value in PRODUCTION.items() if key != "registry"}, "registry"),
}


@pytest.mark.parametrize(("profile", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_profile_that_could_mislead_is_refused(profile: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Environment.model_validate(profile)


def test_an_account_number_in_another_scripts_digits_is_refused() -> None:
    with pytest.raises(ValidationError, match="account_id"):
        Environment.model_validate(_with(PRODUCTION, "aws", account_id="١٢٣٤٥٦٧٨٩٠١٢"))


def test_a_profile_is_loopback_only_if_every_endpoint_is() -> None:
    remote_state = _with(LOCAL, "pulumi", backend_url="s3://state")
    remote_registry = _with(LOCAL, "registry", url="postgresql://mutx@10.0.0.1/mutx")

    assert not Environment.model_validate(remote_state).is_loopback
    assert not Environment.model_validate(remote_registry).is_loopback


def test_a_profile_does_not_print_the_registrys_password() -> None:
    profile = Environment.model_validate(_with(PRODUCTION, "registry", url="postgresql://a:hunter2@b/c"))

    assert "hunter2" not in f"{profile} {profile!r} {profile.model_dump_json()}"


@pytest.mark.parametrize(
    ("url", "is_loopback"),
    [
        ("http://127.0.0.1:4566", True),
        ("http://127.9.9.9", True),
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("file:///x", True),
        ("sqlite:////x", True),
        ("sqlite+pysqlite:////x", True),
        ("postgresql://u@/db?host=/run/postgresql", True),
        ("postgresql://u@/db?host=db.internal", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1@example.com", False),
        ("http://0.0.0.0", False),
        ("http://10.0.0.1", False),
        ("http://example.com/127.0.0.1", False),
        ("s3://localhost-state", False),
    ],
)
def test_a_url_is_loopback_only_if_it_cannot_leave_the_machine(url: str, is_loopback: bool) -> None:
    assert is_loopback_url(url) is is_loopback


ROLE = {"name": "mutx-deploy", "external_id": "e-1"}


def test_the_archive_s_account_is_entered_by_the_role() -> None:
    profile = _with(PRODUCTION, "aws", archive_account="310987654321", tenant_role=ROLE)

    assert Environment.model_validate(profile).aws.archive_account == "310987654321"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"archive_account": "310987654321"}, "aws.tenant_role is required"),
        ({"archive_account": "123456789012", "tenant_role": ROLE}, "the archive alone"),
        (
            {
                "archive_account": "310987654321",
                "tenant_accounts": ["310987654321"],
                "tenant_role": ROLE,
            },
            "the archive alone",
        ),
    ],
    ids=["no role", "the platform's own", "a tenant's"],
)
def test_an_archive_s_account_that_is_not_apart_or_cannot_be_entered_is_refused(
    fields: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        Environment.model_validate(_with(PRODUCTION, "aws", **fields))


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("s3://state?region=eu-west-1&endpoint=http://127.0.0.1:4566", True),
        ("s3://state?endpoint=https://s3.example.com", False),
        ("s3://state?region=eu-west-1", False),
        ("s3://localhost-state", False),
    ],
)
def test_a_bucket_is_on_this_machine_where_its_endpoint_is(url: str, is_local: bool) -> None:
    assert is_loopback_url(url) is is_local
