"""What every registry promises; run against memory, SQLite and PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

from mutx_infra.adapters import sql_schema, sql_store
from mutx_infra.adapters.sql_registry import SqlRegistry
from mutx_infra.addressing import PoolExhaustedError
from mutx_infra.errors import LockedError, OutsideError, RefusedError, SettingsError
from mutx_infra.plan import Allocation
from mutx_infra.ports import Registry
from mutx_infra.records import ChainHead, TenantState, VaultRecord
from tests.contracts.conftest import Store
from tests.support import reserve_many
from tests.support.registry import HandClock
from tests.support.specs import a_spec, an_allocation, an_owner, first_fit

OpenSql = Callable[[], SqlRegistry]

_SCRIPT = Path(reserve_many.__file__)


def _assert_disjoint(blocks: list[IPv4Network]) -> None:
    for lower, upper in pairwise(sorted(blocks)):
        assert lower.broadcast_address < upper.network_address


def _reserve(
    registry: Registry, tenant: str = "acme", block: str = "10.0.1.0/24", **fields: object
) -> IPv4Network:
    spec = a_spec(tenant, **fields)
    return registry.reserve(spec, lambda _taken: an_allocation(spec, block)).allocation.block


class TestAllocations:
    def test_a_new_tenant_is_stored_as_reserved_with_everything_it_said(
        self, store: Store, clock: HandClock
    ) -> None:
        spec = a_spec(
            name="Zürich 北京", tags={"team": "ß"}, contacts=[{"email": "a@example.org", "role": "billing"}]
        )

        reserved = store.open_registry().reserve(spec, lambda _taken: an_allocation(spec))

        assert store.open_registry().tenant("acme") == reserved
        assert (reserved.spec, reserved.allocation) == (spec, an_allocation(spec))
        assert (reserved.state, reserved.plan_digest, reserved.outputs) == (TenantState.RESERVED, None, {})
        assert reserved.created_at == reserved.updated_at == clock.now()

    def test_an_existing_tenant_keeps_allocation_and_spec_and_nothing_is_chosen(
        self, registry: Registry
    ) -> None:
        first = registry.reserve(a_spec(), lambda _taken: an_allocation())

        def choose(_taken: tuple[IPv4Network, ...]) -> Allocation:
            raise AssertionError("a block was chosen for a tenant that has one")

        assert registry.reserve(a_spec(tier="standard"), choose) == first

    def test_the_chooser_sees_every_block_in_use(self, registry: Registry) -> None:
        _reserve(registry, "one", "10.0.0.0/24")
        _reserve(registry, "two", "172.16.0.0/22")
        seen: list[IPv4Network] = []

        def choose(taken: tuple[IPv4Network, ...]) -> Allocation:
            seen.extend(taken)
            return an_allocation(block="10.9.0.0/24")

        registry.reserve(a_spec("three"), choose)

        assert sorted(map(str, seen)) == ["10.0.0.0/24", "172.16.0.0/22"]

    @pytest.mark.parametrize(
        "block", ["10.0.1.0/24", "10.0.1.128/25", "10.0.0.0/22"], ids=["same", "part", "whole"]
    )
    def test_a_block_that_overlaps_anothers_is_refused_and_nothing_is_stored(
        self, registry: Registry, block: str
    ) -> None:
        _reserve(registry, "globex", "10.0.1.0/24")

        with pytest.raises(RefusedError, match=r"overlaps globex's 10\.0\.1\.0/24") as refused:
            _reserve(registry, "acme", block)

        assert refused.value.code == "block-taken"
        assert registry.tenant("acme") is None

    def test_an_exhausted_pool_is_an_error_before_anything_is_stored(self, registry: Registry) -> None:
        pool = IPv4Network("10.0.0.0/23")
        for tenant in ("one", "two"):
            registry.reserve(a_spec(tenant), first_fit(a_spec(tenant), pool))

        with pytest.raises(PoolExhaustedError):
            registry.reserve(a_spec("three"), first_fit(a_spec("three"), pool))

        assert [record.spec.id for record in registry.tenants()] == ["one", "two"]

    def test_a_failing_chooser_leaves_the_store_usable(self, registry: Registry) -> None:
        def choose(_taken: tuple[IPv4Network, ...]) -> Allocation:
            raise KeyError("chooser")

        with pytest.raises(KeyError, match="chooser"):
            registry.reserve(a_spec(), choose)

        assert str(_reserve(registry)) == "10.0.1.0/24"

    def test_blocks_of_mixed_sizes_stay_disjoint(self, registry: Registry) -> None:
        lengths = [25, 22, 24, 16, 25, 23, 24, 20, 25, 22] * 3
        for number, length in enumerate(lengths):
            spec = a_spec(f"t{number}")
            registry.reserve(spec, first_fit(spec, prefix_length=length))

        blocks = [record.allocation.block for record in registry.tenants()]

        assert sorted(block.prefixlen for block in blocks) == sorted(lengths)
        _assert_disjoint(blocks)

    def test_threads_that_reserve_at_once_get_disjoint_blocks(self, store: Store) -> None:
        registry = store.open_registry()
        specs = [a_spec(f"t{number}") for number in range(64)]

        with ThreadPoolExecutor(8) as threads:
            records = list(threads.map(lambda spec: registry.reserve(spec, first_fit(spec)), specs))

        _assert_disjoint([record.allocation.block for record in records])

    def test_threads_that_reserve_one_tenant_at_once_get_one_allocation(self, registry: Registry) -> None:
        with ThreadPoolExecutor(8) as threads:
            records = list(threads.map(lambda _: registry.reserve(a_spec(), first_fit(a_spec())), range(16)))

        assert len({record.allocation.block for record in records}) == 1


class TestTenants:
    def test_an_unknown_tenant_is_none(self, registry: Registry) -> None:
        assert registry.tenant("nobody") is None

    def test_tenants_are_listed_by_id(self, registry: Registry) -> None:
        for number, tenant in enumerate(("b", "a-2", "a1", "a")):
            _reserve(registry, f"x{tenant}", f"10.0.{number}.0/24")

        assert [record.spec.id for record in registry.tenants()] == ["xa", "xa-2", "xa1", "xb"]

    def test_an_update_changes_what_is_given_and_leaves_the_rest(
        self, registry: Registry, clock: HandClock
    ) -> None:
        _reserve(registry)
        registry.update("acme", state=TenantState.CREATING, outputs={"vpc": "vpc-1", "subnets": ["a", "b"]})
        clock.sleep(5)

        updated = registry.update("acme", plan_digest="sha256:0", spec=a_spec(name="Acme"))

        assert updated == registry.tenant("acme")
        assert (updated.state, updated.plan_digest, updated.spec.name) == (
            TenantState.CREATING,
            "sha256:0",
            "Acme",
        )
        assert updated.outputs == {"vpc": "vpc-1", "subnets": ["a", "b"]}
        assert (updated.updated_at - updated.created_at).total_seconds() == 5

    def test_what_is_known_of_a_vault_is_kept_and_says_whose_it_is(
        self, registry: Registry, clock: HandClock
    ) -> None:
        _reserve(registry)
        made = VaultRecord(cluster="c1", made_at=clock.now())
        awaited = registry.update("acme", vault=made)
        clock.sleep(5)

        claimed = registry.update("acme", vault=made.model_copy(update={"handed_over_at": clock.now()}))
        later = registry.update("acme", state=TenantState.CREATING)

        assert (awaited.vault, awaited.is_handed_over) == (made, False)
        assert awaited.standing is TenantState.AWAITING_CLAIM
        assert (claimed.is_handed_over, claimed.standing) == (True, TenantState.READY)
        assert later.vault == claimed.vault
        assert registry.tenant("acme") == later

    def test_an_update_of_an_unknown_tenant_is_refused(self, registry: Registry) -> None:
        with pytest.raises(RefusedError) as refused:
            registry.update("nobody", state=TenantState.READY)

        assert refused.value.code == "tenant-unknown"

    def test_a_removed_tenant_is_gone_and_its_block_is_free_again(self, registry: Registry) -> None:
        _reserve(registry, "acme", "10.0.1.0/24")

        registry.remove("acme")
        registry.remove("acme")

        assert registry.tenant("acme") is None
        assert str(_reserve(registry, "globex", "10.0.1.0/24")) == "10.0.1.0/24"


class TestLeases:
    def test_a_free_lease_is_taken_for_its_time(self, registry: Registry, clock: HandClock) -> None:
        lease = registry.acquire("acme", an_owner(), purpose="create", ttl_s=30)

        assert registry.lease("acme") == lease
        assert (lease.tenant, lease.owner, lease.purpose) == ("acme", an_owner(), "create")
        assert (lease.expires_at - clock.now()).total_seconds() == 30

    def test_a_lease_in_force_locks_everybody_else_out_and_names_its_owner(self, store: Store) -> None:
        store.open_registry().acquire("acme", an_owner(pid=17), purpose="create", ttl_s=30)

        with pytest.raises(LockedError, match=r"ada@here \(pid 17\)") as locked:
            store.open_registry().acquire("acme", an_owner(pid=18), purpose="destroy", ttl_s=30)

        assert locked.value.code == "tenant-locked"

    def test_leases_on_different_tenants_do_not_meet(self, registry: Registry) -> None:
        registry.acquire("acme", an_owner(), purpose="create", ttl_s=30)

        assert registry.acquire("globex", an_owner(), purpose="create", ttl_s=30).tenant == "globex"

    def test_an_expired_lease_is_taken_over_and_its_holder_has_lost_it(
        self, registry: Registry, clock: HandClock
    ) -> None:
        lost = registry.acquire("acme", an_owner(pid=17), purpose="create", ttl_s=30)
        clock.sleep(30)

        taken = registry.acquire("acme", an_owner(pid=18), purpose="create", ttl_s=30)

        with pytest.raises(LockedError) as locked:
            registry.renew(lost, ttl_s=30)
        assert locked.value.code == "lease-lost"
        assert registry.lease("acme") == taken

    def test_a_lease_stays_in_force_until_the_very_end(self, registry: Registry, clock: HandClock) -> None:
        registry.acquire("acme", an_owner(), purpose="create", ttl_s=30)
        clock.sleep(29.999999)

        with pytest.raises(LockedError):
            registry.acquire("acme", an_owner(), purpose="create", ttl_s=30)

    def test_a_renewed_lease_outlives_its_first_end(self, registry: Registry, clock: HandClock) -> None:
        lease = registry.acquire("acme", an_owner(), purpose="create", ttl_s=30)
        clock.sleep(20)

        renewed = registry.renew(lease, ttl_s=30)

        clock.sleep(20)
        assert registry.lease("acme") == renewed
        with pytest.raises(LockedError):
            registry.acquire("acme", an_owner(), purpose="create", ttl_s=30)

    def test_giving_up_leaves_somebody_elses_lease_alone(self, registry: Registry, clock: HandClock) -> None:
        lost = registry.acquire("acme", an_owner(), purpose="create", ttl_s=30)
        clock.sleep(31)
        taken = registry.acquire("acme", an_owner(), purpose="create", ttl_s=30)

        registry.give_up(lost)
        registry.break_lease(lost)

        assert registry.lease("acme") == taken

    @pytest.mark.parametrize("end", ["give_up", "break_lease"])
    def test_an_ended_lease_is_free(self, registry: Registry, end: str) -> None:
        lease = registry.acquire("acme", an_owner(), purpose="create", ttl_s=30)

        getattr(registry, end)(lease)

        assert registry.lease("acme") is None
        assert registry.acquire("acme", an_owner(), purpose="create", ttl_s=30).token != lease.token

    def test_of_many_who_want_a_lease_exactly_one_gets_it(self, registry: Registry) -> None:
        def attempt(pid: int) -> bool:
            try:
                registry.acquire("acme", an_owner(pid), purpose="create", ttl_s=30)
            except LockedError:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(attempt, range(16))) == 1

    def test_a_lease_outlives_the_tenant(self, registry: Registry) -> None:
        _reserve(registry)
        lease = registry.acquire("acme", an_owner(), purpose="destroy", ttl_s=30)

        registry.remove("acme")

        assert registry.lease("acme") == lease


class TestProcesses:
    def test_a_thousand_allocations_by_four_processes_are_a_thousand_disjoint_blocks(
        self, url: str, open_sql: OpenSql, record_property: Callable[[str, object], None]
    ) -> None:
        began = time.monotonic()

        workers = [_start(url, f"p{number}", "250", stdout=subprocess.PIPE) for number in range(4)]
        blocks = [IPv4Network(block) for worker in workers for block in json.loads(worker.communicate()[0])]

        record_property("seconds", round(time.monotonic() - began, 1))
        assert len(blocks) == 1000
        _assert_disjoint(blocks)
        assert len(open_sql().tenants()) == 1000

    def test_a_process_killed_inside_reserve_stores_nothing_and_leaves_the_store_usable(
        self, url: str, open_sql: OpenSql
    ) -> None:
        victim = _start(url, "victim", "hang", stdout=subprocess.PIPE)
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"inside\n"

        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        registry = open_sql()

        assert registry.tenant("victim") is None
        assert str(_reserve(registry)) == "10.0.1.0/24"

    def test_processes_that_open_a_new_store_at_once_make_one_schema(
        self, url: str, open_sql: OpenSql
    ) -> None:
        workers = [_start(url, f"p{number}", "1", stdout=subprocess.PIPE) for number in range(4)]

        for worker in workers:
            worker.communicate()

        assert [worker.returncode for worker in workers] == [0, 0, 0, 0]
        assert len(open_sql().tenants()) == 4


class TestDatabase:
    def test_the_database_itself_refuses_an_overlap(self, open_sql: OpenSql) -> None:
        registry = open_sql()
        _reserve(registry, "globex", "10.0.1.0/24")
        copied = sql_schema.tenants.insert().from_select(
            sql_schema.tenants.c.keys(), sa.select(*_row_with(id="acme", block_end=167772671))
        )

        with pytest.raises(sa.exc.IntegrityError, match=sql_schema.OVERLAP):
            registry.store.write(lambda connection: connection.execute(copied))

        assert registry.tenant("acme") is None

    def test_the_database_itself_refuses_to_move_a_block_onto_anothers(self, open_sql: OpenSql) -> None:
        registry = open_sql()
        _reserve(registry, "globex", "10.0.1.0/24")
        _reserve(registry, "acme", "10.0.0.0/24")
        moved = (
            sql_schema.tenants.update().where(sql_schema.tenants.c.id == "acme").values(block_end=167772416)
        )

        with pytest.raises(sa.exc.IntegrityError, match=sql_schema.OVERLAP):
            registry.store.write(lambda connection: connection.execute(moved))

    @pytest.mark.parametrize(
        "values", [{"block_start": -1}, {"block_start": 5000000000}], ids=["negative", "beyond"]
    )
    def test_the_database_itself_refuses_what_is_no_block(
        self, open_sql: OpenSql, values: dict[str, int]
    ) -> None:
        registry = open_sql()
        _reserve(registry)

        with pytest.raises((sa.exc.IntegrityError, OutsideError)):
            registry.store.write(
                lambda connection: connection.execute(sql_schema.tenants.update().values(values))
            )

    def test_a_schema_of_a_newer_version_is_refused(self, url: str) -> None:
        store = sql_store.SqlStore(url)
        newer = sql_schema.schema_version.update().values(version=sql_schema.SCHEMA_VERSION + 1)
        store.write(lambda connection: connection.execute(newer))
        store.close()

        with pytest.raises(SettingsError) as refused:
            sql_store.SqlStore(url)

        assert refused.value.code == "registry-too-new"

    def test_a_schema_of_the_first_version_is_upgraded_and_keeps_what_it_has(
        self, url: str, clock: HandClock
    ) -> None:
        first = SqlRegistry(url, clock)
        first.reserve(a_spec(), first_fit(a_spec()))
        first.store.write(sql_schema.chain_heads.drop)
        first.store.write(lambda c: c.exec_driver_sql("ALTER TABLE mutx_tenant DROP COLUMN vault"))
        older = sql_schema.schema_version.update().values(version=1)
        first.store.write(lambda connection: connection.execute(older))
        first.store.close()

        upgraded = SqlRegistry(url, clock)

        record = upgraded.tenant("acme")
        assert record is not None
        assert record.vault is None
        assert upgraded.chain_head("acme") is None
        found = sa.select(sa.func.max(sql_schema.schema_version.c.version))
        assert upgraded.store.read(lambda c: c.execute(found).scalar()) == sql_schema.SCHEMA_VERSION
        upgraded.store.close()


@pytest.mark.integration
class TestFiles:
    def test_the_file_and_the_directories_made_for_it_are_private(
        self, tmp_path: Path, clock: HandClock
    ) -> None:
        previous = os.umask(0)
        try:
            _reserve(SqlRegistry(f"sqlite:///{tmp_path}/a/b/registry.db", clock))
        finally:
            os.umask(previous)

        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
        assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
        assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}

    def test_a_file_that_others_could_read_is_closed_to_them(self, tmp_path: Path, clock: HandClock) -> None:
        path = tmp_path / "registry.db"
        path.touch(mode=0o644)

        _reserve(SqlRegistry(f"sqlite:///{path}", clock))

        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_file_that_is_no_database_is_an_error_with_a_remedy(
        self, tmp_path: Path, clock: HandClock
    ) -> None:
        path = tmp_path / "registry.db"
        path.write_text("something else entirely\n" * 100)

        with pytest.raises(OutsideError, match="not a database") as failed:
            SqlRegistry(f"sqlite:///{path}", clock)

        assert failed.value.code == "registry-unavailable"
        assert "registry.url" in failed.value.remedy

    def test_a_record_of_a_newer_toolkit_is_an_error_with_a_remedy(
        self, sqlite_url: str, clock: HandClock
    ) -> None:
        registry = SqlRegistry(sqlite_url, clock)
        _reserve(registry)
        newer = sql_schema.tenants.update().values(
            spec='{"id": "acme", "region": "eu-west-1", "colour": "red"}'
        )
        registry.store.write(lambda connection: connection.execute(newer))

        with pytest.raises(OutsideError, match="acme cannot be understood") as failed:
            registry.tenant("acme")

        assert failed.value.code == "registry-record-invalid"


@pytest.mark.unit
class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            "sqlite://",
            "sqlite:///:memory:",
            "sqlite:///file:x?uri=true",
            "mysql://ada:hunter2@localhost/x",
            "postgresql+asyncpg://ada:hunter2@localhost/x",
            "hunter2",
            "postgresql://ada:hunter2@localhost:port/x",
        ],
    )
    def test_an_address_of_no_use_is_refused_without_showing_it(self, url: str, clock: HandClock) -> None:
        with pytest.raises(SettingsError) as refused:
            SqlRegistry(url, clock)

        assert refused.value.code == "registry-url-invalid"
        assert "hunter2" not in f"{refused.value} {refused.value.detail} {refused.value.remedy}"


@pytest.mark.integration
def test_a_server_that_does_not_answer_is_an_error_without_the_password(
    clock: HandClock, tmp_path: Path
) -> None:
    with pytest.raises(OutsideError) as failed:
        SqlRegistry(f"postgresql://ada:hunter2@/registry?host={tmp_path}", clock)

    assert failed.value.code == "registry-unavailable"
    assert "hunter2" not in f"{failed.value} {failed.value.detail} {failed.value.remedy}"


def _row_with(**values: object) -> list[sa.ColumnElement[object]]:
    columns = sql_schema.tenants.c
    return [sa.literal(values[c.name]).label(c.name) if c.name in values else c for c in columns]


def _start(url: str, *arguments: str, stdout: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(_SCRIPT), url, *arguments], stdout=stdout)


def test_a_chain_head_is_kept_and_outlives_the_tenant(store: Store) -> None:
    nothing = ChainHead(tenant="acme", sequence=0, hash="0")
    first, second = (ChainHead(tenant="acme", sequence=n, hash=f"{n}") for n in (1, 2))
    registry = store.open_registry()
    before = registry.chain_head("acme")

    moved = [registry.advance_chain(nothing, first), registry.advance_chain(first, second)]
    registry.remove("acme")

    assert (before, moved) == (None, [True, True])
    assert store.open_registry().chain_head("acme") == second


def test_a_chain_head_moves_on_from_where_it_is_only(store: Store) -> None:
    nothing = ChainHead(tenant="acme", sequence=0, hash="0")
    first, other = (ChainHead(tenant="acme", sequence=1, hash=text) for text in ("one", "other"))
    registry = store.open_registry()
    registry.advance_chain(nothing, first)

    refused = [registry.advance_chain(nothing, other), registry.advance_chain(other, first)]

    assert refused == [False, False]
    assert registry.chain_head("acme") == first
