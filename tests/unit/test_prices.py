"""The estimate: every tier has prices, the sum is the sum, and their age is told."""

from __future__ import annotations

from datetime import date

import pytest

from mutx_infra.hosts import SHAPES
from mutx_infra.prices import HOURS_A_MONTH, estimate, price_table
from mutx_infra.tenant import TENANT_TIERS, Tier
from tests.support.specs import a_plan

TODAY = date(2024, 7, 10)


@pytest.mark.parametrize("region", price_table().regions)
@pytest.mark.parametrize("tier", TENANT_TIERS)
def test_every_instance_type_of_every_tier_has_a_price(region: str, tier: Tier) -> None:
    prices = price_table().regions[region].instance_hour

    assert {shape.instance_type for shape in SHAPES[tier].values()} <= set(prices)


def test_a_starter_tenant_costs_what_its_parts_cost() -> None:
    found = estimate(a_plan(), TODAY)
    items = {item.what: (item.number, item.monthly) for item in found.items}

    assert items["instance g4dn.xlarge"] == (1, round(0.587 * HOURS_A_MONTH, 2))
    assert items["gp3 storage, GiB"] == (170, round(170 * 0.088, 2))
    assert items["KMS key"] == (5, 5.0)
    assert "interface endpoint, each zone" not in items
    assert found.total == round(sum(price for _, price in items.values() if price), 2)


def test_endpoints_cost_in_each_zone() -> None:
    items = {item.what: item.number for item in estimate(a_plan(tier="dedicated"), TODAY).items}

    assert items["interface endpoint, each zone"] == 9
    assert items["NAT gateway"] == 3


def test_the_age_of_the_prices_is_told() -> None:
    found = estimate(a_plan(), TODAY)

    assert (found.as_of, found.age_days) == (price_table().as_of, (TODAY - price_table().as_of).days)
    assert found.source.startswith("AWS on-demand list prices")


def test_a_region_without_prices_has_no_sum() -> None:
    plan = a_plan(region="ap-south-1")

    assert estimate(plan, TODAY).total is None
