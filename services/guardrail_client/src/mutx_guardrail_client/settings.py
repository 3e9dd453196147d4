"""Where the guard is and how it is asked: from the environment, or given."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mutx_guardrail_client.errors import SettingsError

PREFIX = "MUTX_GUARD_"
LONGEST_MS = 600_000
_NAMES = ("URL", "CERTIFICATE", "KEY", "CA", "AGENT", "TIMEOUT_MS")
_AGENT = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of the agent's certificate and key, and of the CA that the guard's certificate is accepted from."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """One guard.

    Attributes:
        url: `https://HOST[:PORT]`, or plain http on loopback.
        tls: read anew whenever one of the files is replaced; with https all of them, with http none.
        agent: whose texts they are; empty for nobody's in particular, then nothing is counted.
        timeout_s: seconds that a call has in all, 0.01 to 600.

    Raises:
        SettingsError: from its constructor, named by variable.
    """

    url: str
    tls: TlsFiles | None = None
    agent: str = ""
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        _check_url(self.url, has_tls=self.tls is not None)
        if self.agent and not _AGENT.fullmatch(self.agent):
            raise _error("AGENT", "is no host label", "use up to 63 of a-z, 0-9 and inner hyphens")
        if not 0.01 <= self.timeout_s <= LONGEST_MS / 1_000:  # noqa: PLR2004 - said above
            raise _error("TIMEOUT_MS", "is out of bounds", f"use 10 to {LONGEST_MS}")


def read_settings(variables: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment, by default the process's.

    Raises:
        SettingsError: a variable is unknown, missing, malformed or contradicts another.
    """
    given = os.environ if variables is None else variables
    for name in given:
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in _NAMES:
            raise SettingsError(name, "is not known", f"the names are {', '.join(_NAMES)} after {PREFIX}")
    url = given.get(f"{PREFIX}URL", "").strip()
    if not url:
        raise _error("URL", "is not set", "write https://HOST[:PORT]")
    timeout_ms = given.get(f"{PREFIX}TIMEOUT_MS", "").strip() or "10000"
    if not re.fullmatch(r"[0-9]{1,6}", timeout_ms):
        raise _error("TIMEOUT_MS", "is no whole number", f"use 10 to {LONGEST_MS}")
    return Settings(
        url, _read_tls(given), given.get(f"{PREFIX}AGENT", "").strip(), timeout_s=int(timeout_ms) / 1_000
    )


def _read_tls(given: Mapping[str, str]) -> TlsFiles | None:
    names = ("CERTIFICATE", "KEY", "CA")
    found = {name: given.get(PREFIX + name, "").strip() for name in names}
    if not any(found.values()):
        return None
    for name, value in found.items():
        if not value:
            raise _error(name, "is not set", f"set all of {', '.join(names)} after {PREFIX}, or none")
        if not Path(value).is_file():
            raise _error(name, "names no file", "check the path, and that the agent's user can see it")
    return TlsFiles(*(Path(found[name]) for name in names))


def _check_url(url: str, *, has_tls: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _error("URL", "is no URL", "write https://HOST[:PORT]") from None
    if parts.scheme not in {"http", "https"} or not host or parts.path not in {"", "/"}:
        raise _error("URL", "is no http or https URL of a host", "write https://HOST[:PORT]")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise _error("URL", "holds more than a host", "an agent is known by its certificate")
    if parts.scheme == "http" and not _is_loopback(host):
        raise _error("URL", "is plain http off loopback", "use https: texts travel with each call")
    if (parts.scheme == "https") is not has_tls:
        raise _error(
            "URL", "and the certificates do not go together", "set all of them with https, else none"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _error(name: str, message: str, remedy: str) -> SettingsError:
    return SettingsError(PREFIX + name, message, remedy)
