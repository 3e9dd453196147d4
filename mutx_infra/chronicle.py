"""Writes the history while the workflow runs: one entry for each update that changed something, failed, or died."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Subject:
    """What an update is about.

    Attributes:
        id: the tenant's, or the tailnet's.
        spec, allocation, plan: as JSON has them.
        state: reads the state of its stack, None where it has none.
    """

    id: str
    spec: dict[str, Any]
    allocation: dict[str, Any]
    plan: dict[str, Any]
    state: Callable[[], bytes | None]


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

    def writing(
        self, run: RunRecord, spec: TenantSpec, allocation: Allocation, plan: TenantPlan
    ) -> AbstractContextManager[Written]:
        """Write the entry of a tenant's update; see `writing_of`."""
        return self.writing_of(run, self._tenant(spec, allocation, plan))

    @contextmanager
    def writing_of(self, run: RunRecord, subject: Subject) -> Iterator[Written]:
        """Check that the history can be kept before anything is done, and write the entry at the end.

        An update that changed nothing and whose plan the last entry has is not written: nothing was configured.
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
                subject,
                written.changes,
                outcome=Outcome.FAILED if known else Outcome.INTERRUPTED,
                error=f"{known.code}: {known.message}" if known else "interrupted",
            )
            raise
        if (
            run.kind is RunKind.DESTROY
            or not written.changes.is_empty
            or self._is_news(subject.id, run.plan_digest)
        ):
            self._append(run, subject, written.changes)

    def close_interrupted(self, last: RunRecord | None, record: TenantRecord, plan: TenantPlan) -> None:
        """Write the entry of a tenant's run that died without a word: its successor finds it still open."""
        self.close_interrupted_of(last, self._tenant(record.spec, record.allocation, plan))

    def close_interrupted_of(self, last: RunRecord | None, subject: Subject) -> None:
        """Write the entry of a run that died without a word."""
        if self._history is not None and last is not None and last.state == "running":
            self._append(last, subject, ChangeSet(), outcome=Outcome.INTERRUPTED)

    def _tenant(self, spec: TenantSpec, allocation: Allocation, plan: TenantPlan) -> Subject:
        return Subject(
            spec.id,
            spec.model_dump(mode="json", exclude_none=True),
            allocation.model_dump(mode="json"),
            plan.model_dump(mode="json"),
            partial(self._state_of, plan),
        )

    def _is_news(self, whose: str, plan_digest: str) -> bool:
        """Say whether the last entry has another plan, or the last update did not end well."""
        assert self._history is not None  # noqa: S101 - asked only where there is one
        last = self._history.last(whose)
        return last is None or (last.plan_digest, last.outcome) != (plan_digest, Outcome.DONE)

    def _append(
        self,
        run: RunRecord,
        subject: Subject,
        changes: ChangeSet,
        *,
        outcome: Outcome = Outcome.DONE,
        error: str = "",
    ) -> None:
        assert self._history is not None  # noqa: S101 - asked only where there is one
        draft = Draft(
            tenant=subject.id,
            kind=str(run.kind),
            by=str(run.owner),
            started_at=run.started_at,
            ended_at=self._clock.now(),
            outcome=outcome,
            error=error,
            spec=subject.spec,
            allocation=subject.allocation,
            plan_digest=run.plan_digest,
            changes=changes,
        )
        if outcome is Outcome.DONE:
            self._history.append(draft, subject.plan, subject.state())
            return
        # What went wrong is what the operator must hear of, not that the history cannot be written as well.
        with suppress(MutxInfraError):
            self._history.append(draft, subject.plan, _state_if_any(subject))


def _state_if_any(subject: Subject) -> bytes | None:
    try:
        return subject.state()
    except MutxInfraError:
        return None
