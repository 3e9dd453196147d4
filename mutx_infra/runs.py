"""The journal's brackets: a run that is closed whatever happens, and its steps, each with its end and its reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from mutx_infra.errors import MutxInfraError
from mutx_infra.ports import Journal, Reporter
from mutx_infra.records import RunRecord


class InsideStep:
    """A reporter for a use case that runs inside another one's step: its own steps are not shown, all else is."""

    def __init__(self, report: Reporter) -> None:
        self._report = report

    def step(self, name: str, title: str, done: list[str]) -> AbstractContextManager[None]:
        """Show nothing: the outer step is shown."""
        del name, title, done
        return nullcontext()

    def resource(self, operation: str, kind: str, name: str, *, done: bool) -> None:
        """Pass it on."""
        self._report.resource(operation, kind, name, done=done)

    def note(self, text: str) -> None:
        """Pass it on."""
        self._report.note(text)


@contextmanager
def journaled_step(
    journal: Journal, run: RunRecord, name: str, title: str, report: Reporter
) -> Iterator[list[str]]:
    """Journal one step; the body appends what it found to the yielded list."""
    done: list[str] = []
    journal.start_step(run.id, name)
    with report.step(name, title, done):
        try:
            yield done
        except (MutxInfraError, KeyboardInterrupt) as exc:
            journal.fail_step(run.id, name, str(exc) or "interrupted")
            raise
        journal.finish_step(run.id, name, "; ".join(done))


@contextmanager
def closing(journal: Journal, run: RunRecord) -> Iterator[None]:
    """Close the run at the end, as one that succeeded only where the body did."""
    succeeded = False
    try:
        yield
        succeeded = True
    finally:
        journal.end(run.id, succeeded=succeeded)
