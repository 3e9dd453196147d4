"""One worker at a time: a run holds a lease on its tenant, and its child processes live no longer than that lease."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from mutx_infra.errors import LockedError, MutxInfraError
from mutx_infra.ports import Registry, Reporter, Workers
from mutx_infra.records import Lease, Owner

LEASE_S = 30.0
"""A lease lives this long and is renewed every fifth of it."""

SILENCE_S = 0.6 * LEASE_S
"""Child processes are asked to end after this long without a renewal. Together with their time to end
(`supervised.GRACE_S`) it is less than `LEASE_S`: no child works on when another run may take the tenant."""


class Leases:
    """Takes leases for one process.

    Args:
        workers: whose child processes the lease binds.
        is_alive: True or False for a process of this machine, None where it cannot be told.
    """

    def __init__(
        self, registry: Registry, workers: Workers, owner: Owner, is_alive: Callable[[Owner], bool | None]
    ) -> None:
        self._registry, self._workers = registry, workers
        self._owner, self._is_alive = owner, is_alive

    @contextmanager
    def hold(self, tenant: str, purpose: str, report: Reporter) -> Iterator[None]:
        """Hold the tenant's lease, renewed by a thread, and bind child processes to it.

        Raises:
            LockedError: a process that is not provably dead holds it; names user, host and pid.
        """
        lease = self._take(tenant, purpose, report)
        ended = Event()
        with self._workers.guard(SILENCE_S) as beat:

            def renew() -> None:
                nonlocal lease
                while not ended.wait(LEASE_S / 5):
                    try:
                        lease = self._registry.renew(lease, ttl_s=LEASE_S)
                    except MutxInfraError:
                        return  # no beat: the supervisor ends the children before the lease can expire
                    beat()

            keeper = Thread(target=renew, name="lease", daemon=True)
            keeper.start()
            try:
                yield
            finally:
                ended.set()
                keeper.join()
                self._registry.give_up(lease)

    def _take(self, tenant: str, purpose: str, report: Reporter) -> Lease:
        try:
            return self._registry.acquire(tenant, self._owner, purpose=purpose, ttl_s=LEASE_S)
        except LockedError:
            held = self._registry.lease(tenant)
            if held is None or self._is_alive(held.owner) is not False:
                raise
            report.note(f"{held.owner} died while it worked on {tenant}; going on in its place")
            self._registry.break_lease(held)
            self._workers.await_quiet(tenant)
            return self._registry.acquire(tenant, self._owner, purpose=purpose, ttl_s=LEASE_S)
