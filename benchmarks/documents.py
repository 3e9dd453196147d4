"""The policy documents of a plan, written beside it so that a baseline need not compute them."""

from __future__ import annotations

from mutx_infra.grants import (
    boundary_grants,
    document,
    flow_log_grants,
    flow_log_trust,
    host_grants,
    host_trust,
    key_policy,
)
from mutx_infra.hosts import Purpose
from mutx_infra.plan import TenantPlan
from mutx_infra.way_out import user_data

KEY = "KEY-PARAMETERS"
"""Stands for the ARN of the key of the parameters, which is known once it is made."""


def documents_of(plan: TenantPlan) -> dict[str, object]:
    """Return trust, grants, key policies and user data, by what they are of."""

    def key_arn(_purpose: Purpose) -> str:
        return KEY

    return {
        "keys": {str(key.purpose): key_policy(plan, key.purpose) for key in plan.keys},
        "boundary": document(boundary_grants(plan, key_arn)),
        "host_trust": host_trust(),
        "hosts": {host.key: document(host_grants(plan, host, key_arn)) for host in plan.hosts},
        "scripts": {host.key: user_data(plan, host) for host in plan.hosts},
        "flow_trust": flow_log_trust(plan),
        "flow_grant": document(flow_log_grants(plan)),
    }
