"""Spec + allocation → `TenantPlan`: everything that will exist, decided before anything is touched.

`tenant preview` prints this object, `tenant create` executes it, the Pulumi program builds from it, and the
verification compares the live network with it. Its digest names it.
"""

from __future__ import annotations

from hashlib import sha256
from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mutx_infra import firewall, naming
from mutx_infra.addressing import BlockError, Layer, split_block
from mutx_infra.buckets import BucketPlan, bucket_plans
from mutx_infra.canonical import canonical_json
from mutx_infra.errors import SpecError
from mutx_infra.firewall import AclEntry, GroupRule
from mutx_infra.flows import LAYER_OF, Carrier, Flow, Outside, Role, flows_of, roles_of
from mutx_infra.hosts import (
    ENDPOINT_SERVICES,
    EndpointPlan,
    HostPlan,
    KeyPlan,
    LogGroupPlan,
    Purpose,
    at_known_addresses,
    has_several_guards,
    host_plans,
    key_plans,
    log_group_plans,
)
from mutx_infra.tenant import TIERS, TenantSpec, Tier

PLAN_VERSION = 3


class Allocation(BaseModel):
    """What the spec left open, decided once and kept for the tenant's life; the lock file holds it.

    Attributes:
        account: AWS account id.
        block: the tenant's VPC block.
        zones: availability zones by name, in the order in which subnets take their share.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: Annotated[str, Field(pattern=r"^[0-9]{12}$")]
    region: str
    block: IPv4Network
    zones: tuple[str, ...]


class SubnetPlan(BaseModel):
    """One subnet: its layer, zone and block."""

    model_config = ConfigDict(frozen=True)

    key: str
    layer: Layer
    zone: str
    cidr: str


class RoutePlan(BaseModel):
    """One route; `target` is the key of the internet gateway or NAT gateway it points to."""

    model_config = ConfigDict(frozen=True)

    key: str
    destination: str
    target_kind: Literal["internet-gateway", "nat-gateway"]
    target: str


class RouteTablePlan(BaseModel):
    """One route table, the subnets it serves, and its routes besides the VPC's local one."""

    model_config = ConfigDict(frozen=True)

    key: str
    layer: Layer
    subnets: tuple[str, ...]
    routes: tuple[RoutePlan, ...]
    s3_endpoint: bool


class NatPlan(BaseModel):
    """One NAT gateway, in the egress subnet of its zone."""

    model_config = ConfigDict(frozen=True)

    key: str
    zone: str
    subnet: str


class TenantPlan(BaseModel):
    """Everything that will exist for a tenant.

    Attributes:
        areas: each layer's part of the block.
        roles: the security groups `sg-<role>`.
        buckets: the platform's; a tenant has none.
        endpoints: interface endpoints; none where the tier reaches AWS by the proxy.
        tags: the operator's own tags, without the toolkit's.
    """

    model_config = ConfigDict(frozen=True)

    version: int = PLAN_VERSION
    tenant: str
    account: str
    region: str
    tier: str
    block: str
    zones: tuple[str, ...]
    areas: dict[Layer, str]
    subnets: tuple[SubnetPlan, ...]
    nat_gateways: tuple[NatPlan, ...]
    route_tables: tuple[RouteTablePlan, ...]
    roles: tuple[Role, ...]
    group_rules: tuple[GroupRule, ...]
    acl_entries: tuple[AclEntry, ...]
    endpoints: tuple[EndpointPlan, ...]
    hosts: tuple[HostPlan, ...]
    keys: tuple[KeyPlan, ...]
    log_groups: tuple[LogGroupPlan, ...]
    buckets: tuple[BucketPlan, ...] = ()
    tags: dict[str, str]

    @property
    def digest(self) -> str:
        """`sha256:` and the SHA-256 of the plan's canonical JSON (sorted keys, no white space)."""
        return f"sha256:{sha256(canonical_json(self.model_dump(mode='json'))).hexdigest()}"

    @property
    def archive_account(self) -> str:
        """The account of the platform's log archive and its key; the plan's own where it is not apart."""
        return self.account_of(Purpose.ARCHIVE)

    @property
    def accounts(self) -> tuple[str, ...]:
        """Every account that holds a part of the plan, its own first."""
        return tuple(dict.fromkeys((self.account, *(bucket.account for bucket in self.buckets))))

    def account_of(self, purpose: Purpose) -> str:
        """Return the account of a purpose's key: that of the buckets that lie under it, else the plan's own."""
        return next((bucket.account for bucket in self.buckets if bucket.purpose is purpose), self.account)

    def tags_of(self, logical_name: str) -> dict[str, str]:
        """Return the tags of one resource of this tenant."""
        return naming.tags_for(self.tenant, logical_name, self.tags)

    @property
    def flows(self) -> tuple[Flow, ...]:
        """The rows of the flow table that hold for this tenant."""
        return _flows_of(Tier(self.tier))

    def subnets_of(self, layer: Layer) -> tuple[SubnetPlan, ...]:
        """Return a layer's subnets in the zones' order."""
        return tuple(subnet for subnet in self.subnets if subnet.layer is layer)


