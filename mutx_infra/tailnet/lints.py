"""What is wrong with a policy, whoever wrote it: grants that are too wide, cross tenants, or have no reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mutx_infra.naming import CONVERGE_TAG, INFRA_TAG, OPERATORS_GROUP
from mutx_infra.tailnet.policy import (
    ANY,
    DANGER_ALL,
    MEMBER,
    TAG,
    TAGGED,
    USER_DOMAIN,
    Grant,
    Policy,
    networks_of,
)

_TENANT = re.compile(r"^(?:tag|group):t-(.+)-[a-z]+$")
_WIDE = frozenset({ANY, DANGER_ALL, TAGGED, MEMBER})
_PLATFORM_TAG = "tag:mutx-"


@dataclass(frozen=True, slots=True)
class Lint:
    """One finding.

    Attributes:
        code: stable and kebab-case.
        place: where in the policy, e.g. `grants[3]`.
    """

    code: str
    place: str
    said: str


def lint(policy: Policy, known: Sequence[Grant]) -> tuple[Lint, ...]:
    """Return what is wrong, in the policy's order.

    Args:
        policy: as it is in force.
        known: the grants for which there is a reason: those that the registry asks for.
    """
    return (*_of_grants(policy, known), *_of_tags(policy), *_of_ssh(policy))


def tenant_of(selector: str) -> str:
    """Return the tenant that a tag or group is of; empty for the platform's and everybody else's."""
    found = _TENANT.match(selector)
    return found.group(1) if found else ""


def _of_grants(policy: Policy, known: Sequence[Grant]) -> Iterator[Lint]:
    reasons = {grant.content for grant in known}
    for number, grant in enumerate(policy.grants):
        place = grant.place or f"grants[{number}]"
        for selector in (*grant.sources, *grant.destinations):
            if selector in _WIDE or selector.startswith(USER_DOMAIN):
                yield Lint("grant-wide", place, f"{selector} means more than anybody has named")
            elif networks_of(policy, selector):
                yield Lint("grant-by-address", place, f"{selector} is where somebody is, not who")
        for ports in grant.ranges():
            if ports.first != ports.last or len(ports.protocols) > 1:
                yield Lint(
                    "grant-of-many-ports", place, f"{', '.join(grant.ip)} is not one port of one protocol"
                )
        if crossing := _crossing(grant):
            yield Lint("grant-crosses-tenants", place, f"{crossing[0]} reaches {crossing[1]}")
        if grant.content not in reasons:
            yield Lint("grant-without-reason", place, "nothing in the registry asks for it")


def _crossing(grant: Grant) -> tuple[str, str] | None:
    """Return a pair of selectors of different tenants; a tenant's hosts must not reach the platform's either."""
    for source in grant.sources:
        one = tenant_of(source)
        for destination in grant.destinations:
            other = tenant_of(destination)
            into_platform = destination.startswith(_PLATFORM_TAG) and source.startswith(TAG)
            if one and (other not in ("", one) or into_platform):
                return source, destination
    return None


def _of_tags(policy: Policy) -> Iterator[Lint]:
    for tag, owners in policy.tag_owners.items():
        if not owners:
            yield Lint("tag-without-owner", f"tagOwners.{tag}", "nobody is named who may hand it out")
        for owner in owners:
            wide = owner in _WIDE or owner == OPERATORS_GROUP or owner.startswith("group:t-")
            if wide or (tag != INFRA_TAG and owner == CONVERGE_TAG):
                yield Lint("tag-owner-wide", f"tagOwners.{tag}", f"{owner} may hand it out")


def _of_ssh(policy: Policy) -> Iterator[Lint]:
    for number, rule in enumerate(policy.ssh):
        place = f"ssh[{number}]"
        if rule.get("action") != "check":
            yield Lint("ssh-without-check", place, "people prove anew who they are by the action `check`")
        if "root" in rule.get("users", ()):
            yield Lint("ssh-root", place, "root logs in nowhere")
        for selector in (*rule.get("src", ()), *rule.get("dst", ())):
            if selector in _WIDE:
                yield Lint("ssh-wide", place, f"{selector} means more than anybody has named")
