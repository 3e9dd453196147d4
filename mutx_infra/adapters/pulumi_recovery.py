"""What an engine that died leaves in a stack's state, and how it is put right.

A killed engine leaves operations that began and whose end nobody recorded. A pending create may have made its
resource or not; making it again would leave an orphan, forgetting it too. So each is looked up in the cloud and
adopted where it exists. Everything else pending is settled by the refresh that follows.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mutx_infra.records import Owner

Deployment = dict[str, Any]

_PROVIDER = "pulumi:providers:"
_DEFAULT_PROVIDER = re.compile(r"default(_|$)")

SETTLE_S = 1.0
"""Between two looks: a create call in flight when its engine died may still take effect."""


class Lookup(Protocol):
    """Finds unrecorded resources (`aws_lookup.AwsLookup`)."""

    def find(self, kind: str, inputs: Mapping[str, Any], *, besides: Collection[str]) -> str | None:
        """Return the id of what these inputs made, or None."""

    def complete(self, kind: str, identity: str) -> None:
        """Finish a create that takes several calls."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was done about unfinished operations; `adopted` and `dropped` hold logical names."""

    deployment: Deployment
    adopted: tuple[str, ...]
    dropped: tuple[str, ...]

    def summary(self) -> str:
        """Return one line for the operator."""
        parts = [f"adopted {', '.join(self.adopted)}"] if self.adopted else []
        parts += [f"found nothing of {', '.join(self.dropped)}"] if self.dropped else []
        return f"an earlier run died halfway: {'; '.join(parts) or 'it had made nothing yet'}"


def has_pending(deployment: Deployment) -> bool:
    """Say whether a state holds operations whose end was never recorded."""
    return bool(deployment.get("pending_operations"))


def recover(
    deployment: Deployment, lookup_in: Callable[[str | None], Lookup], sleep: Callable[[float], None]
) -> Recovery:
    """Return the state with every pending operation resolved; the argument is not changed.

    The caller imports the state and then refreshes: adopted resources have their inputs for outputs until then.

    Args:
        deployment: the stack's state.
        lookup_in: returns what finds resources in an account; None for the stack's own.
        sleep: waits.
    """
    state = copy.deepcopy(deployment)
    pending = state.pop("pending_operations")
    resources: list[dict[str, Any]] = state.setdefault("resources", [])
    # A provider is nothing that a cloud holds: the program registers it again.
    pending = [operation for operation in pending if not operation["resource"]["type"].startswith(_PROVIDER)]
    creates = [operation["resource"] for operation in pending if operation["type"] == "creating"]
    others = [operation["resource"]["urn"] for operation in pending if operation["type"] != "creating"]
    # Only what was looked for is waited for; one pause serves all.
    found = {id(r): _find(r, resources, lookup_in) for r in creates}
    if any(identity is None for identity in found.values()):
        sleep(SETTLE_S)
        found = {id(r): found[id(r)] or _find(r, resources, lookup_in) for r in creates}
    adopted, dropped = [], []
    for resource in creates:
        identity = found[id(resource)]
        if identity is None:
            dropped.append(_name(resource["urn"]))
            continue
        lookup_in(account_of(resource, resources)).complete(resource["type"], identity)
        _adopt(resource, identity, resources)
        adopted.append(_name(resource["urn"]))
    return Recovery(state, tuple(adopted), (*dropped, *map(_name, others)))


def account_of(resource: Mapping[str, Any], resources: Collection[Mapping[str, Any]]) -> str | None:
    """Return the account that a resource's provider is pinned to; None where it is the stack's default provider."""
    urn = str(resource.get("provider", "")).rpartition("::")[0]
    if not urn or _DEFAULT_PROVIDER.match(urn.rsplit("::", 1)[-1]):
        return None
    provider = next((r for r in resources if r["urn"] == urn), {})
    allowed = (provider.get("inputs") or {}).get("allowedAccountIds")
    accounts = json.loads(allowed) if isinstance(allowed, str) else allowed or []
    return str(accounts[0]) if accounts else None


def _find(
    resource: dict[str, Any], resources: list[dict[str, Any]], lookup_in: Callable[[str | None], Lookup]
) -> str | None:
    lookup = lookup_in(account_of(resource, resources))
    known = {str(r["id"]) for r in resources if r.get("id") and r["type"] == resource["type"]}
    return lookup.find(resource["type"], resource.get("inputs") or {}, besides=known)


def _adopt(resource: dict[str, Any], identity: str, resources: list[dict[str, Any]]) -> None:
    """Put a found resource into the state; what it was to replace is marked for deletion, as the engine does."""
    for other in resources:
        if other["urn"] == resource["urn"]:
            other["delete"] = True
    inputs = resource.get("inputs") or {}
    resources.append({**resource, "id": identity, "outputs": {**inputs, "id": identity}})


def _name(urn: str) -> str:
    return urn.rsplit("::", 1)[-1]


@dataclass(frozen=True, slots=True)
class StateLock:
    """Who holds a self-managed backend's lock on a stack, as the engine words it."""

    user: str
    host: str
    pid: int

    def is_held_by_dead(self, us: Owner, is_running: Callable[[int], bool]) -> bool:
        """Say whether the holder was a process of this machine that is gone. Another host's is never judged."""
        return self.host == us.host and not is_running(self.pid)

    def __str__(self) -> str:
        return f"{self.user}@{self.host} (pid {self.pid})"


_LOCK = re.compile(r"created by (?P<user>\S+)@(?P<host>\S+) \(pid (?P<pid>\d+)\)")


def parse_lock(message: str) -> StateLock | None:
    """Read the lock's holder out of the engine's refusal, or return None where it says something else."""
    match = _LOCK.search(message) if "locked by" in message else None
    return StateLock(match["user"], match["host"], int(match["pid"])) if match else None
