"""What a run of the playbooks did, host by host: frozen values that pass through the ports."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class HostState(StrEnum):
    """How a host came out of a run."""

    DONE = "done"
    FAILED = "failed"
    """A task failed; what came before it is in force."""
    UNREACHABLE = "unreachable"
    """It did not answer, at the beginning or in the middle."""
    NOT_REACHED = "not-reached"
    """The run ended before the host's turn was over."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class HostChange(_Record):
    """One thing that a run changed on a host, or in check mode would change.

    Attributes:
        task: the task's name without its control ids.
        controls: the control ids in it.
        difference: what differs, line by line, where it was asked for and may be shown.
    """

    task: str
    controls: tuple[str, ...] = ()
    difference: str = ""


class HostOutcome(_Record):
    """One host after a run.

    Attributes:
        tasks: how many tasks ran on it.
        reason: why it failed or was not reached; no secret.
        failed_task: where it failed.
    """

    host: str
    state: HostState
    tasks: int = 0
    changes: tuple[HostChange, ...] = ()
    failed_task: str = ""
    reason: str = ""

    @property
    def is_done(self) -> bool:
        """True where the host came through."""
        return self.state is HostState.DONE


class Configured(_Record):
    """What a run did.

    Attributes:
        artifacts: directory with what the playbooks printed; holds no secret.
    """

    hosts: tuple[HostOutcome, ...] = Field(default=())
    duration_s: float
    artifacts: str

    @property
    def failed(self) -> tuple[HostOutcome, ...]:
        """The hosts that did not come through."""
        return tuple(outcome for outcome in self.hosts if not outcome.is_done)

    @property
    def changed(self) -> tuple[HostOutcome, ...]:
        """The hosts on which something changed."""
        return tuple(outcome for outcome in self.hosts if outcome.changes)

    def summary(self) -> str:
        """Return e.g. `5 hosts, 12 changes on 2 of them`, or `5 hosts, nothing changed`."""
        count = sum(len(outcome.changes) for outcome in self.hosts)
        changed = f"{count} change(s) on {len(self.changed)} of them" if count else "nothing changed"
        return f"{len(self.hosts)} host(s), {changed}"
