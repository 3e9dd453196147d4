"""`bootstrap` for what is about the tailnet: chooses the adapters of its use cases.

Every function loads what it needs when it is called: one group of commands needs it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mutx_infra.bootstrap import Process, SystemClock, history_of, load_environment, tailscale_of
from mutx_infra.chronicle import Chronicle
from mutx_infra.leases import Leases
from mutx_infra.settings import Settings

if TYPE_CHECKING:
    from mutx_infra.ports import Reporter
    from mutx_infra.tailnet.access import TailnetAccess
    from mutx_infra.tailnet.difference import PolicyChange
    from mutx_infra.tailnet.leave import LeaveDesk
    from mutx_infra.tailnet.plan import TailnetPlan
    from mutx_infra.tailnet.writer import TailnetWriter
    from mutx_infra.tailnet_ports import TailnetReader
    from mutx_infra.tenant import TenantSpec


@dataclass(frozen=True, slots=True)
class LateKeeper:
    """`TailnetKeeper` that is wired when it is needed: most commands on tenants do not touch the tailnet."""

    process: Process
    settings: Settings

    def foresee(self, spec: TenantSpec) -> PolicyChange:
        """Return what the registry's policy would change once it has this spec."""
        return make_tailnet_access(self.settings).foreseen(spec)

    def follow(self, report: Reporter) -> str:
        """Bring the tailnet up to the registry where it is not."""
        return make_tailnet_writer(self.process, self.settings).follow(report)


def make_tailnet_access(settings: Settings) -> TailnetAccess:
    """Wire questions about the tailnet to the registry of the environment in force."""
    from mutx_infra.adapters.sql_registry import SqlRegistry  # noqa: PLC0415
    from mutx_infra.tailnet.access import TailnetAccess  # noqa: PLC0415 - one group of commands needs it

    environment = load_environment(settings.require_environment())
    registry = SqlRegistry(environment.registry.url.get_secret_value(), SystemClock())
    return TailnetAccess(registry, environment.tailnet)


def make_tailnet_writer(process: Process, settings: Settings) -> TailnetWriter:
    """Wire what brings the tailnet up to the registry, in the environment in force."""
    from mutx_infra.adapters.aws_session import AwsSession  # noqa: PLC0415
    from mutx_infra.adapters.process import current_owner, is_alive, is_running  # noqa: PLC0415
    from mutx_infra.adapters.pulumi_engine import find_engine  # noqa: PLC0415
    from mutx_infra.adapters.pulumi_tailnet import PulumiTailnet  # noqa: PLC0415
    from mutx_infra.adapters.sql_journal import SqlJournal  # noqa: PLC0415
    from mutx_infra.adapters.sql_registry import SqlRegistry  # noqa: PLC0415
    from mutx_infra.adapters.tailscale_login import credentials_of  # noqa: PLC0415
    from mutx_infra.adapters.tailscale_lost import LostCreations  # noqa: PLC0415
    from mutx_infra.adapters.tailscale_policy import TailscalePolicyFile  # noqa: PLC0415
    from mutx_infra.tailnet.access import TailnetAccess  # noqa: PLC0415
    from mutx_infra.tailnet.writer import TailnetWriter  # noqa: PLC0415

    environment = load_environment(settings.require_environment())
    tailnet, clock, owner = environment.tailnet, SystemClock(), current_owner()
    credentials = credentials_of(tailnet, process.variables)
    url = environment.registry.url.get_secret_value()
    registry, journal = SqlRegistry(url, clock), SqlJournal(url, clock)
    engine = find_engine(settings.cache, process.variables.get("PATH", os.defpath))
    stack = PulumiTailnet(
        engine, environment, process.variables, settings.state, LostCreations(tailnet, credentials), owner,
        is_running, time.sleep,
    )  # fmt: skip
    file, leases = TailscalePolicyFile(tailnet, credentials), Leases(registry, stack, owner, is_alive)
    access = TailnetAccess(registry, tailnet)
    chronicle = Chronicle(
        history_of(environment, AwsSession(environment.aws), registry), lambda _: None, clock
    )
    return TailnetWriter(access, tailnet, file, stack, journal, leases, chronicle, clock, owner)


def make_leave_desk(process: Process, settings: Settings) -> LeaveDesk:
    """Wire just-in-time access to Tailscale's API, in the environment in force."""
    from mutx_infra.adapters.process import current_owner  # noqa: PLC0415
    from mutx_infra.adapters.sql_journal import SqlJournal  # noqa: PLC0415
    from mutx_infra.adapters.sql_registry import SqlRegistry  # noqa: PLC0415
    from mutx_infra.adapters.tailscale_attributes import TailscaleAttributes  # noqa: PLC0415
    from mutx_infra.adapters.tailscale_login import credentials_of  # noqa: PLC0415
    from mutx_infra.tailnet.leave import LeaveDesk  # noqa: PLC0415

    environment, clock = load_environment(settings.require_environment()), SystemClock()
    tailnet, url = environment.tailnet, environment.registry.url.get_secret_value()
    attributes = TailscaleAttributes(tailnet, credentials_of(tailnet, process.variables))
    return LeaveDesk(
        tailnet, SqlRegistry(url, clock), attributes, SqlJournal(url, clock), clock, current_owner()
    )


def load_tailnet_plan(profile: Path) -> TailnetPlan:
    """Return the tailnet's plan by an environment profile and its registry."""
    from mutx_infra.adapters.sql_registry import SqlRegistry  # noqa: PLC0415
    from mutx_infra.tailnet.access import TailnetAccess  # noqa: PLC0415
    from mutx_infra.tailnet.plan import plan_tailnet  # noqa: PLC0415

    environment = load_environment(profile)
    registry = SqlRegistry(environment.registry.url.get_secret_value(), SystemClock())
    return plan_tailnet(TailnetAccess(registry, environment.tailnet).wanted().policy, environment.tailnet)


def make_tailnet_reader(process: Process, settings: Settings) -> TailnetReader:
    """Wire what reads a tailnet to Tailscale's API, for the environment in force."""
    return tailscale_of(load_environment(settings.require_environment()).tailnet, process)
