"""What an engine run would change, or changed: a value that can be printed, compared and counted."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Operation(StrEnum):
    """What happens to a resource."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    SAME = "same"


class ResourceChange(BaseModel):
    """One resource's change.

    Attributes:
        kind: Pulumi type token, e.g. `aws:ec2/vpc:Vpc`.
        name: logical name in the stack.
        fields: property paths that differ, for updates and replacements.
    """

    model_config = ConfigDict(frozen=True)

    operation: Operation
    kind: str
    name: str
    fields: tuple[str, ...] = ()


class ChangeSet(BaseModel):
    """The changes of one run, and how many resources stay the same."""

    model_config = ConfigDict(frozen=True)

    changes: tuple[ResourceChange, ...] = ()
    unchanged: int = 0

    @property
    def is_empty(self) -> bool:
        """True when nothing changes."""
        return not self.changes

    def count(self, operation: Operation) -> int:
        """Return how many resources see this operation."""
        return sum(1 for change in self.changes if change.operation is operation)

    def summary(self) -> str:
        """Return e.g. `3 created, 1 updated, 90 unchanged`, or `no changes (93 resources)`."""
        if self.is_empty:
            return f"no changes ({self.unchanged} resources)"
        past = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted"}
        counts = [f"{n} {past[op]}" for op in Operation if op in past and (n := self.count(op))]
        return ", ".join([*counts, f"{self.unchanged} unchanged"] if self.unchanged else counts)
