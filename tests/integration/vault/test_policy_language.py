"""Our reading of policies against the server's: a lint that reads a pattern otherwise than the server lints nothing."""

from __future__ import annotations

import json
import random

import pytest

from mutx_infra.adapters.vault_templates import policy_texts
from mutx_infra.vault.policy import PolicySyntaxError, parse_policy
from tests.integration.vault.conftest import Tenant
from tests.support.vault_people import ask

CASES = 400
SEGMENTS = ("a", "b", "ab", "+", "a+", "+b", "*", "")


def test_patterns_mean_to_us_what_they_mean_to_the_server(tenant: Tenant) -> None:
    chosen = random.Random(20261130)
    wrong = []
    patterns = sorted({_path(chosen, SEGMENTS) + chosen.choice(["", "*", "/*"]) for _ in range(60)})
    for pattern in (pattern for pattern in patterns if "+*" not in pattern):
        rule = parse_policy(f'path "{pattern}" {{ capabilities = ["read"] }}')[0]
        token = _token(tenant, f'path "{pattern}" {{ capabilities = ["read"] }}')
        paths = sorted({_path(chosen, ("a", "b", "ab", "abc", "a+", "c", "")) for _ in range(CASES // 40)})
        answered = ask(
            tenant.vault,
            "POST",
            "sys/capabilities",
            {"token": token, "paths": paths},
            token=tenant.admin_token,
        )
        wrong += [
            (pattern, path, answered.data[path])
            for path in paths
            if rule.covers(path) is not (answered.data[path] == ["read"])
        ]

    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        'path "a" { capabilities = ["read"] } # a remark',
        '// a remark\npath "a" { capabilities = ["read", "list"] }',
        'path "a" { capabilities = ["create"]\n allowed_parameters = { "x" = [] } }',
        'path "a" { capabilities = ["create"]\n denied_parameters = { "x" = ["y"] } }',
        'path "a" { capabilities = ["create"]\n required_parameters = ["x"] }',
        'path "a" { capabilities = ["deny"] }',
        *policy_texts().values(),
    ],
)
def test_what_we_read_the_server_reads(tenant: Tenant, text: str) -> None:
    parse_policy(text)

    answer = ask(tenant.vault, "POST", "sys/policies/acl/as-read", {"policy": text}, token=tenant.admin_token)

    assert answer.status == (204 if text else 400), answer


@pytest.mark.parametrize(
    "text",
    [
        'path "a" { policy = "write" }',
        json.dumps({"path": {"a": {"capabilities": ["read"]}}}),
        'path "byok/\\u0064ata/*" { capabilities = ["read"] }',
        '"path" "a" { capabilities = ["read"] }',
        'path "a" { "capabilities" = ["read"] }',
    ],
    ids=["old style", "JSON", "escapes", "quoted word", "quoted name"],
)
def test_ways_of_writing_that_only_the_server_reads_are_refused(tenant: Tenant, text: str) -> None:
    answer = ask(tenant.vault, "POST", "sys/policies/acl/refused", {"policy": text}, token=tenant.admin_token)

    assert answer.status == 204, "the server does not read it either: the case says nothing"
    with pytest.raises(PolicySyntaxError):
        parse_policy(text)


def _path(chosen: random.Random, segments: tuple[str, ...]) -> str:
    return "x/" + "/".join(chosen.choice(segments) for _ in range(chosen.randint(1, 3)))


def _token(tenant: Tenant, policy: str) -> str:
    name = "pattern"
    tenant.admin.write(f"sys/policies/acl/{name}", {"policy": policy})
    return ask(
        tenant.vault,
        "POST",
        "auth/token/create",
        {"policies": [name], "no_default_policy": True, "ttl": "60s"},
        token=tenant.admin_token,
    ).token
