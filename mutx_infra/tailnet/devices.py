"""Who is on a tailnet, with which keys one gets in, and whether the registry knows of them.

Facts are those of Tailscale's API v2, resources `device` and `key`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.hosts import host_plans
from mutx_infra.naming import CONVERGE_TAG, INFRA_TAG, host_name, joining_tag
from mutx_infra.records import STANDING, TenantRecord
from mutx_infra.tailnet.composition import tailnet_roles
from mutx_infra.tailnet.lints import Lint, tenant_of
from mutx_infra.tenant import PLATFORM_ID

KEY_LIFE_LIMIT = timedelta(days=1)
"""Longer than any host takes to join; the toolkit's own keys live ten minutes."""
_TOOLKIT_TAGS = frozenset({INFRA_TAG, CONVERGE_TAG})
_AUTH_KEY = "auth"
_WIDE_SCOPES = frozenset({"all"})


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a tailnet.

    Attributes:
        id: the vendor's `nodeId`.
        hostname: as the device says; `name` is what the tailnet made of it, another one where two say the same.
        user: who logged it in; of no meaning where it has tags.
        is_external: shared into this tailnet from another.
    """

    id: str
    hostname: str
    name: str = ""
    user: str = ""
    tags: tuple[str, ...] = ()
    is_authorized: bool = True
    is_external: bool = False
    key_never_expires: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """A credential of a tailnet.

    Attributes:
        kind: the vendor's `keyType`: `auth` for devices that join, `client`, `federated` and `api` for the API.
        tags: of what joins or is made with it.
        expires: None where it does not.
        scopes: what it may do with the API; empty for auth keys.
    """

    id: str
    kind: str = _AUTH_KEY
    description: str = ""
    tags: tuple[str, ...] = ()
    created: datetime | None = None
    expires: datetime | None = None
    is_reusable: bool = False
    is_valid: bool = True
    scopes: tuple[str, ...] = ()

    @property
    def is_auth_key(self) -> bool:
        """True where devices join with it."""
        return self.kind == _AUTH_KEY


@dataclass(frozen=True, slots=True)
class LiveTailnet:
    """What is in force on a tailnet.

    Attributes:
        policy: the policy file, as JSON.
        devices: with those that are shared in from other tailnets.
        keys: with those that are used up.
    """

    policy: str
    devices: tuple[Device, ...]
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """Who should be on the tailnet.

    Attributes:
        hosts: by their name, the tag that each joins with.
        ready: the hosts that should be there now.
        people: the addresses that somebody may log a device in with.
    """

    hosts: Mapping[str, str]
    ready: frozenset[str]
    people: frozenset[str]


def expected(records: Iterable[TenantRecord], tailnet: Tailnet) -> Expected:
    """Return who should be on the tailnet, by the registry and the profile."""
    hosts: dict[str, str] = {}
    ready: set[str] = set()
    people = set(tailnet.operators)
    for record in records:
        spec = record.spec
        people.update((*spec.administrators, *spec.clients))
        for host in host_plans(spec.id, spec.tier, record.allocation.zones):
            if spec.id != PLATFORM_ID and host.role not in tailnet_roles():
                continue
            name = host_name(spec.id, host.key)
            hosts[name] = joining_tag(spec.id, host.role)
            if record.state in STANDING:
                ready.add(name)
    return Expected(hosts, frozenset(ready), frozenset(people))


def judge_devices(devices: Sequence[Device], wanted: Expected) -> Iterator[Lint]:
    """Yield what is wrong with the devices, in their order; then the hosts that are missing."""
    counted = Counter(device.hostname for device in devices)
    for device in devices:
        place = f"device {device.name or device.hostname} ({device.id})"
        if not device.is_authorized:
            yield Lint("device-not-approved", place, "it waits for somebody to approve it")
        if device.is_external:
            yield Lint("device-shared-in", place, "it is shared into this tailnet from another")
        elif device.tags:
            yield from _of_host(device, place, wanted)
        else:
            yield from _of_person(device, place, wanted)
        if device.hostname in wanted.hosts and counted[device.hostname] > 1:
            yield Lint(
                "device-twice", place, f"{counted[device.hostname]} devices say that they are this host"
            )
    for name in sorted(wanted.ready - set(counted)):
        yield Lint("device-missing", f"device {name}", f"the registry has it, with {wanted.hosts[name]}")


def judge_keys(keys: Sequence[Key]) -> Iterator[Lint]:
    """Yield what is wrong with the keys that are still good."""
    for key in keys:
        if not key.is_valid:
            continue
        place = f"key {key.id}" + (f" ({key.description})" if key.description else "")
        if key.is_auth_key:
            yield from _of_auth_key(key, place)
        elif _WIDE_SCOPES & set(key.scopes):
            yield Lint("key-scope-wide", place, f"it may do {', '.join(sorted(key.scopes))}")


def _of_host(device: Device, place: str, wanted: Expected) -> Iterator[Lint]:
    tags, tag = set(device.tags), wanted.hosts.get(device.hostname)
    crossed = _tenants(device.tags)
    if len(crossed) > 1:
        yield Lint("device-of-two-tenants", place, f"it has tags of {' and '.join(crossed)}")
    elif tag is None:
        if not tags <= _TOOLKIT_TAGS:
            said = f"it has {', '.join(device.tags)}, and the registry has no host of that name"
            yield Lint("device-unknown", place, said)
    elif tags != {tag}:
        yield Lint("device-tags-differ", place, f"it has {', '.join(device.tags)} and should have {tag}")


def _of_person(device: Device, place: str, wanted: Expected) -> Iterator[Lint]:
    if (tag := wanted.hosts.get(device.hostname)) is not None:
        yield Lint("device-without-tag", place, f"{device.user} logged it in; it should have {tag}")
    elif device.user not in wanted.people:
        said = f"{device.user or 'nobody'} is no operator and nobody's administrator or client"
        yield Lint("device-of-stranger", place, said)
    if device.key_never_expires:
        yield Lint("device-key-never-expires", place, f"{device.user} never has to log in again")


def _of_auth_key(key: Key, place: str) -> Iterator[Lint]:
    if key.is_reusable:
        yield Lint("key-reusable", place, "whoever has it brings in as many devices as they like")
    if key.expires is None:
        yield Lint("key-never-expires", place, "it does not expire")
    elif key.created is not None and key.expires - key.created > KEY_LIFE_LIMIT:
        yield Lint("key-lives-long", place, f"it lives {(key.expires - key.created).days} days")
    if not key.tags:
        yield Lint("key-without-tag", place, "what joins with it belongs to a person")
    if len(crossed := _tenants(key.tags)) > 1:
        yield Lint("key-of-two-tenants", place, f"it has tags of {' and '.join(crossed)}")


def _tenants(tags: Iterable[str]) -> list[str]:
    return sorted({tenant_of(tag) for tag in tags} - {""})
