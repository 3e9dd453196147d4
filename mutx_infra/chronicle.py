"""Writes the history while the workflow runs: one entry for each update that changed something, failed, or died."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from mutx_infra.changes import ChangeSet
from mutx_infra.errors import MutxInfraError
from mutx_infra.history import Draft, History, Outcome
from mutx_infra.plan import Allocation, TenantPlan
from mutx_infra.ports import Clock
from mutx_infra.records import RunKind, RunRecord, TenantRecord
from mutx_infra.tenant import TenantSpec


@dataclass(slots=True)
class Written:
    """What a running update tells the chronicle: its changes, once the engine has made them."""

    changes: ChangeSet = field(default_factory=ChangeSet)


class Chronicle:
    """The history's writer.

    Args:
        history: where entries go; None in a loopback profile without one.
        state_of: gives the state of a plan's stack, where there is one.
        clock: says when an update ended.
    """

    def __init__(
        self, history: History | None, state_of: Callable[[TenantPlan], bytes | None], clock: Clock
    ) -> None:
        self._history, self._state_of, self._clock = history, state_of, clock

    @contextmanager
    def writing(
        self, run: RunRecord, spec: TenantSpec, allocation: Allocation, plan: TenantPlan
    ) -> Iterator[Written]:
        """Check that the history can be kept before anything is done, and write the entry at the end.

        A create that changed nothing and whose plan the last entry has is not written: nothing was configured.
        """
        if self._history is None:
            yield Written()
            return
        self._history.require_retention()
        written = Written()
        try:
            yield written
        except (MutxInfraError, KeyboardInterrupt) as exc:
            known = exc if isinstance(exc, MutxInfraError) else None
            self._append(
                run,
                spec,
                allocation,
                plan,
                written.changes,
                outcome=Outcome.FAILED if known else Outcome.INTERRUPTED,
                error=f"{known.code}: {known.message}" if known else "interrupted",
            )
            raise
        if run.kind is RunKind.DESTROY or not written.changes.is_empty or self._is_news(spec.id, plan):
            self._append(run, spec, allocation, plan, written.changes)

    def close_interrupted(self, last: RunRecord | None, record: TenantRecord, plan: TenantPlan) -> None:
        """Write the entry of a run that died without a word: its successor finds it still open."""
        if self._history is None or last is None or last.state != "running":
            return
        self._append(last, record.spec, record.allocation, plan, ChangeSet(), outcome=Outcome.INTERRUPTED)

    def _is_news(self, tenant: str, plan: TenantPlan) -> bool:
        """Say whether the last entry has another plan, or the last update did not end well."""
        assert self._history is not None  # noqa: S101 - asked only where there is one
        last = self._history.last(tenant)
        return last is None or (last.plan_digest, last.outcome) != (plan.digest, Outcome.DONE)

    def _append(
        self,
        run: RunRecord,
        spec: TenantSpec,
        allocation: Allocation,
        plan: TenantPlan,
        changes: ChangeSet,
        *,
        outcome: Outcome = Outcome.DONE,
        error: str = "",
    ) -> None:
        assert self._history is not None  # noqa: S101 - asked only where there is one
        draft = Draft(
            tenant=spec.id,
            kind=str(run.kind),
            by=str(run.owner),
            started_at=run.started_at,
            ended_at=self._clock.now(),
            outcome=outcome,
            error=error,
            spec=spec.model_dump(mode="json", exclude_none=True),
            allocation=allocation.model_dump(mode="json"),
            plan_digest=run.plan_digest,
            changes=changes,
        )
        if outcome is Outcome.DONE:
            self._history.append(draft, plan, self._state_of(plan))
            return
        # What went wrong is what the operator must hear of, not that the history cannot be written as well.
        with suppress(MutxInfraError):
            self._history.append(draft, plan, self._state_if_any(plan))

    def _state_if_any(self, plan: TenantPlan) -> bytes | None:
        try:
            return self._state_of(plan)
        except MutxInfraError:
            return None
