"""The tenant on the sandbox's tailnet: its hosts joined it by tags of their own, and SSH comes over it alone."""

from __future__ import annotations

from pathlib import Path

from tests.support.checkout import Checkout
from tests.support.onboarded import TENANT, Onboarded
from tests.support.tailnet_checkout import Tailnet

ROLES = ("agent", "guard", "mgmt", "vault")


def test_each_joined_with_its_own_tag_and_the_tailnet_is_the_registry_s(
    checkout: Checkout, tenant: Onboarded
) -> None:
    found = Tailnet(checkout).devices()
    seen = {name: device["tags"] for name, device in found.items() if name != "converge"}

    assert seen == {f"{TENANT}-{role}-1": [f"tag:t-{TENANT}-{role}"] for role in ROLES}
    checkout.run("tailnet", "check")


def test_ssh_comes_over_the_tailnet_and_to_the_database_through_mgmt(
    checkout: Checkout, tenant: Onboarded
) -> None:
    addresses = {name: device["addresses"][0] for name, device in Tailnet(checkout).devices().items()}

    def comes_from(host: str) -> str:
        return tenant.on(host, "echo ${SSH_CONNECTION%% *}")

    assert comes_from("agent-1") == addresses["converge"]
    interface = tenant.on("agent-1", "ip -o -4 address show tailscale0")
    assert addresses[f"{TENANT}-agent-1"] in interface
    assert comes_from("database-1").startswith("10.")
    assert tenant.ssh("database-1", "command -v tailscaled && systemctl is-active tailscaled").returncode != 0


def test_what_the_policy_takes_away_is_closed_though_the_firewall_opens_it(
    checkout: Checkout, tenant: Onboarded
) -> None:
    tailnet = Tailnet(checkout)
    policy = tailnet.policy()
    converge = [grant for grant in policy["grants"] if grant["src"] == ["tag:mutx-converge"]]
    agents = [grant for grant in converge if grant["dst"] == [f"tag:t-{TENANT}-agent"]]

    tailnet.put({**policy, "grants": [g for g in policy["grants"] if g not in agents], "tests": []})
    try:
        assert tenant.ssh("agent-1", "true").returncode != 0
        assert tenant.ssh("guard-1", "true").returncode == 0
    finally:
        tailnet.put(policy)
    assert len(agents) == 1


def test_no_key_is_left_anywhere(checkout: Checkout, tenant: Onboarded) -> None:
    keys = [key for key in Tailnet(checkout).listed("keys") if not key.get("invalid")]
    state = checkout.root / ".mutx"
    found = [
        file for file in state.rglob("*")
        if file.is_file() and not file.is_symlink() and file.stat().st_size < 50_000_000
        and b"tskey-auth-" in _content(file)
    ]  # fmt: skip

    assert keys == []
    assert found == []


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # a machine's own, which comes and goes
        return b""
