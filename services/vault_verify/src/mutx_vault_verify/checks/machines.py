"""Hosts that are enrolled: each has a role, an identity and two rights to certificates, for its name and address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mutx_vault_verify.certificate import fingerprints
from mutx_vault_verify.check import Check, extra, judged, missing, ok
from mutx_vault_verify.checks.compare import read_each
from mutx_vault_verify.checks.logins import CERTS
from mutx_vault_verify.document import mapping, sequence, shown, text
from mutx_vault_verify.expectation import Expectation
from mutx_vault_verify.matching import differences
from mutx_vault_verify.vault import Source

LOGIN_MOUNT = "auth/cert/"
_OF_A_PERSON = {"{empty}": True}
_ANY = {"{any}": True}


def check_machines(source: Source, want: Expectation) -> Iterator[Check]:
    """Compare what each host of the hand-over file has; one that is not enrolled has nothing at all."""
    roles = read_each(source, CERTS, sorted(want.machines.keys() & set(source.names(CERTS))))
    mounts = sorted(want.manifest["authorities"])
    rights = {mount: set(source.names(f"{mount}/roles")) for mount in mounts}
    entities = _by_alias(_entities(source))
    for name, machine in sorted(want.machines.items()):
        expected = want.machine(machine)
        has = [name in roles, *(name in rights[mount] for mount in mounts), name in entities]
        if not any(has):
            yield ok(f"machine {name}", "not enrolled")
            continue
        if name in roles:
            role = {**roles[name], "certificate": fingerprints(roles[name].get("certificate"))}
            yield judged(f"machine {name}", differences(expected["role"], role), "enrolled")
        else:
            yield missing(f"machine {name}", "enrolled in part: it has no role; `vault enroll` goes on")
        for mount in mounts:
            found = source.get(f"{mount}/roles/{name}") if name in rights[mount] else None
            title = f"{mount} role {name}"
            yield (
                missing(title)
                if found is None
                else judged(title, differences(expected["signs"][mount], found))
            )
        if name not in entities:
            yield missing(f"identity {name}", "enrolled in part: it is nobody; `vault enroll` goes on")
    for mount in mounts:
        for name in sorted(rights[mount] - want.machines.keys()):
            yield extra(f"{mount} role {name}", "no host of the hand-over file has that name")


def check_identities(source: Source, want: Expectation) -> Iterator[Check]:
    """Look at everybody the Vault knows: hosts as enrolled; people with nothing but the name on their certificate."""
    people, aliases = 0, set()
    for entity in _entities(source):
        names = [text(alias, "name") for alias in _aliases(entity)]
        aliases |= {text(alias, "id") for alias in _aliases(entity)}
        machine = want.machines.get(names[0]) if len(names) == 1 else None
        claimed = {want.machines[name].name for name in names if name in want.machines}
        metadata = want.machine(machine)["metadata"] if machine else _OF_A_PERSON
        said = [*differences(_entity(metadata), entity)]
        if len(names) != 1:
            said.append(f"has {len(names)} ways to log in: {shown(names)}")
        if claimed and machine is None:
            said.append(f"is also {shown(sorted(claimed))}")
        people += machine is None
        if machine or said:
            yield judged(f"identity {shown(names[0] if names else text(entity, 'name'))}", said)
    yield ok("identities", f"{people} beside hosts, none with a policy, group or metadata of its own")
    for left in sorted(set(source.names("identity/entity-alias/id")) - aliases):
        yield extra(f"identity alias {left}", "it belongs to nobody")


def _entities(source: Source) -> list[dict[str, Any]]:
    return list(read_each(source, "identity/entity/id", source.names("identity/entity/id")).values())


def _aliases(entity: dict[str, Any]) -> list[Any]:
    return [mapping(alias, "an alias") for alias in sequence(entity.get("aliases"), "aliases")]


def _by_alias(entities: list[dict[str, Any]]) -> set[str]:
    return {text(alias, "name") for entity in entities for alias in _aliases(entity)}


def _entity(metadata: object) -> dict[str, Any]:
    """Return what `identity/entity/id/<id>` answers; an alias is a certificate's, with nothing written on it."""
    return {
        "creation_time": _ANY, "last_update_time": _ANY, "id": _ANY, "name": _ANY, "direct_group_ids": _OF_A_PERSON,
        "group_ids": _OF_A_PERSON, "inherited_group_ids": _OF_A_PERSON, "merged_entity_ids": _OF_A_PERSON,
        "namespace_id": "root", "policies": _OF_A_PERSON, "disabled": False, "metadata": metadata,
        "aliases": [{
            "canonical_id": _ANY, "creation_time": _ANY, "custom_metadata": _OF_A_PERSON, "id": _ANY,
            "last_update_time": _ANY, "local": False, "merged_from_canonical_ids": _OF_A_PERSON,
            "metadata": _OF_A_PERSON, "mount_accessor": _ANY, "mount_path": LOGIN_MOUNT, "mount_type": "cert",
            "name": _ANY,
        }],
    }  # fmt: skip
