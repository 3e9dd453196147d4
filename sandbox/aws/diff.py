"""What Pulumi's order of replacement and updates needs to know beyond the differences themselves."""

from __future__ import annotations

from collections.abc import Iterable

from mutx_sandbox.aws.names import was_given_by_us
from mutx_sandbox.aws.resource import ResourceType
from mutx_sandbox.aws.state import INCOMPLETE
from mutx_sandbox.bridge.diff import Change
from mutx_sandbox.bridge.values import Properties


def deletes_first(kind: ResourceType, old_inputs: Properties, found: Iterable[Change]) -> bool:
    """Say whether a replacement must delete before it creates: only where AWS cannot hold both.

    A name that was given here is not in the way: the engine asks for another one before it creates.
    """
    changed = {change.property for change in found}
    named_here = kind.naming is not None and was_given_by_us(kind.naming, old_inputs)
    return bool(kind.unique_by) and not named_here and changed.isdisjoint(kind.unique_by)


def is_incomplete(state: Properties) -> bool:
    """Say whether the creation stopped half-way, so that an update is due even without a difference."""
    return bool(state.get(INCOMPLETE))
