"""Valid specs, allocations, plans and owners, with what a test cares about changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import IPv4Network

from mutx_infra.addressing import default_prefix_length, first_free_block
from mutx_infra.flows import LAYER_OF
from mutx_infra.plan import Allocation, TenantPlan, make_plan
from mutx_infra.records import Owner
from mutx_infra.tenant import TenantSpec

ACCOUNT = "123456789012"
POOL = IPv4Network("10.0.0.0/8")


def a_spec(tenant: str = "acme", **fields: object) -> TenantSpec:
    """Build a spec from the values that its YAML would hold."""
    return TenantSpec.model_validate_json(json.dumps({"id": tenant, "region": "eu-west-1", **fields}))


def an_allocation(spec: TenantSpec | None = None, block: str = "10.0.1.0/24") -> Allocation:
    spec = spec or a_spec()
    zones = spec.zones or tuple(f"{spec.region}{letter}" for letter in "abcd"[: spec.zone_count])
    return Allocation(
        account=spec.account or ACCOUNT,
        region=spec.region,
        block=spec.cidr or IPv4Network(block),
        zones=zones,
    )


def a_plan(tenant: str = "acme", block: str | None = None, **fields: object) -> TenantPlan:
    """Build a plan; the block is large enough for the spec's zones unless it is given."""
    spec = a_spec(tenant, **fields)
    fitting = block or ("10.0.1.0/24" if spec.zone_count == 1 else "10.0.4.0/22")
    return make_plan(spec, an_allocation(spec, fitting))


def outputs_of(plan: TenantPlan) -> dict[str, object]:
    """Outputs as a stack of this plan has them: each host at the next free address of its layer."""
    taken: dict[str, int] = {}
    hosts = {}
    for host in plan.hosts:
        area = IPv4Network(plan.areas[LAYER_OF[host.role]])
        taken[area.with_prefixlen] = number = taken.get(area.with_prefixlen, 3) + 1
        hosts[host.key] = {
            "instance_id": f"i-{host.key}",
            "private_ip": str(area[number]),
            "role": str(host.role),
            "zone": host.zone,
        }
    return {"account": plan.account, "region": plan.region, "hosts": hosts}


def first_fit(
    spec: TenantSpec, pool: IPv4Network = POOL, prefix_length: int | None = None
) -> Callable[[tuple[IPv4Network, ...]], Allocation]:
    """Return a `choose` for `Registry.reserve` that takes the lowest free block."""
    length = prefix_length or default_prefix_length(spec.zone_count)

    def choose(taken: tuple[IPv4Network, ...]) -> Allocation:
        return an_allocation(spec, str(first_free_block(pool, length, taken)))

    return choose


def an_owner(pid: int = 4242, host: str = "here") -> Owner:
    return Owner(user="ada", host=host, pid=pid, started=1, boot_id="b007")
