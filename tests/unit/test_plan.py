from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutx_infra.addressing import Layer
from mutx_infra.errors import SpecError
from mutx_infra.plan import Allocation, TenantPlan, make_plan
from mutx_infra.tenant import TenantSpec
from tests.support.specs import a_plan, a_spec, an_allocation


def _changed(**fields: object) -> TenantPlan:
    return a_plan(**{"tenant": "acme", "block": "10.0.4.0/22", **fields})  # type: ignore[arg-type]


DIFFERENT: dict[str, Callable[[], TenantPlan]] = {
    "tenant": lambda: _changed(tenant="globex"),
    "region": lambda: _changed(region="eu-west-2"),
    "account": lambda: _changed(account="000000000001"),
    "tier": lambda: _changed(tier="standard"),
    "block": lambda: _changed(block="10.0.8.0/22"),
    "zones": lambda: _changed(zones=["eu-west-1b"]),
    "tags": lambda: _changed(tags={"team": "x"}),
}


class TestDigest:
    def test_equal_inputs_give_equal_digests(self) -> None:
        assert a_plan().digest == a_plan().digest

    @pytest.mark.parametrize("change", DIFFERENT.values(), ids=DIFFERENT)
    def test_each_input_changes_it(self, change: Callable[[], TenantPlan]) -> None:
        assert change().digest != _changed().digest

    def test_the_order_of_tags_does_not_matter(self) -> None:
        assert a_plan(tags={"a": "1", "b": "2"}).digest == a_plan(tags={"b": "2", "a": "1"}).digest

    def test_people_do_not_matter(self) -> None:
        described = a_plan(name="Acme", contacts=[{"email": "ops@example.com"}])

        assert described.digest == a_plan().digest

    def test_one_spelling_of_a_letter_is_as_good_as_the_other(self) -> None:
        assert a_plan(tags={"stadt": "Zu\u0308rich"}).digest == a_plan(tags={"stadt": "Z\u00fcrich"}).digest

    def test_it_survives_a_round_trip_through_json(self) -> None:
        plan = a_plan(tier="dedicated", tags={"team": "ß"})

        assert TenantPlan.model_validate_json(plan.model_dump_json()) == plan
        assert TenantPlan.model_validate_json(plan.model_dump_json()).digest == plan.digest

    def test_it_does_not_depend_on_the_process(self) -> None:
        """Pinned: the lock files hold it, so a change of the plan's shape must be meant."""
        fields = json.loads(a_plan().model_dump_json())

        assert sorted(fields) == [
            "account",
            "acl_entries",
            "areas",
            "block",
            "buckets",
            "endpoints",
            "group_rules",
            "hosts",
            "keys",
            "log_groups",
            "nat_gateways",
            "region",
            "roles",
            "route_tables",
            "subnets",
            "tags",
            "tenant",
            "tier",
            "version",
            "zones",
        ]
        assert a_plan().digest.startswith("sha256:")
        assert len(a_plan().digest) == len("sha256:") + 64


