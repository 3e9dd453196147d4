"""Starts a machine for each host that a tenant's stack has made, as a cloud does, and ends it with the tenant."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Protocol

from mutx_sandbox.machines.instances import tenant_machines
from mutx_sandbox.machines.machine import BackendName, Machine, MachineState

from mutx_infra.errors import MutxInfraError
from mutx_infra.records import TenantRecord, TenantState
from mutx_infra.tenant import PLATFORM_ID

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_EVERY_S = 0.5
_RETRY_AFTER_S = 10.0


class Runner(Protocol):
    """What runs machines: `laboratory.Laboratory`."""

    def add(self, machine: Machine) -> bool:
        """Run a machine."""

    def remove(self, name: str) -> None:
        """End a machine and forget its disk."""

    def states(self) -> list[MachineState]:
        """Return every machine."""


class Follower:
    """Looks at the registry now and then.

    Args:
        runner: runs the machines.
        tenants: returns what is registered; raises OSError or MutxInfraError where it cannot be told just now.
    """

    def __init__(self, runner: Runner, tenants: Callable[[], tuple[TenantRecord, ...]]) -> None:
        self._runner, self._tenants = runner, tenants
        self._followed: dict[str, Machine] = {}
        self._not_before: dict[str, float] = {}
        self._begun = Event()

    def start(self) -> bool:
        """Look from now on, in a thread of its own; False where it looks already."""
        if self._begun.is_set():
            return False
        self._begun.set()
        Thread(target=self._look_for_ever, daemon=True).start()
        return True

    def look(self) -> None:
        """Start what is missing, end what has no tenant any more. A machine that was ended by hand is left alone."""
        wanted = {machine.name: machine for record in self._tenants() for machine in _machines_of(record)}
        for name in [name for name in self._followed if name not in wanted]:
            if name in self._known():
                self._runner.remove(name)
            del self._followed[name]
        for name, machine in wanted.items():
            if self._followed.get(name) != machine and time.monotonic() >= self._not_before.get(name, 0.0):
                self._add(machine)

    def _add(self, machine: Machine) -> None:
        known = self._known().get(machine.name)
        if known is None or known.instance != machine.instance:
            try:
                self._runner.add(machine)
            except (OSError, MutxInfraError):
                self._not_before[machine.name] = time.monotonic() + _RETRY_AFTER_S
                raise
        self._followed[machine.name] = machine

    def _known(self) -> dict[str, Machine]:
        return {state.machine.name: state.machine for state in self._runner.states()}

    def _look_for_ever(self) -> None:
        while True:
            try:
                self.look()
            except (OSError, MutxInfraError) as exc:
                sys.stderr.write(f"machines do not follow the tenants: {exc}\n")
                sys.stderr.flush()
            time.sleep(_LOOK_EVERY_S)


def registered(environment: Path) -> tuple[TenantRecord, ...]:
    """Return the tenants of a sandbox; none where its registry is gone."""
    from mutx_infra.adapters.sql_registry import SqlRegistry  # noqa: PLC0415 - loads SQLAlchemy
    from mutx_infra.bootstrap import SystemClock, load_environment  # noqa: PLC0415

    url = load_environment(environment).registry.url.get_secret_value()
    # A registry that was wiped is another file: one that is kept open would go on showing the old one.
    if not Path(url.removeprefix("sqlite:///")).is_file():
        return ()
    return SqlRegistry(url, SystemClock()).tenants()


def _machines_of(record: TenantRecord) -> Iterator[Machine]:
    """Yield the machines of a tenant that stands; the platform's hosts, too many beside two tenants', start by hand."""
    stands = record.state is not TenantState.DESTROYING and "hosts" in record.outputs
    if stands and record.spec.id != PLATFORM_ID:
        yield from tenant_machines(record, BackendName.NSPAWN, 0)[1]
