"""What changes between two policies, as access: who gains and who loses which ports of whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from mutx_infra.tailnet.policy import Policy


@dataclass(frozen=True, slots=True, order=True)
class Access:
    """One thing that somebody may do: open `ip` of a destination, from a device that meets one of `posture`."""

    source: str
    destination: str
    ip: str
    posture: tuple[str, ...] = ()

    @property
    def opened(self) -> str:
        """Write what is opened, without for whom."""
        asked = f" with {' or '.join(self.posture)}" if self.posture else ""
        return f"→ {self.destination} {self.ip}{asked}"

    def __str__(self) -> str:
        return f"{self.source} {self.opened}"


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """The difference of two policies.

    Attributes:
        gained, lost: access between selectors.
        joined, left: members of groups, as (group, member).
        owners: tags whose owners changed.
        other: names of further sections that changed.
    """

    gained: tuple[Access, ...]
    lost: tuple[Access, ...]
    joined: tuple[tuple[str, str], ...]
    left: tuple[tuple[str, str], ...]
    owners: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """True where nothing changes."""
        return not (self.gained or self.lost or self.joined or self.left or self.owners or self.other)

    def summary(self) -> str:
        """Return one line for people."""
        return (
            f"{len(self.gained)} ways gained, {len(self.lost)} lost; {len(self.joined)} join a group, "
            f"{len(self.left)} leave one"
        )


def compare(before: Policy, after: Policy) -> PolicyChange:
    """Return what a policy changes; the order of its entries is no change."""
    had, has = set(_access(before)), set(_access(after))
    were, are = set(_members(before)), set(_members(after))
    tags = sorted({*before.tag_owners, *after.tag_owners})
    return PolicyChange(
        gained=tuple(sorted(has - had)),
        lost=tuple(sorted(had - has)),
        joined=tuple(sorted(are - were)),
        left=tuple(sorted(were - are)),
        owners=tuple(tag for tag in tags if before.tag_owners.get(tag) != after.tag_owners.get(tag)),
        other=tuple(_other(before, after)),
    )


def _access(policy: Policy) -> Iterator[Access]:
    for grant in policy.grants:
        for source, destination, ip in product(grant.sources, grant.destinations, grant.ip):
            yield Access(source, destination, ip, grant.posture)


def _members(policy: Policy) -> Iterator[tuple[str, str]]:
    return ((group, member) for group, members in policy.groups.items() for member in members)


def _other(before: Policy, after: Policy) -> Iterator[str]:
    one, two = before.document(), after.document()
    for section in dict.fromkeys([*one, *two]):
        if section in {"groups", "grants", "tagOwners"}:
            continue
        if _unordered(one.get(section)) != _unordered(two.get(section)):
            yield section


def _unordered(content: object) -> object:
    return Counter(map(repr, content)) if isinstance(content, list) else content
