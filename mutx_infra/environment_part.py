"""What every part of an environment profile is made of."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """One part of a profile: unknown fields and other types than the field's are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def is_loopback_url(url: str) -> bool:
    """Say whether a URL stays on this machine: `file:`, `sqlite:`, a UNIX socket, a loopback host or endpoint.

    Names other than `localhost` count as remote: what they resolve to is not this program's to decide.
    """
    parts = urlsplit(url)
    if parts.scheme in {"file", "sqlite"} or parts.scheme.startswith("sqlite+"):
        return True
    if parts.scheme == "s3" and (endpoint := dict(parse_qsl(parts.query)).get("endpoint")):
        return is_loopback_url(endpoint)
    if not parts.hostname:
        return "host=/" in parts.query
    if parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname).is_loopback
    except ValueError:
        return False
