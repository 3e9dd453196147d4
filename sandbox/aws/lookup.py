"""Finds resources in AWS: one by its id or natural key, or until it has the state that is waited for."""

from __future__ import annotations

from collections.abc import Mapping

from mutx_sandbox.aws.caller import AwsError
from mutx_sandbox.aws.resource import Wait
from mutx_sandbox.aws.shapes import fill, search
from mutx_sandbox.aws.state import read_property, state_of
from mutx_sandbox.aws.work import ResourceError, Work
from mutx_sandbox.bridge.diff import same
from mutx_sandbox.bridge.values import Properties, Value


def describe_item(work: Work, keys: tuple[str, ...] = ()) -> Properties | None:
    """Return the described item of a resource, None if it is gone.

    Args:
        work: the operation.
        keys: find it by these properties rather than by id.
    """
    describe = work.type.describe
    for item in candidates(work, describe.by):
        if describe.gone and search(describe.gone, item):
            continue
        if _is_wanted(work, item, keys or work.type.keys):
            return item
    return None


def candidates(work: Work, template: Mapping[str, Value]) -> list[Properties]:
    """Return the items that a request finds; none where AWS says that there is no such thing."""
    describe = work.type.describe
    try:
        response = work.call(describe.operation, fill(template, work.known))
    except AwsError as exc:
        if exc.is_absence:
            return []
        raise
    found = search(describe.items, response)
    return found if isinstance(found, list) else [found] if found else []


def identity(work: Work, item: Properties) -> str:
    """Return the id of a described item: AWS's, or the one that Terraform would make."""
    if work.type.make_id is not None:
        return work.type.make_id({**work.known, **state_of(work, item)})
    return str(search(work.type.describe.identity, item))


def extended(work: Work, item: Properties, *, new: bool) -> Properties:
    """Return an item with what needs calls of its own; `new` says that it was created just now."""
    return work.type.extend(work, item, new) if work.type.extend is not None else item


def wait_for(work: Work, wait: Wait, *, gone_is_done: bool = False) -> Properties:
    """Describe a resource until it has the wanted state, and return its item.

    Raises:
        ResourceError: it failed, or did not get there in time.
    """
    attempt = 0
    while True:
        item = describe_item(work)
        if item is None and gone_is_done:
            return {}
        value = search(wait.path, item) if item else None
        if item and value == wait.until:
            return item
        if value in wait.failed:
            raise ResourceError(f"{work.type.name} {work.id} became {value}, not {wait.until}")
        if not work.patience.nap(attempt, base_s=0.1):
            raise ResourceError(f"{work.type.name} {work.id} is still {value}, not {wait.until}")
        attempt += 1


def _is_wanted(work: Work, item: Properties, keys: tuple[str, ...]) -> bool:
    if not keys:
        return identity(work, item) == work.id
    known = work.known
    return all(
        same(work.type.properties[key], read_property(work, key, item), known.get(key)) for key in keys
    )
