"""Every rule of the lints has a policy that breaks it; what we ship breaks none."""

from __future__ import annotations

import pytest

from mutx_infra.adapters.vault_templates import policy_texts
from mutx_infra.vault.layout import AGENT, DEPOSITOR, MACHINE, ONBOARDER, OPERATOR, POLICIES, TENANT_ADMIN
from mutx_infra.vault.lints import _FORBIDDEN, _Forbidden, lint_policies, lint_policy

WRITTEN = {
    "partial-segment": 'path "auth/approle/role/agent-+" { capabilities = ["read"] }',
    "partial-template": 'path "byok/data/x{{identity.entity.id}}/*" { capabilities = ["read"] }',
    "star-inside": 'path "a/*/b" { capabilities = ["read"] }',
    "star-on-roles": 'path "auth/approle/role/agent-*" { capabilities = ["read"] }',
    "any-parameter": 'path "a" { capabilities = ["update"]\n allowed_parameters = { "a" = [], "*" = [] } }',
    "sudo": 'path "a" { capabilities = ["sudo"] }',
    "no-capability": 'path "a" { }',
    "not-understood": 'path "a" { policy = "write" }',
}


def _rules(text: str) -> set[str]:
    return {lint.rule for lint in lint_policy("tried", text)}


@pytest.mark.parametrize(("rule", "text"), WRITTEN.items(), ids=WRITTEN)
def test_a_way_of_writing_is_found(rule: str, text: str) -> None:
    assert rule in _rules(text)


@pytest.mark.parametrize("forbidden", _FORBIDDEN, ids=lambda forbidden: f"{forbidden.rule} {forbidden.path}")
def test_a_right_that_only_the_tenant_has_is_found(forbidden: _Forbidden) -> None:
    for capability in forbidden.capabilities:
        text = f'path "{forbidden.path}" {{ capabilities = ["{capability}"] }}'

        assert forbidden.rule in _rules(text)


@pytest.mark.parametrize("forbidden", _FORBIDDEN, ids=lambda forbidden: f"{forbidden.rule} {forbidden.path}")
def test_it_is_found_behind_a_wildcard_and_for_one_name(forbidden: _Forbidden) -> None:
    capability = min(forbidden.capabilities)
    first, *_ = forbidden.path.split("/")

    for pattern in ("*", f"{first}/*", forbidden.path[:-1] + "*", forbidden.path.replace("+", "named")):
        assert forbidden.rule in _rules(f'path "{pattern}" {{ capabilities = ["{capability}"] }}')


@pytest.mark.parametrize(
    "text",
    [
        'path "auth/approle/role/+/secret-id" { capabilities = ["update"] }',
        'path "sys/policies/acl/mutx-operator" { capabilities = ["update"] }',
        'path "byok/data/agents/+/*" { capabilities = ["read"] }',
        'path "byok/data/agents/agent-2/openai" { capabilities = ["read"] }',
        'path "pki/issuer/+/issue/+" { capabilities = ["update"] }',
        'path "identity/+/merge" { capabilities = ["update"] }',
    ],
    ids=["custom secret-id", "policies", "every agent's keys", "by name", "another issuer", "merging"],
)
def test_a_way_round_that_worked_on_a_live_server_is_found(text: str) -> None:
    assert _rules(text)


@pytest.mark.parametrize("name", [OPERATOR, ONBOARDER, MACHINE, DEPOSITOR])
@pytest.mark.parametrize("path", ["byok/data/shared/openai", "byok/subkeys/shared/+", "byok/data/*"])
def test_a_key_is_read_by_agents_alone(name: str, path: str) -> None:
    text = f'path "{path}" {{ capabilities = ["read"] }}'

    assert "reads-keys" in {lint.rule for lint in lint_policy(name, text)}


def test_a_host_reads_what_is_put_in_for_itself_alone() -> None:
    own = "byok/data/hosts/{{identity.entity.metadata.host}}/+"

    assert list(lint_policy(MACHINE, f'path "{own}" {{ capabilities = ["read"] }}')) == []
    for path in (
        "byok/data/hosts/+/+",
        "byok/data/hosts/acme-guard-1/mask",
        "byok/data/hosts/*",
        f"{own[:-1]}*",
    ):
        assert "reads-keys" in {
            lint.rule for lint in lint_policy(MACHINE, f'path "{path}" {{ capabilities = ["read"] }}')
        }


def test_what_we_ship_breaks_no_rule() -> None:
    assert lint_policies(policy_texts()) == ()


def test_the_tenant_s_administrators_may_do_anything() -> None:
    assert lint_policies({TENANT_ADMIN: 'path "*" { capabilities = ["sudo"] }'}) == ()
    assert lint_policies({AGENT: 'path "*" { capabilities = ["sudo"] }'})


def test_every_policy_is_read_with_as_many_rules_as_it_has() -> None:
    texts = policy_texts()

    assert set(texts) == set(POLICIES)
    assert all(text.count("path ") >= 1 for text in texts.values())
