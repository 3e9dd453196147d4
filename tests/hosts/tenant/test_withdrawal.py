"""The end of the tenant, after all else here: nothing of it runs, is on the tailnet or in its policy any more."""

from __future__ import annotations

import json
import time

from tests.support.checkout import Checkout
from tests.support.onboarded import TENANT, Onboarded
from tests.support.tailnet_checkout import Tailnet


def test_trial_hosts_are_refused_since_no_policy_knows_them(checkout: Checkout) -> None:
    assert "error[hosts-trial-tailnet]" in checkout.run("sandbox", "hosts", "up", "1", expect=4).stderr


def test_its_machines_its_devices_and_its_part_of_the_policy_go_with_it(
    checkout: Checkout, tenant: Onboarded
) -> None:
    done = checkout.run("tenant", "destroy", TENANT, "--yes")
    deadline = time.monotonic() + 20
    while tenant.hosts.machines.states() and time.monotonic() < deadline:
        time.sleep(0.2)

    assert [state.machine.name for state in tenant.hosts.machines.states()] == []
    assert "4 devices and keys of the tailnet deleted" in done.stderr
    assert set(Tailnet(checkout).devices()) == {"converge"}
    assert f"tag:t-{TENANT}" not in json.dumps(Tailnet(checkout).policy())
    checkout.run("tailnet", "check")
