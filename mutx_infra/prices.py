"""What a tenant costs a month, from a dated table of list prices: an estimate to decide by, not a bill."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from mutx_infra.plan import TenantPlan

HOURS_A_MONTH = 730
"""As AWS's own calculator has it: 8,760 hours a year over twelve."""
EXCLUDED = "traffic, log ingestion, snapshots, KMS requests and taxes"


class RegionPrices(BaseModel):
    """One region's prices, in the table's currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instance_hour: dict[str, float]
    gp3_gib_month: float
    nat_hour: float
    public_ipv4_hour: float
    endpoint_hour: float
    key_month: float


class PriceTable(BaseModel):
    """The table in the repository (`mutx_infra/prices.json`).

    Attributes:
        as_of: the day on which the prices held.
        source: where they were published.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    source: str
    currency: str
    regions: dict[str, RegionPrices]


class Item(BaseModel):
    """One line of an estimate; `monthly` is None where the table has no price."""

    model_config = ConfigDict(frozen=True)

    what: str
    number: float
    monthly: float | None


class Estimate(BaseModel):
    """A month of one tenant.

    Attributes:
        age_days: how old the prices are.
        excluded: what is not in it.
    """

    model_config = ConfigDict(frozen=True)

    currency: str
    items: tuple[Item, ...]
    as_of: date
    age_days: int
    source: str
    excluded: str = EXCLUDED

    @property
    def total(self) -> float | None:
        """The sum; None where a price is missing, since half a sum misleads."""
        prices = [item.monthly for item in self.items]
        return None if not prices or None in prices else round(sum(p for p in prices if p is not None), 2)


@cache
def price_table() -> PriceTable:
    """Return the table that is installed with the toolkit."""
    text = files("mutx_infra").joinpath("prices.json").read_text(encoding="utf-8")
    return PriceTable.model_validate_json(text)


def estimate(plan: TenantPlan, today: date, table: PriceTable | None = None) -> Estimate:
    """Return what a tenant's plan costs a month at list prices, everything running all the time."""
    table = table or price_table()
    return Estimate(
        currency=table.currency,
        items=tuple(_items(plan, table.regions.get(plan.region))),
        as_of=table.as_of,
        age_days=(today - table.as_of).days,
        source=table.source,
    )


def _items(plan: TenantPlan, prices: RegionPrices | None) -> Iterator[Item]:
    for kind, number in sorted(Counter(host.instance_type for host in plan.hosts).items()):
        hourly = prices.instance_hour.get(kind) if prices else None
        yield _item(f"instance {kind}", number, hourly, HOURS_A_MONTH)
    gib = sum(host.root_gib + host.data_gib for host in plan.hosts)
    endpoints = sum(len(endpoint.subnets) for endpoint in plan.endpoints)
    nats = len(plan.nat_gateways)
    yield _item("gp3 storage, GiB", gib, prices.gp3_gib_month if prices else None)
    yield _item("NAT gateway", nats, prices.nat_hour if prices else None, HOURS_A_MONTH)
    yield _item("public IPv4 address", nats, prices.public_ipv4_hour if prices else None, HOURS_A_MONTH)
    if endpoints:
        price = prices.endpoint_hour if prices else None
        yield _item("interface endpoint, each zone", endpoints, price, HOURS_A_MONTH)
    yield _item("KMS key", len(plan.keys), prices.key_month if prices else None)


def _item(what: str, number: float, price: float | None, units: float = 1) -> Item:
    return Item(what=what, number=number, monthly=None if price is None else round(number * price * units, 2))


def as_json(found: Estimate) -> dict[str, object]:
    """Return an estimate for programs."""
    return {**json.loads(found.model_dump_json()), "total": found.total}
