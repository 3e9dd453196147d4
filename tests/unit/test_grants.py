"""Grants: each names its actions and its resources, and no role can do more than its boundary."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest

from mutx_infra.grants import (
    Grant,
    boundary_grants,
    document,
    endpoint_policy,
    flow_log_grants,
    flow_log_trust,
    host_grants,
    key_policy,
)
from mutx_infra.hosts import Purpose
from mutx_infra.plan import TenantPlan
from mutx_infra.tenant import TENANT_TIERS, Tier
from tests.support.specs import a_plan

MANAGED_POLICY_LIMIT = 6144
INLINE_POLICY_LIMIT = 10240
"""Characters without white space. Source: IAM user guide, "IAM object quotas"."""
LONG = "a" * 63

every_tier = pytest.mark.parametrize("tier", TENANT_TIERS)


def key_arn(purpose: Purpose) -> str:
    return f"arn:aws:kms:eu-west-1:123456789012:key/{purpose}"


def plan_of(tier: Tier = Tier.STARTER, tenant: str = "acme") -> TenantPlan:
    return a_plan(id=tenant, tier=str(tier))


def all_grants(plan: TenantPlan) -> list[Grant]:
    return [grant for host in plan.hosts for grant in host_grants(plan, host, key_arn)] + list(
        flow_log_grants(plan)
    )


@every_tier
def test_no_grant_has_a_wildcard_action_or_every_resource(tier: Tier) -> None:
    for grant in all_grants(plan_of(tier)):
        assert not any(set("*?") & set(action) for action in grant.actions)
        assert "*" not in grant.resources
        assert grant.reason


def test_each_host_reaches_exactly_one_parameter_and_that_is_its_own() -> None:
    plan = plan_of(Tier.DEDICATED)
    reached = {
        host.key: [r for g in host_grants(plan, host, key_arn) if "ssm:GetParameter" in g.actions for r in g.resources]
        for host in plan.hosts
    }  # fmt: skip

    assert all(len(parameters) == 1 for parameters in reached.values())
    assert reached["agent-2"] == ["arn:aws:ssm:eu-west-1:123456789012:parameter/mutx/acme/hosts/agent-2/join"]
    assert len({parameters[0] for parameters in reached.values()}) == len(plan.hosts)


def test_the_join_key_opens_for_its_own_parameter_only() -> None:
    plan = plan_of()
    host = plan.hosts[0]
    (opening,) = [g for g in host_grants(plan, host, key_arn) if "kms:Decrypt" in g.actions]

    assert opening.resources == (key_arn(Purpose.PARAMETERS),)
    assert opening.conditions["StringEquals"]["kms:EncryptionContext:PARAMETER_ARN"].endswith(
        host.join_parameter
    )


def test_only_vault_hosts_write_the_vault_s_audit_log() -> None:
    plan = plan_of()
    writers = {
        host.role
        for host in plan.hosts
        for grant in host_grants(plan, host, key_arn)
        if any("vault-audit" in resource for resource in grant.resources)
    }

    assert writers == {"vault"}


@every_tier
def test_the_boundary_covers_every_role_and_nothing_else(tier: Tier) -> None:
    plan = plan_of(tier)
    allowed = {
        (a, r) for grant in boundary_grants(plan, key_arn) for a in grant.actions for r in grant.resources
    }
    wanted = {(a, r) for grant in all_grants(plan) for a in grant.actions for r in grant.resources}

    assert wanted <= allowed
    assert {action for action, _ in allowed} == {action for action, _ in wanted}


@every_tier
def test_documents_fit_into_what_iam_takes_even_for_the_longest_name(tier: Tier) -> None:
    plan = plan_of(tier, LONG)
    boundary = document(boundary_grants(plan, key_arn))
    inline = [document(host_grants(plan, host, key_arn)) for host in plan.hosts]

    assert len("".join(boundary.split())) <= MANAGED_POLICY_LIMIT
    assert all(len("".join(policy.split())) <= INLINE_POLICY_LIMIT for policy in inline)


def test_flow_logs_of_another_account_cannot_use_the_role() -> None:
    (statement,) = json.loads(flow_log_trust(plan_of()))["Statement"]

    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    assert statement["Condition"]["ArnLike"]["aws:SourceArn"].startswith(
        "arn:aws:ec2:eu-west-1:123456789012:"
    )


def test_only_the_key_of_the_logs_serves_the_log_service_and_only_for_this_tenant() -> None:
    plan = plan_of()
    services = {
        purpose: [
            s for s in json.loads(key_policy(plan, purpose))["Statement"] if "Service" in s["Principal"]
        ]
        for purpose in Purpose
    }

    assert [purpose for purpose, found in services.items() if found] == [Purpose.LOGS]
    pattern = services[Purpose.LOGS][0]["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    assert all(
        fnmatchcase(f"arn:aws:logs:eu-west-1:123456789012:log-group:{group.name}", pattern)
        for group in plan.log_groups
    )
    assert not fnmatchcase("arn:aws:logs:eu-west-1:123456789012:log-group:/mutx/acme2/hosts", pattern)


@pytest.mark.parametrize("service", ["kms", "logs", "ssm"])
def test_an_endpoint_serves_this_account_only(service: str) -> None:
    (statement,) = json.loads(endpoint_policy(plan_of(), service))["Statement"]

    assert statement["Condition"] == {"StringEquals": {"aws:PrincipalAccount": "123456789012"}}
    assert statement["Resource"] != "*"


def test_an_endpoint_lets_through_what_hosts_are_granted() -> None:
    plan = plan_of(Tier.DEDICATED)
    passed: dict[str, dict[str, Any]] = {
        service: json.loads(endpoint_policy(plan, service))["Statement"][0]
        for service in ("kms", "logs", "ssm")
    }
    for host in plan.hosts:
        for grant in host_grants(plan, host, key_arn):
            for action in grant.actions:
                statement = passed[action.split(":")[0]]
                assert action in statement["Action"]
                assert all(fnmatchcase(resource, statement["Resource"]) for resource in grant.resources)