def make_plan(spec: TenantSpec, allocation: Allocation) -> TenantPlan:
    """Decide everything about a tenant. Pure: equal inputs give equal digests.

    Raises:
        SpecError: the spec contradicts the allocation, or the block cannot hold the zones.
    """
    check_allocation(spec, allocation)
    try:
        layout = split_block(allocation.block, len(allocation.zones))
    except BlockError as exc:
        raise SpecError(
            f"{spec.id}: {exc}",
            code="spec-cidr-unusable",
            remedy="leave `cidr:` out, or name a larger private block",
        ) from exc
    subnets = tuple(
        SubnetPlan(key=f"{layer}-{_letter(zone)}", layer=layer, zone=zone, cidr=str(cidr))
        for layer in Layer
        for zone, cidr in zip(allocation.zones, layout.subnets[layer], strict=True)
    )
    profile = TIERS[spec.tier]
    nats = _nat_gateways(allocation.zones, per_zone=profile.nat_per_zone)
    flows = _flows_of(spec.tier)
    endpoints = _endpoints(subnets) if profile.interface_endpoints else ()
    return TenantPlan(
        tenant=spec.id,
        account=allocation.account,
        region=allocation.region,
        tier=str(spec.tier),
        block=str(allocation.block),
        zones=allocation.zones,
        areas={layer: str(area) for layer, area in layout.areas.items()},
        subnets=subnets,
        nat_gateways=nats,
        route_tables=tuple(table for layer in Layer for table in _route_tables(layer, subnets, nats, flows)),
        roles=roles_of(flows),
        group_rules=firewall.group_rules(flows),
        acl_entries=firewall.acl_entries(flows, layout),
        endpoints=endpoints,
        hosts=at_known_addresses(
            host_plans(spec.id, spec.tier, allocation.zones), {subnet.key: subnet.cidr for subnet in subnets}
        ),
        keys=key_plans(spec.id, spec.tier),
        log_groups=log_group_plans(spec.id),
        buckets=_buckets(spec, allocation) if spec.tier is Tier.PLATFORM else (),
        tags=dict(sorted(spec.tags.items())),
    )


def _buckets(spec: TenantSpec, allocation: Allocation) -> tuple[BucketPlan, ...]:
    archive = spec.archive.account if spec.archive else allocation.account
    if spec.archive is not None and archive == allocation.account:
        raise SpecError(
            f"{spec.id}: `archive.account` is the platform's own account {archive}, which keeps nothing apart",
            code="spec-archive-not-apart",
            remedy="name another account, or leave `archive:` out to keep the log archive beside the rest",
        )
    return bucket_plans(allocation.account, archive, allocation.region)


