"""`DeviceAttributes` by Tailscale's API v2: `/device/{id}/attributes/custom:…`, which end by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from mutx_infra.adapters.tailscale_api import a_device, a_time
from mutx_infra.adapters.tailscale_client import TailnetRequests, TailscaleClient, an_object
from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.tailnet.devices import Device
from mutx_infra.tailnet_ports import Leave

_SCOPE = "devices:posture_attributes"
_LONGEST_COMMENT = 200


class TailscaleAttributes:
    """Attributes of the devices of one tailnet. Every method raises as `TailscaleClient.requests`."""

    def __init__(self, tailnet: Tailnet, variables: Mapping[str, str]) -> None:
        self._client = TailscaleClient(tailnet, variables)

    def give(self, login: str, attribute: str, until: datetime, comment: str) -> tuple[Leave, ...]:
        """Give an attribute to every device of a person, until then; returns what each has, as it is read back."""
        content = {
            "value": True,
            "expiry": until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "comment": comment[:_LONGEST_COMMENT],
        }
        with self._client.requests() as tailnet:
            devices = [device for device in _of_people(tailnet) if device.user == login]
            for device in devices:
                tailnet.ask("POST", _place(tailnet, device, attribute), "attributes", _SCOPE, content=content)
            return tuple(leave for device in devices for leave in _leaves(tailnet, device, attribute))

    def take(self, login: str, attribute: str) -> int:
        """Take it from every device of a person; returns how many had it."""
        with self._client.requests() as tailnet:
            devices = [device for device in _of_people(tailnet) if device.user == login]
            having = [device for device in devices if any(_leaves(tailnet, device, attribute))]
            for device in having:
                tailnet.delete(_place(tailnet, device, attribute), "attributes", _SCOPE)
        return len(having)

    def held(self, prefix: str) -> tuple[Leave, ...]:
        """Return the attributes whose names begin so, of all people's devices."""
        with self._client.requests() as tailnet:
            return tuple(
                leave for device in _of_people(tailnet) for leave in _leaves(tailnet, device, prefix)
            )


def _of_people(tailnet: TailnetRequests) -> Iterator[Device]:
    for found in tailnet.list("devices", "devices:core:read"):
        device = a_device(found)
        if not device.tags and not device.is_external:
            yield device


def _leaves(tailnet: TailnetRequests, device: Device, prefix: str) -> Iterator[Leave]:
    place = tailnet.device(device.id, "/attributes")
    found: Mapping[str, Any] = an_object(
        tailnet.ask("GET", place, "attributes", f"{_SCOPE}:read"), "attributes"
    )
    ends = found.get("expiries") or {}
    for name, value in sorted((found.get("attributes") or {}).items()):
        if name.startswith(prefix) and value is True:
            yield Leave(device.id, device.name or device.hostname, device.user, name, a_time(ends.get(name)))


def _place(tailnet: TailnetRequests, device: Device, attribute: str) -> str:
    return tailnet.device(device.id, f"/attributes/{quote(attribute, safe=':')}")
