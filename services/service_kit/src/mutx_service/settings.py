"""Reading a unit's environment: each variable by its kind, each error with the variable's name and what to do.

An empty variable counts as not set. Variables without the service's prefix are systemd's, and nobody else's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class SettingsError(Exception):
    """The environment does not describe a service; the message names the variable and what to do."""

    def __init__(self, variable: str, message: str, remedy: str) -> None:
        super().__init__(f"{variable} {message}")
        self.variable, self.message, self.remedy = variable, message, remedy


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of one side's certificate, key, and the CA that it accepts the other side from."""

    certificate: Path
    key: Path
    ca: Path


class Environment:
    """One service's variables, each method for one of a kind; all raise SettingsError.

    Args:
        prefix: what their names begin with, as `MUTX_AGENT_`; methods take the rest of the name.
    """

    def __init__(self, variables: Mapping[str, str], prefix: str) -> None:
        self.variables, self.prefix = variables, prefix

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Refuse variables of the prefix that are not known: a misspelt limit would be no limit."""
        for name in self.variables:
            if name.startswith(self.prefix) and name not in known:
                raise SettingsError(name, "is not known", "compare it with the table of the settings")

    def error(self, name: str, message: str, remedy: str) -> SettingsError:
        """Return an error about one of the variables."""
        return SettingsError(self.prefix + name, message, remedy)

    def text(self, name: str) -> str:
        """Return the value, or an empty text."""
        return self.variables.get(self.prefix + name, "").strip()

    def required(self, name: str) -> str:
        """Return a value that has to be there."""
        value = self.text(name)
        if not value:
            raise self.error(name, "is not set", "set it in the unit's environment file")
        return value

    def name(self, name: str) -> str:
        """Return a host label that has to be there."""
        value = self.required(name)
        if not _NAME.fullmatch(value):
            raise self.error(name, "is no host label", "use up to 63 of a-z, 0-9 and inner hyphens")
        return value

    def words(self, name: str) -> frozenset[str]:
        """Return words that spaces or commas part."""
        return frozenset(self.text(name).replace(",", " ").split())

    def choice(self, name: str, allowed: Collection[str]) -> str:
        """Return one of some values; it has to be there."""
        value = self.required(name)
        if value not in allowed:
            raise self.error(name, f"is {value!r}", f"use one of: {', '.join(allowed)}")
        return value

    def number(self, name: str, default: int, *, lowest: int = 1, highest: int = 1024) -> int:
        """Return a whole number within bounds."""
        value = self.text(name) or str(default)
        if not value.isascii() or not value.isdigit() or not lowest <= int(value[:12]) <= highest:
            raise self.error(name, f"is {value[:40]!r}", f"use a whole number from {lowest} to {highest}")
        return int(value)

    def file(self, name: str) -> Path | None:
        """Return the path of a file that is there."""
        value = self.text(name)
        if value and not Path(value).is_file():
            raise self.error(name, "names no file", "check the path, and that the unit's user can see it")
        return Path(value) if value else None

    def state(self, name: str = "STATE") -> Path:
        """Return the directory that outlives restarts: the variable's, else systemd's `StateDirectory=`."""
        value = self.text(name) or self.variables.get("STATE_DIRECTORY", "").partition(":")[0]
        if not value or not Path(value).is_dir():
            raise self.error(name, "names no directory", "use systemd's StateDirectory=, or name one")
        return Path(value)

    def tls(self, certificate: str, key: str, ca: str) -> TlsFiles | None:
        """Return the files of one side of mTLS: all of them or none."""
        names = (certificate, key, ca)
        found = [self.file(name) for name in names]
        if not any(found):
            return None
        for name, path in zip(names, found, strict=True):
            if path is None:
                every = ", ".join(self.prefix + each for each in names)
                raise self.error(name, "is not set", f"set all of {every}, or none")
        paths = [path for path in found if path is not None]
        return TlsFiles(paths[0], paths[1], paths[2])

    def url(self, name: str, default: str | None) -> str | None:
        """Return an https URL, on loopback also a plain one."""
        value = self.text(name) or default
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise self.error(name, "is no http or https URL", "write it as https://HOST[:PORT]")
        if parts.username or parts.password:
            raise self.error(
                name, "holds a user or password", "leave them out: a caller is known by its certificate"
            )
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise self.error(name, "is plain http off loopback", "use https: a key travels with each call")
        return value

    def host(self, name: str, *, needs_loopback: bool) -> str:
        """Return an IP address to listen on."""
        value = self.text(name) or "127.0.0.1"
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise self.error(name, f"is {value[:40]!r}", "use an IP address of the host") from None
        if needs_loopback and not is_loopback(value):
            raise self.error(
                name,
                "is not loopback, and there is no mTLS",
                f"set {self.prefix}TLS_CERTIFICATE, _KEY and _CLIENT_CA",
            )
        return value

    def callers(self, name: str, *, is_served_by_tls: bool) -> frozenset[str]:
        """Return the names of which a client certificate must hold one; with mTLS there has to be one."""
        value = self.words(name)
        if is_served_by_tls and not value:
            raise self.error(name, "is not set", "name who may call, as in the client's certificate")
        if value and not is_served_by_tls:
            raise self.error(
                name,
                "is set, and there is no mTLS to know a caller by",
                "set the certificates, or leave it out",
            )
        return value


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine by address; `localhost` counts, other names do not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
