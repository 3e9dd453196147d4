"""Makes a resource exactly once: an answer that was lost is settled by looking, before a second try."""

from __future__ import annotations

import logging
from dataclasses import replace

from mutx_sandbox.aws.caller import UncertainError
from mutx_sandbox.aws.lookup import candidates, describe_item, extended, identity, wait_for
from mutx_sandbox.aws.shapes import fill, put, search, upper_camel
from mutx_sandbox.aws.state import read_property
from mutx_sandbox.aws.work import ResourceError, Work
from mutx_sandbox.bridge.diff import same
from mutx_sandbox.bridge.values import Properties, canonical

logger = logging.getLogger(__name__)

_TRIES = 8


def make(work: Work) -> Properties:
    """Make the resource exactly once, set `work.id`, and return what is known of it.

    Raises:
        AwsError: AWS refused, or the tries are spent.
        ResourceError: the answer was lost, and more than one resource could be the one that was made.
    """
    request = _create_request(work)
    if work.type.create.repeatable:
        return _identified(work, _send_create(work, request, again=True))
    surroundings = f"{work.session.caller.account!r} {work.region} {work.type.name}"
    with work.session.made.alone(f"{surroundings} {canonical(request)}"):
        item = _create_or_find(work, request)
        work.session.made.add(_as_made(work, work.id))
    return item


def settle(work: Work, item: Properties) -> Properties:
    """Return the described item of a new resource: from the response, from the inputs, or by one describe."""
    kind = work.type
    if kind.ready is not None and search(kind.ready.path, item) != kind.ready.until:
        item = wait_for(work, kind.ready)
    elif kind.create.echoes:
        return _echo(work)
    elif not item or not _is_as_requested(work, item):
        described = describe_item(work)
        if described is None:
            raise ResourceError(f"{kind.name} {work.id} was created but cannot be found")
        item = described
    return extended(work, item, new=True)


def _create_or_find(work: Work, request: Properties) -> Properties:
    attempt = 0
    while True:
        try:
            return _identified(work, _send_create(work, request, again=False))
        except UncertainError as exc:
            if (found := _find_lost(work, exc)) is not None:
                return found
            if attempt + 1 == _TRIES or not work.patience.nap(attempt):
                raise
        attempt += 1


def _create_request(work: Work) -> Properties:
    kind = work.type
    request: Properties = {}
    for name, described in kind.properties.items():
        value = work.inputs.get(name)
        if value is not None and described.api is not None and name not in {"region", "tags"}:
            put(request, described.api or upper_camel(name), value)
    if kind.create.request is not None:
        request = kind.create.request(work.inputs, request)
    tags = work.inputs.get("tags")
    if tags and kind.tagging is not None and kind.tagging.put is not None:
        kind.tagging.put(request, tags)
    return request


def _send_create(work: Work, request: Properties, *, again: bool) -> Properties:
    operation = work.type.create.operation
    if callable(operation):
        return operation(work)
    return work.call(operation, request) if again else work.call_once(operation, request)


def _identified(work: Work, response: Properties) -> Properties:
    """Set the id from a create response, and return the response's item, or what inputs alone say."""
    kind = work.type
    unsuccessful = response.get("Unsuccessful")
    if unsuccessful:
        raise ResourceError(f"{kind.name}: {unsuccessful[0].get('Error', {}).get('Message', 'AWS refused')}")
    item: Properties = search(kind.create.item, response) if kind.create.item else {}
    if kind.make_id is not None:
        work.id = kind.make_id(work.inputs)
    else:
        work.id = str(search(kind.create.id, response) if kind.create.id else identity(work, item))
    return item


def _echo(work: Work) -> Properties:
    """Return the item as AWS must have it now, from the request itself."""
    kind = work.type
    item = {**_create_request(work), **fill(kind.create.constants, work.known)}
    if kind.tagging is not None and work.inputs.get("tags"):
        put(item, kind.tagging.read, dict(work.inputs["tags"]))
    return item


def _find_lost(work: Work, cause: UncertainError) -> Properties | None:
    """Find what a creation made whose answer was lost; sets `work.id`.

    A match has every property that the create call took, and was not handed to another resource of this process.
    """
    matches = [
        item
        for item in _unclaimed(work)
        if _is_as_requested(work, extended(replace(work, id=identity(work, item)), item, new=False))
    ]
    if len(matches) > 1:
        raise ResourceError(
            f"{cause}; AWS may have acted, and {len(matches)} resources of {work.type.name} match the request"
        )
    if not matches:
        return None
    work.id = identity(work, matches[0])
    logger.info(
        "found the resource whose creation went unanswered", extra={"type": work.type.name, "id": work.id}
    )
    return matches[0]


def _unclaimed(work: Work) -> list[Properties]:
    """Return what stands in AWS, is no leftover and was not handed to another resource of this process."""
    describe = work.type.describe
    template = describe.by if describe.among is None else describe.among
    return [
        item
        for item in (describe.search(work) if describe.search is not None else candidates(work, template))
        if not (describe.gone and search(describe.gone, item))
        and not (describe.given and search(describe.given, item))
        and not (work.type.make_id is None and work.session.made.knows(_as_made(work, identity(work, item))))
    ]


def _as_made(work: Work, identifier: str) -> str:
    """Return what a made resource is remembered by: a role and a profile may have one name."""
    return f"{work.type.name} {identifier}"


def _is_as_requested(work: Work, item: Properties) -> bool:
    return _has_requested_tags(work, item) and all(
        same(described, read_property(work, name, item), wanted)
        for name, described in work.type.properties.items()
        if (wanted := work.inputs.get(name)) is not None
        and described.api is not None
        and described.item is not None
    )


def _has_requested_tags(work: Work, item: Properties) -> bool:
    """Compare tags, unless they are read by a call of their own: there the natural key has to do."""
    tagging = work.type.tagging
    if tagging is None or tagging.put is None or search(tagging.read, item) is None:
        return True
    return (read_property(work, "tags", item) or {}) == (work.inputs.get("tags") or {})
