"""systemd's notification socket: ready, stopping, and a word on the state."""

from __future__ import annotations

import socket
from collections.abc import Mapping, MutableMapping
from contextlib import suppress


def notify(variables: Mapping[str, str], **values: str) -> None:
    """Tell systemd `READY=1` and the like; nothing where it does not listen."""
    address = variables.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    message = "\n".join(f"{name}={value}" for name, value in values.items())
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(message.encode(), address)


def take_socket(variables: MutableMapping[str, str]) -> dict[str, str]:
    """Return the socket's variable, and take it out of the environment: no child is to speak for us."""
    address = variables.pop("NOTIFY_SOCKET", "")
    return {"NOTIFY_SOCKET": address} if address else {}
