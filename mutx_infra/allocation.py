"""What a spec leaves open, decided once: account, block and zones, from what is free where the tenant shall live."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Network

from mutx_infra import addressing
from mutx_infra.environment import Environment
from mutx_infra.errors import RefusedError, SpecError
from mutx_infra.plan import Allocation, check_allocation
from mutx_infra.ports import Cloud, SpecFiles
from mutx_infra.records import TenantRecord
from mutx_infra.tenant import TenantSpec


class Allocator:
    """Chooses allocations for one environment."""

    def __init__(self, environment: Environment, cloud: Cloud) -> None:
        self._environment, self._cloud = environment, cloud

    def chooser(
        self, spec: TenantSpec, files: SpecFiles, tenants: tuple[TenantRecord, ...]
    ) -> Callable[[tuple[IPv4Network, ...]], Allocation]:
        """Return the allocator for one spec; it asks the cloud beforehand, since it runs inside a transaction."""
        locked = files.locked()
        if locked is not None:
            check_allocation(spec, locked)
        account = locked.account if locked else spec.account or self._roomiest_account(tenants)
        cloud = self._cloud.in_account(account)
        zones = self._usable_zones(cloud, spec, locked.zones if locked else spec.zones)
        if locked is not None:
            return lambda _taken: locked
        others = (*cloud.blocks_in_use(spec.region, besides=spec.id), *files.blocks_beside())

        def choose(taken: tuple[IPv4Network, ...]) -> Allocation:
            block = spec.cidr or self._free_block(len(zones), (*taken, *others))
            return Allocation(account=account, region=spec.region, block=block, zones=zones)

        return choose

    def _roomiest_account(self, tenants: tuple[TenantRecord, ...]) -> str:
        """Return the pool's account with the fewest tenants, the first of equals; the profile's own without a pool."""
        held = Counter(record.allocation.account for record in tenants)
        pool = self._environment.aws.tenant_accounts
        return min(pool, key=lambda account: held[account]) if pool else self._environment.aws.account_id

    def _free_block(self, zone_count: int, taken: tuple[IPv4Network, ...]) -> IPv4Network:
        length = addressing.default_prefix_length(zone_count)
        avoided = (*taken, *addressing.RESERVED_RANGES)
        try:
            return addressing.first_free_block(self._environment.pool.network, length, avoided)
        except addressing.PoolExhaustedError as exc:
            raise RefusedError(
                f"the pool is exhausted: {exc}",
                code="pool-exhausted",
                remedy="destroy tenants that are not needed, or enlarge `pool.network` in the environment profile",
            ) from exc

    def _usable_zones(self, cloud: Cloud, spec: TenantSpec, named: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return the named zones if the region has them, else its first ones."""
        zones = cloud.zones(spec.region)
        missing = sorted(set(named or ()) - set(zones))
        if missing:
            raise SpecError(
                f"{spec.region} has no zone {', '.join(missing)} for this account",
                code="spec-zones-unknown",
                remedy=f"leave `zones:` out, or choose from {', '.join(zones)}",
            )
        if named:
            return named
        if len(zones) < spec.zone_count:
            raise RefusedError(
                f"{spec.region} has {len(zones)} zone(s), tier {spec.tier} spans {spec.zone_count}",
                code="zones-too-few",
                remedy="choose another region or tier, or name the zones in `zones:`",
            )
        return zones[: spec.zone_count]
