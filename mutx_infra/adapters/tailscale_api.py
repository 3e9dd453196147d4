"""Tailscale's API v2, as far as the toolkit uses it: the policy, devices and keys of one tailnet.

Shapes are those of the vendor's API reference and of its Go client, version 2. A key that was made while its answer was
lost is known to nobody, and ends by itself within minutes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from mutx_infra.adapters.tailscale_client import (
    TailnetRequests,
    TailscaleClient,
    an_object,
    not_understood,
    said,
)
from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.errors import RefusedError
from mutx_infra.naming import INFRA_TAG, bounded
from mutx_infra.tailnet.devices import Device, Key, LiveTailnet

_DEVICES, _KEYS = "devices:core", "auth_keys"
"""Scopes; with `:read` behind them they are for looking only."""
_LONGEST_DESCRIPTION = 50


class TailscaleApi:
    """Policy, devices and keys of one tailnet. Every method raises as `TailscaleClient.requests`.

    Args:
        tailnet: the profile's part; its name goes into every request.
        variables: with the credential (`tailscale_login`).
    """

    def __init__(self, tailnet: Tailnet, variables: Mapping[str, str]) -> None:
        self._client = TailscaleClient(tailnet, variables)

    def policy(self) -> str:
        """Return the policy file as JSON."""
        with self._client.requests() as tailnet:
            return _policy(tailnet)

    def devices_with(self, tag: str) -> tuple[Device, ...]:
        """Return the devices that have a tag."""
        with self._client.requests() as tailnet:
            return _devices(tailnet, [tag])

    def mint(self, tag: str, description: str, life_s: int) -> SecretStr:
        """Make a key that lets one device in, at once and with a tag.

        Raises:
            RefusedError: the credential may not hand the tag out (code `tailscale-tag-denied`), or make keys at all.
        """
        create = {"reusable": False, "ephemeral": False, "preauthorized": True, "tags": [tag]}
        asked = {
            "capabilities": {"devices": {"create": create}}, "expirySeconds": life_s,
            "description": bounded(description, _LONGEST_DESCRIPTION),
        }  # fmt: skip
        with self._client.requests() as tailnet:
            response = tailnet.ask(
                "POST", tailnet.place("keys"), "keys", _KEYS, content=asked, fine=(HTTPStatus.BAD_REQUEST,)
            )
            if response.status_code == HTTPStatus.BAD_REQUEST:
                raise RefusedError(
                    f"{tailnet.how} may not make a key for {tag}",
                    code="tailscale-tag-denied",
                    remedy=f"give it the tag {INFRA_TAG}, which owns {tag}, once the tailnet's policy has both",
                    detail=said(response),
                )
            made = an_object(response, "a key")
        if not isinstance(secret := made.get("key"), str) or not secret:
            raise not_understood("a key", "there is none in it")
        return SecretStr(secret)

    def left(self, tags: Collection[str]) -> tuple[str, ...]:
        """Return the devices that have one of some tags, and the keys that are good for one."""
        with self._client.requests() as tailnet:
            devices, keys = _devices(tailnet, tags), _keys_for(tailnet, tags)
        return (
            *(f"device {device.name or device.hostname} of the tailnet ({device.id})" for device in devices),
            *(f"key {key.id} of the tailnet" for key in keys),
        )

    def remove(self, tags: Collection[str]) -> int:
        """Delete those devices and revoke those keys; what is gone meanwhile is gone."""
        with self._client.requests() as tailnet:
            devices, keys = _devices(tailnet, tags), _keys_for(tailnet, tags)
            for device in devices:
                tailnet.delete(tailnet.device(device.id), "devices", _DEVICES)
            for key in keys:
                tailnet.delete(tailnet.place(f"keys/{quote(key.id, safe='')}"), "keys", _KEYS)
        return len(devices) + len(keys)

    def read(self) -> LiveTailnet:
        """Return the policy, every device and every key; a key that is listed by its id alone is asked for."""
        with self._client.requests() as tailnet:
            policy = _policy(tailnet)
            devices = tuple(map(a_device, tailnet.list("devices", f"{_DEVICES}:read")))
            return LiveTailnet(policy, devices, _keys(tailnet))


def _policy(tailnet: TailnetRequests) -> str:
    return tailnet.ask("GET", tailnet.place("acl"), "acl", "policy_file:read").text


def _devices(tailnet: TailnetRequests, tags: Collection[str]) -> tuple[Device, ...]:
    query = "&".join(f"tags={quote(tag, safe='')}" for tag in tags)
    found = map(a_device, tailnet.list("devices", f"{_DEVICES}:read", f"?{query}"))
    # A service that does not know the filter answers with every device.
    return tuple(device for device in found if not set(tags).isdisjoint(device.tags))


def _keys_for(tailnet: TailnetRequests, tags: Collection[str]) -> tuple[Key, ...]:
    """Return the keys that let in, now, a device with one of some tags."""
    return tuple(
        key
        for key in _keys(tailnet)
        if key.is_auth_key and key.is_valid and not set(tags).isdisjoint(key.tags)
    )


def _keys(tailnet: TailnetRequests) -> tuple[Key, ...]:
    scope = f"{_KEYS}:read"

    def whole(listed: Mapping[str, Any]) -> Mapping[str, Any]:
        if "created" in listed:
            return listed
        place = tailnet.place(f"keys/{quote(str(listed.get('id', '')), safe='')}")
        return an_object(tailnet.ask("GET", place, "keys", scope), "keys")

    return tuple(_key(whole(each)) for each in tailnet.list("keys", scope, "?all=true"))


def a_device(found: Mapping[str, Any]) -> Device:
    """Return a device as the API lists it."""
    return Device(
        id=str(found.get("nodeId") or found.get("id") or ""),
        hostname=str(found.get("hostname") or ""),
        name=str(found.get("name") or ""),
        user=str(found.get("user") or ""),
        tags=_texts(found.get("tags")),
        is_authorized=bool(found.get("authorized", True)),
        is_external=bool(found.get("isExternal")),
        key_never_expires=bool(found.get("keyExpiryDisabled")),
    )


def _key(found: Mapping[str, Any]) -> Key:
    create = ((found.get("capabilities") or {}).get("devices") or {}).get("create") or {}
    return Key(
        id=str(found.get("id") or ""),
        kind=str(found.get("keyType") or "auth"),
        description=str(found.get("description") or ""),
        tags=_texts(create.get("tags") or found.get("tags")),
        created=a_time(found.get("created")),
        expires=a_time(found.get("expires")),
        is_reusable=bool(create.get("reusable")),
        is_valid=not (found.get("invalid") or a_time(found.get("revoked"))),
        scopes=_texts(found.get("scopes")),
    )


def _texts(found: object) -> tuple[str, ...]:
    return tuple(map(str, found)) if isinstance(found, list) else ()


def a_time(found: object) -> datetime | None:
    """Read a time; the vendor writes the year 1 for one that there is not."""
    if not isinstance(found, str) or not found:
        return None
    try:
        read = datetime.fromisoformat(found)
    except ValueError as exc:
        raise not_understood("keys", f"{found[:40]!r} is no time") from exc
    return None if read.year == 1 else read