def check_allocation(spec: TenantSpec, allocation: Allocation) -> None:
    """Refuse a spec that asks for something else than what was allocated.

    A tenant's account, region, block and zones are fixed for its life: changing one would replace the VPC.

    Raises:
        SpecError: names the field and both values.
    """
    asked = {
        "region": (spec.region, allocation.region),
        "account": (spec.account, allocation.account),
        "cidr": (spec.cidr, allocation.block),
        "zones": (spec.zones, allocation.zones),
    }
    for field, (wanted, given) in asked.items():
        if wanted is not None and wanted != given:
            raise SpecError(
                f"{spec.id}: `{field}` is {_text(wanted)} in the spec but {_text(given)} was allocated",
                code=f"spec-{field}-fixed",
                remedy=f"put `{field}` back; to move a tenant, destroy it and create it anew",
            )
    if spec.zones is None and len(allocation.zones) != spec.zone_count:
        raise SpecError(
            f"{spec.id}: tier {spec.tier} spans {spec.zone_count} zone(s) but {len(allocation.zones)} were allocated",
            code="spec-tier-fixed",
            remedy="name the allocated zones in `zones:`, or destroy the tenant and create it anew",
        )


def _flows_of(tier: Tier) -> tuple[Flow, ...]:
    return flows_of(
        interface_endpoints=TIERS[tier].interface_endpoints,
        platform=tier is Tier.PLATFORM,
        several_guards=has_several_guards(tier),
    )


def _route_tables(
    layer: Layer, subnets: tuple[SubnetPlan, ...], nats: tuple[NatPlan, ...], flows: tuple[Flow, ...]
) -> tuple[RouteTablePlan, ...]:
    """One table for a layer; one per zone where the layer leaves by a NAT gateway of its zone."""
    own = [subnet for subnet in subnets if subnet.layer is layer]
    has_nat = _leaves_by(flows, layer, Carrier.NAT)
    by_s3 = _leaves_by(flows, layer, Carrier.ENDPOINT, Outside.S3)
    if layer is Layer.EGRESS:
        routes = (_route(layer, "internet-gateway", "internet-gateway"),)
        return (_table(f"routes-{layer}", layer, own, routes, s3_endpoint=by_s3),)
    if not has_nat:
        return (_table(f"routes-{layer}", layer, own, (), s3_endpoint=by_s3),)
    if len(nats) == 1:
        return (
            _table(
                f"routes-{layer}", layer, own, (_route(layer, "nat-gateway", nats[0].key),), s3_endpoint=by_s3
            ),
        )
    return tuple(
        _table(
            f"routes-{subnet.key}",
            layer,
            [subnet],
            (_route(subnet.key, "nat-gateway", nat.key),),
            s3_endpoint=by_s3,
        )
        for subnet, nat in zip(own, nats, strict=True)
    )


def _table(
    key: str, layer: Layer, subnets: list[SubnetPlan], routes: tuple[RoutePlan, ...], *, s3_endpoint: bool
) -> RouteTablePlan:
    return RouteTablePlan(
        key=key,
        layer=layer,
        subnets=tuple(subnet.key for subnet in subnets),
        routes=routes,
        s3_endpoint=s3_endpoint,
    )


def _route(name: str, kind: Literal["internet-gateway", "nat-gateway"], target: str) -> RoutePlan:
    return RoutePlan(
        key=f"route-{name}-default", destination=firewall.ANYWHERE, target_kind=kind, target=target
    )


def _leaves_by(
    flows: tuple[Flow, ...], layer: Layer, carrier: Carrier, destination: Outside | None = None
) -> bool:
    """Say whether the flow table lets a role of this layer out over that carrier; only then it gets a route."""
    return any(
        flow.carrier is carrier
        and isinstance(flow.source, Role)
        and LAYER_OF[flow.source] is layer
        and destination in (None, flow.destination)
        for flow in flows
    )


def _nat_gateways(zones: tuple[str, ...], *, per_zone: bool) -> tuple[NatPlan, ...]:
    chosen = zones if per_zone else zones[:1]
    return tuple(
        NatPlan(key=f"nat-{_letter(z)}", zone=z, subnet=f"{Layer.EGRESS}-{_letter(z)}") for z in chosen
    )


def _endpoints(subnets: tuple[SubnetPlan, ...]) -> tuple[EndpointPlan, ...]:
    where = tuple(subnet.key for subnet in subnets if subnet.layer is LAYER_OF[Role.ENDPOINT])
    return tuple(EndpointPlan(service=service, subnets=where) for service in ENDPOINT_SERVICES)


def _letter(zone: str) -> str:
    return zone[-1]


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
