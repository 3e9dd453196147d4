"""Many tenants at once, by several processes: each has its own work directory, engine home, state and block."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network

from tests.support.checkout import Checkout
from tests.support.tenants import assert_each_exists_once, create, resources_of

TENANTS = [f"crowd-{number}" for number in range(10)]
PROCESSES = 4
DESTROYED = 2


def test_ten_tenants_by_four_processes_do_not_meet(checkout: Checkout) -> None:
    for name in TENANTS:
        checkout.write_spec(name)

    with ThreadPoolExecutor(PROCESSES) as pool:
        made = list(pool.map(lambda name: create(checkout, name), TENANTS))
        gone = list(
            pool.map(lambda name: checkout.json("tenant", "destroy", name, "--yes"), TENANTS[:DESTROYED])
        )

    blocks = [ip_network(outcome["allocation"]["block"]) for outcome in made]
    vpcs = {outcome["outputs"]["vpc_id"] for outcome in made}
    assert {outcome["state"] for outcome in made} == {"ready"}
    assert not any(a.overlaps(b) for i, a in enumerate(blocks) for b in blocks[:i])
    assert len(vpcs) == len(TENANTS)
    assert {outcome["deleted"] for outcome in gone} == {len(made[0]["changes"]["resources"])}
    for name in TENANTS[:DESTROYED]:
        assert resources_of(checkout, name) == []
    for name in TENANTS[DESTROYED:]:
        assert_each_exists_once(checkout, name)


def test_two_runs_on_one_tenant_take_turns(checkout: Checkout, tenant: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: checkout.run("tenant", "create", tenant, expect=None), range(2)))

    refused = [run for run in runs if run.returncode]
    assert sorted(run.returncode for run in runs) == [0, 4]
    assert "error[tenant-locked]" in refused[0].stderr
    assert "pid " in refused[0].stderr
    assert_each_exists_once(checkout, tenant)
