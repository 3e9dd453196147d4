"""The registry in SQL: tenants, their blocks and the leases on them, on SQLite or PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Network
from uuid import uuid4

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError

from mutx_infra.adapters.sql_schema import OVERLAP, chain_heads, leases, tenants
from mutx_infra.adapters.sql_store import SqlStore
from mutx_infra.errors import LockedError, OutsideError, RefusedError
from mutx_infra.plan import Allocation
from mutx_infra.ports import Clock
from mutx_infra.records import ChainHead, Lease, Owner, TenantRecord, TenantState, VaultRecord
from mutx_infra.tenant import TenantSpec


class SqlRegistry:
    """`ports.Registry` over a SQL database.

    Args:
        store: the database, by URL or already open (registry and journal may share one).
        clock: says when a lease expires; every machine that shares the database needs the right time.
    """

    def __init__(self, store: SqlStore | str, clock: Clock) -> None:
        self.store = SqlStore(store) if isinstance(store, str) else store
        self._clock = clock

    def reserve(
        self, spec: TenantSpec, choose: Callable[[tuple[IPv4Network, ...]], Allocation]
    ) -> TenantRecord:
        """Return the tenant's record, allocating on first sight (see the port)."""

        def work(connection: sa.Connection) -> TenantRecord:
            found = _find(connection, spec.id)
            if found is not None:
                return found
            allocation = choose(_blocks(connection))
            _refuse_overlap(connection, spec.id, allocation.block)
            now = self._clock.now()
            record = TenantRecord(
                spec=spec, allocation=allocation, state=TenantState.RESERVED, created_at=now, updated_at=now
            )
            connection.execute(tenants.insert().values(_row(record)))
            return record

        try:
            return self.store.write(work)
        except IntegrityError as exc:
            if OVERLAP not in str(exc.orig):
                raise
            raise _taken(spec.id, "its block", "another tenant's") from exc

    def tenant(self, tenant: str) -> TenantRecord | None:
        """Return one tenant, or None."""
        return self.store.read(lambda connection: _find(connection, tenant))

    def tenants(self) -> tuple[TenantRecord, ...]:
        """Return all tenants, by id."""
        # Sorted here: PostgreSQL's order would follow the database's collation.
        rows = self.store.read(lambda connection: connection.execute(sa.select(tenants)).all())
        return tuple(sorted((_record(row) for row in rows), key=lambda record: record.spec.id))

    def update(
        self,
        tenant: str,
        *,
        state: TenantState | None = None,
        spec: TenantSpec | None = None,
        plan_digest: str | None = None,
        outputs: dict[str, object] | None = None,
        vault: VaultRecord | None = None,
    ) -> TenantRecord:
        """Change what is given and leave the rest."""
        given: dict[str, object] = {
            "state": None if state is None else str(state),
            "spec": None if spec is None else spec.model_dump_json(),
            "plan_digest": plan_digest,
            "outputs": None if outputs is None else json.dumps(outputs, sort_keys=True),
            "vault": None if vault is None else vault.model_dump_json(),
        }
        values = {column: value for column, value in given.items() if value is not None}

        def work(connection: sa.Connection) -> TenantRecord:
            statement = tenants.update().where(tenants.c.id == tenant)
            connection.execute(statement.values(**values, updated_at=self._clock.now()))
            found = _find(connection, tenant)
            if found is None:
                raise RefusedError(
                    f"there is no tenant {tenant}",
                    code="tenant-unknown",
                    remedy="`mutx-infra tenant list` shows those that exist",
                )
            return found

        return self.store.write(work)

    def remove(self, tenant: str) -> None:
        """Forget a tenant and free its block."""
        self.store.write(
            lambda connection: connection.execute(tenants.delete().where(tenants.c.id == tenant))
        )

    def acquire(self, tenant: str, owner: Owner, *, purpose: str, ttl_s: float) -> Lease:
        """Take the lease on a tenant if it is free or has expired."""

        def work(connection: sa.Connection) -> Lease:
            now = self._clock.now()
            held = _lease(connection, tenant)
            if held is not None and held.expires_at > now:
                raise _locked(held)
            lease = Lease(
                tenant=tenant,
                token=uuid4().hex,
                owner=owner,
                purpose=purpose,
                acquired_at=now,
                expires_at=now + timedelta(seconds=ttl_s),
            )
            connection.execute(leases.delete().where(leases.c.tenant == tenant))
            connection.execute(leases.insert().values({**dict(lease), "owner": owner.model_dump_json()}))
            return lease

        return self.store.write(work)

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Extend a lease, unless somebody else has taken or broken it."""
        renewed = lease.model_copy(update={"expires_at": self._clock.now() + timedelta(seconds=ttl_s)})

        def work(connection: sa.Connection) -> bool:
            statement = leases.update().where(_is_this(lease)).values(expires_at=renewed.expires_at)
            return connection.execute(statement).rowcount == 1

        if not self.store.write(work):
            raise LockedError(
                f"the lease on {lease.tenant} was lost: it expired or was broken, and may be another's now",
                code="lease-lost",
                remedy=f"`mutx-infra tenant status {lease.tenant}` shows who works on it; then resume",
            )
        return renewed

    def give_up(self, lease: Lease) -> None:
        """End a lease; somebody else's is left alone."""
        self.store.write(lambda connection: connection.execute(leases.delete().where(_is_this(lease))))

    def lease(self, tenant: str) -> Lease | None:
        """Return the stored lease, expired or not."""
        return self.store.read(lambda connection: _lease(connection, tenant))

    def break_lease(self, lease: Lease) -> None:
        """Remove exactly this lease, whoever holds it."""
        self.give_up(lease)

    def chain_head(self, tenant: str) -> ChainHead | None:
        """Return the newest entry of a tenant's history, or None before the first."""
        wanted = sa.select(chain_heads).where(chain_heads.c.tenant == tenant)
        row = self.store.read(lambda connection: connection.execute(wanted).one_or_none())
        return None if row is None else ChainHead.model_validate(dict(row._mapping))

    def advance_chain(self, before: ChainHead, after: ChainHead) -> bool:
        """Move on from `before` to `after`; False where it is not `before` any more."""

        def work(connection: sa.Connection) -> bool:
            mine = chain_heads.c.tenant == after.tenant
            found = connection.execute(sa.select(chain_heads).where(mine)).one_or_none()
            now = (found.sequence, found.hash) if found is not None else (0, before.hash)
            if now != (before.sequence, before.hash):
                return False
            if found is None:
                connection.execute(chain_heads.insert().values(after.model_dump()))
            else:
                connection.execute(chain_heads.update().where(mine).values(after.model_dump()))
            return True

        return self.store.write(work)