class TestDecisions:
    def test_planning_changes_neither_spec_nor_allocation(self) -> None:
        spec, allocation = a_spec(tags={"b": "1", "a": "2"}), an_allocation()
        before = (spec.model_dump_json(), allocation.model_dump_json())

        make_plan(spec, allocation)

        assert (spec.model_dump_json(), allocation.model_dump_json()) == before

    @given(st.sampled_from(["starter", "standard", "dedicated"]))
    def test_every_subnet_has_exactly_one_route_table_and_every_target_exists(self, tier: str) -> None:
        plan = a_plan(tier=tier)
        routed = [subnet for table in plan.route_tables for subnet in table.subnets]
        gateways = {nat.key for nat in plan.nat_gateways} | {"internet-gateway"}

        assert sorted(routed) == sorted(subnet.key for subnet in plan.subnets)
        assert {route.target for table in plan.route_tables for route in table.routes} <= gateways

    @pytest.mark.parametrize(
        ("tier", "zones", "nats"), [("starter", 1, 1), ("standard", 2, 1), ("dedicated", 3, 3)]
    )
    def test_a_tier_has_its_zones_and_nat_gateways(self, tier: str, zones: int, nats: int) -> None:
        plan = a_plan(tier=tier)

        assert (len(plan.zones), len(plan.nat_gateways)) == (zones, nats)

    def test_nat_gateways_stand_in_the_egress_subnet_of_their_zone(self) -> None:
        plan = a_plan(tier="dedicated")
        zones = {subnet.key: (subnet.layer, subnet.zone) for subnet in plan.subnets}

        assert all(zones[nat.subnet] == (Layer.EGRESS, nat.zone) for nat in plan.nat_gateways)

    def test_a_zones_hosts_leave_by_the_nat_gateway_of_their_zone(self) -> None:
        plan = a_plan(tier="dedicated")
        zone_of = {subnet.key: subnet.zone for subnet in plan.subnets} | {
            n.key: n.zone for n in plan.nat_gateways
        }

        for table in plan.route_tables:
            for route in table.routes:
                if route.target_kind == "nat-gateway":
                    assert {zone_of[subnet] for subnet in table.subnets} == {zone_of[route.target]}

    @pytest.mark.parametrize("tier", ["starter", "standard", "dedicated"])
    def test_data_has_no_route_out_of_the_vpc(self, tier: str) -> None:
        tables = [table for table in a_plan(tier=tier).route_tables if table.layer is Layer.DATA]

        assert [(table.routes, table.s3_endpoint) for table in tables] == [((), False)]

    def test_only_the_egress_layer_routes_to_the_internet_gateway(self) -> None:
        for table in a_plan(tier="dedicated").route_tables:
            targets = {route.target_kind for route in table.routes}
            assert ("internet-gateway" in targets) == (table.layer is Layer.EGRESS)

    def test_every_key_is_used_once(self) -> None:
        plan = a_plan(tier="dedicated")
        routes = [route for table in plan.route_tables for route in table.routes]
        keys = [
            item.key
            for group in (
                plan.subnets,
                plan.nat_gateways,
                plan.route_tables,
                routes,
                plan.group_rules,
                plan.acl_entries,
            )
            for item in group
        ]

        assert len(set(keys)) == len(keys)


REFUSED: dict[str, tuple[dict[str, object], Allocation]] = {
    "account": ({"account": "000000000001"}, an_allocation()),
    "region": ({"region": "eu-west-2"}, an_allocation()),
    "zones": ({"zones": ["eu-west-1b"]}, an_allocation()),
    "cidr": ({"cidr": "10.0.2.0/24"}, an_allocation()),
    "tier": ({"tier": "standard"}, an_allocation()),
}


class TestFixedForLife:
    @pytest.mark.parametrize(
        ("field", "fields", "allocation"), [(f, *case) for f, case in REFUSED.items()], ids=REFUSED
    )
    def test_a_changed_field_is_refused_and_named(
        self, field: str, fields: dict[str, object], allocation: Allocation
    ) -> None:
        with pytest.raises(SpecError) as refused:
            make_plan(a_spec(**fields), allocation)

        assert refused.value.code == f"spec-{field}-fixed"
        assert field in refused.value.message
        assert refused.value.remedy

    def test_saying_what_was_allocated_changes_nothing(self) -> None:
        said = a_spec(account="123456789012", zones=["eu-west-1a"], cidr="10.0.1.0/24")

        assert make_plan(said, an_allocation()) == a_plan()

    def test_a_tier_of_as_many_zones_may_change_when_the_zones_are_named(self) -> None:
        spec = a_spec(tier="standard", zones=["eu-west-1a"])

        assert len(make_plan(spec, an_allocation()).zones) == 1

    def test_an_allocated_block_that_cannot_hold_the_zones_is_refused(self) -> None:
        spec = TenantSpec(id="acme", region="eu-west-1", zones=("eu-west-1a", "eu-west-1b"))
        tiny = an_allocation(spec).model_copy(update={"block": IPv4Network("10.0.0.0/26")})

        with pytest.raises(SpecError, match="too small") as refused:
            make_plan(spec, tiny)

        assert refused.value.code == "spec-cidr-unusable"
