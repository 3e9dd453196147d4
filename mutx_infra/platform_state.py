"""Where the platform's state is: its first one cannot lie in a bucket that it has yet to make, so it moves there."""

from __future__ import annotations

from collections.abc import Callable

from mutx_infra.environment import Environment, PulumiBackend
from mutx_infra.errors import RefusedError
from mutx_infra.leases import Leases
from mutx_infra.naming import stack_name
from mutx_infra.ports import Registry, Reporter, StateBackend
from mutx_infra.profile_fields import BACKEND_URL, SECRETS_PROVIDER, profile_fields
from mutx_infra.records import TenantRecord, TenantState
from mutx_infra.state_move import Moved, StateMove
from mutx_infra.tenant import PLATFORM_ID


class PlatformState:
    """Moves the platform's state.

    Args:
        backend_at: returns the stacks of the platform's project at a place.
    """

    def __init__(
        self,
        environment: Environment,
        registry: Registry,
        leases: Leases,
        backend_at: Callable[[PulumiBackend], StateBackend],
    ) -> None:
        self._environment, self._registry = environment, registry
        self._leases, self._backend_at = leases, backend_at

    def move(
        self, to: str | None, secrets_provider: str | None, report: Reporter
    ) -> tuple[PulumiBackend, Moved]:
        """Move the state from the profile's backend; return where it is then.

        Args:
            to: backend URL; None for the platform's own bucket.
            secrets_provider: key URL; None for the platform's own key.
            report: told of each step.

        Raises:
            RefusedError: there is no platform, it is not ready, or see `StateMove.run`.
        """
        with self._leases.hold(PLATFORM_ID, "move-state", report):
            record, now, stack = self._require_made(), self._environment.pulumi, stack_name(PLATFORM_ID)
            fields = profile_fields(record, self._environment.aws.endpoint_url)
            place = now.model_copy(
                update={
                    "backend_url": to or fields[BACKEND_URL],
                    "secrets_provider": secrets_provider or fields[SECRETS_PROVIDER],
                }
            )
            source = self._backend_at(now)
            stands_here = stack in source.stacks()
            if place.backend_url == now.backend_url:
                return now, self._stay(stack, source, stands_here=stands_here)
            if stands_here:
                # A move that died is finished whatever a run since then has met.
                _require_ready(record)
            return place, StateMove(stack, source, self._backend_at(place)).run(report)

    def _stay(self, stack: str, source: StateBackend, *, stands_here: bool) -> Moved:
        if not stands_here:
            raise RefusedError(
                f"there is no state of {stack} at {source.url}, where it shall be",
                code="state-missing",
                remedy="choose the environment profile whose `pulumi.backend_url` has it, or had it last",
            )
        return Moved(len(source.opened(stack).get("resources") or []), is_new=False)

    def _require_made(self) -> TenantRecord:
        record = self._registry.tenant(PLATFORM_ID)
        if record is None:
            raise RefusedError(
                "this environment has no platform yet",
                code="platform-missing",
                remedy="make it: `mutx-infra platform create`",
            )
        if not isinstance(record.outputs.get("buckets"), dict):
            raise _not_ready(record)
        return record


def _require_ready(record: TenantRecord) -> None:
    if record.state is not TenantState.READY:
        raise _not_ready(record)


def _not_ready(record: TenantRecord) -> RefusedError:
    return RefusedError(
        f"the platform is {record.state}, not {TenantState.READY}: its bucket and key may not be there",
        code="platform-not-ready",
        remedy="finish it: `mutx-infra platform create`",
    )
