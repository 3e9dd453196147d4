"""What changes in the tailnet's policy, as rows for tables and as JSON; no rules here."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mutx_infra.tailnet.difference import PolicyChange


def policy_rows(change: PolicyChange) -> list[tuple[str, str, str]]:
    """Return the changes, one line each: what, who, and what to."""
    rows = [
        (word, access.source, access.opened)
        for word, accesses in (("gains", change.gained), ("loses", change.lost))
        for access in accesses
    ]
    rows += [
        (word, member, group)
        for word, pairs in (("joins", change.joined), ("leaves", change.left))
        for group, member in pairs
    ]
    rows += [("other owners", tag, "tagOwners") for tag in change.owners]
    rows += [("changes", section, "") for section in change.other]
    return rows


def policy_json(change: PolicyChange) -> dict[str, object]:
    """Return the changes for programs."""
    return {
        "changes": not change.is_empty,
        "gained": [asdict(access) for access in change.gained],
        "lost": [asdict(access) for access in change.lost],
        "joined": [{"group": group, "member": member} for group, member in change.joined],
        "left": [{"group": group, "member": member} for group, member in change.left],
        "tag_owners": list(change.owners),
        "sections": list(change.other),
    }
