"""A tenant on real machines as `tenant create` leaves it: joined to the sandbox's tailnet, and hardened over it."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutx_infra.adapters.supervised import is_at_work
from tests.support.checkout import Checkout
from tests.support.machines import Hosts

TENANT = "acme"
KEYS = ("agent-1", "database-1", "guard-1", "mgmt-1", "vault-1")
NAMES = tuple(f"{TENANT}-{key}" for key in KEYS)
_AMONG_ITS_HOSTS_WITHIN_S, _RESUME_S = 240, 800
"""Limits for a crowded machine; each takes one to two minutes on one that has nothing else to do."""


@dataclass(frozen=True)
class Onboarded:
    """The tenant, and how it came about: its create was killed among its hosts, and finished by another command.

    Attributes:
        resumed: what that command printed.
        history: the kinds of its entries at that moment.
        is_quiet: nothing that the killed command had started was at work any more.
    """

    hosts: Hosts
    resumed: Any
    history: tuple[str, ...]
    is_quiet: bool

    @property
    def checkout(self) -> Checkout:
        return self.hosts.checkout

    @property
    def place(self) -> Path:
        """Where runs on its hosts keep what they need."""
        return runs_of(self.checkout)

    def ssh(self, key: str, command: str) -> subprocess.CompletedProcess[str]:
        return self.hosts.ssh(f"{TENANT}-{key}", command, tenant=TENANT)

    def on(self, key: str, command: str) -> str:
        """Run a command on a host that must succeed; returns what it printed."""
        return self.hosts.answer(f"{TENANT}-{key}", command, tenant=TENANT)


def onboard(checkout: Checkout) -> Onboarded:
    """Create the tenant in a sandbox that runs machines."""
    checkout.write_spec(TENANT)
    running = checkout.start("tenant", "create", TENANT)
    kill_among_hosts(checkout, running, _AMONG_ITS_HOSTS_WITHIN_S)

    resumed = checkout.run("tenant", "resume", TENANT, "--json", limit_s=_RESUME_S)

    is_quiet = not is_at_work(str(runs_of(checkout)))
    entries = checkout.json("history", "list", TENANT)["entries"]
    return Onboarded(
        Hosts(checkout), json.loads(resumed.stdout), tuple(entry["kind"] for entry in entries), is_quiet
    )


def runs_of(checkout: Checkout) -> Path:
    return checkout.root / ".mutx/hosts/sandbox" / TENANT


def kill_among_hosts(checkout: Checkout, running: subprocess.Popen[bytes], within_s: float) -> None:
    """Kill a command that works on the tenant's hosts, once it does."""
    deadline = time.monotonic() + within_s
    while not list(runs_of(checkout).glob("run-*/artifacts/run/job_events/*")):
        assert running.poll() is None, "it was over before it came to the hosts"
        assert time.monotonic() < deadline, "it does not come to the hosts"
        time.sleep(0.1)
    running.kill()
    running.wait()