def _is_this(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(leases.c.tenant == lease.tenant, leases.c.token == lease.token)


def _blocks(connection: sa.Connection) -> tuple[IPv4Network, ...]:
    rows = connection.execute(sa.select(tenants.c.block_start, tenants.c.block_end))
    return tuple(IPv4Network((start, 33 - (end - start + 1).bit_length())) for start, end in rows)


def _refuse_overlap(connection: sa.Connection, tenant: str, block: IPv4Network) -> None:
    start, end = int(block.network_address), int(block.broadcast_address)
    overlapping = sa.and_(tenants.c.block_start <= end, tenants.c.block_end >= start)
    other = connection.execute(sa.select(tenants.c.id, tenants.c.block).where(overlapping).limit(1)).first()
    if other is not None:
        raise _taken(tenant, str(block), f"{other.id}'s {other.block}")


def _taken(tenant: str, block: str, other: str) -> RefusedError:
    return RefusedError(
        f"{tenant}: {block} overlaps {other}",
        code="block-taken",
        remedy="leave `cidr:` out, delete the tenant's lock file if it is left from before a destroy, and a free"
        " block is allocated; or pick one that `mutx-infra tenant list` does not show",
    )


def _locked(held: Lease) -> LockedError:
    return LockedError(
        f"{held.owner} works on {held.tenant} ({held.purpose})",
        code="tenant-locked",
        remedy="wait until it ends, or end that process;"
        f" its lease runs out at {held.expires_at:%Y-%m-%d %H:%M:%S} UTC",
        detail=f"since {held.acquired_at:%Y-%m-%d %H:%M:%S} UTC",
    )


def _find(connection: sa.Connection, tenant: str) -> TenantRecord | None:
    row = connection.execute(sa.select(tenants).where(tenants.c.id == tenant)).first()
    return None if row is None else _record(row)


def _lease(connection: sa.Connection, tenant: str) -> Lease | None:
    row = connection.execute(sa.select(leases).where(leases.c.tenant == tenant)).first()
    return None if row is None else Lease(**{**row._mapping, "owner": Owner.model_validate_json(row.owner)})


def _row(record: TenantRecord) -> dict[str, object]:
    allocation = record.allocation
    return {
        "id": record.spec.id,
        "account": allocation.account,
        "region": allocation.region,
        "block": str(allocation.block),
        "block_start": int(allocation.block.network_address),
        "block_end": int(allocation.block.broadcast_address),
        "zones": json.dumps(allocation.zones),
        "spec": record.spec.model_dump_json(),
        "state": str(record.state),
        "plan_digest": record.plan_digest,
        "outputs": json.dumps(record.outputs, sort_keys=True),
        "vault": None if record.vault is None else record.vault.model_dump_json(),
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }


def _record(row: sa.Row[tuple[object, ...]]) -> TenantRecord:
    stored = row._mapping
    try:
        return TenantRecord(
            spec=TenantSpec.model_validate_json(stored["spec"]),
            allocation=Allocation(
                account=stored["account"],
                region=stored["region"],
                block=IPv4Network(stored["block"]),
                zones=tuple(json.loads(stored["zones"])),
            ),
            state=TenantState(stored["state"]),
            plan_digest=stored["plan_digest"],
            outputs=json.loads(stored["outputs"]),
            vault=VaultRecord.model_validate_json(stored["vault"]) if stored["vault"] else None,
            created_at=stored["created_at"],
            updated_at=stored["updated_at"],
        )
    except (ValidationError, ValueError) as exc:
        raise OutsideError(
            f"the registry's record of {stored['id']} cannot be understood",
            code="registry-record-invalid",
            remedy="a newer mutx-infra may have written it: update this one, or restore a backup",
        ) from exc
