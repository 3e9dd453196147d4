"""Lets hosts into a tailnet of Tailscale's: a key for each, good once and for minutes, and a look at what it let in."""

from __future__ import annotations

from dataclasses import dataclass

from mutx_infra.access import HostTarget
from mutx_infra.adapters.tailscale_api import TailscaleApi
from mutx_infra.errors import OutsideError
from mutx_infra.joining import TailnetPass
from mutx_infra.naming import joining_tag
from mutx_infra.ports import Clock

KEY_LIFE_S = 600
_LOOKS = 5
_BETWEEN_LOOKS_S = 1.0


@dataclass(frozen=True, slots=True)
class TailscaleAdmission:
    """`TailnetAdmission` by Tailscale's API.

    Attributes:
        login_server: the coordination server that hosts join, None for the vendor's.
    """

    api: TailscaleApi
    clock: Clock
    login_server: str | None = None

    def admit(self, host: HostTarget) -> TailnetPass:
        """Return a pass with a key for this host's tag; it is kept nowhere here.

        Raises:
            RefusedError, OutsideError: as `TailscaleApi.mint`.
        """
        key = self.api.mint(joining_tag(host.tenant, host.role), host.name, KEY_LIFE_S)
        return TailnetPass(auth_key=key, login_server=self.login_server)

    def confirm(self, host: HostTarget) -> None:
        """Look for the host among the devices with its tag.

        Raises:
            OutsideError: it is not there (code `device-not-seen`).
        """
        tag = joining_tag(host.tenant, host.role)
        for look in range(_LOOKS):
            if look:
                self.clock.sleep(_BETWEEN_LOOKS_S)
            if any(
                device.hostname == host.name and tag in device.tags for device in self.api.devices_with(tag)
            ):
                return
        raise OutsideError(
            f"{host.name} says that it has joined, and no device of that name has {tag}",
            code="device-not-seen",
            remedy="see `mutx-infra tailnet check` and the unit `mutx-join@…` there, then run the same command again",
        )
