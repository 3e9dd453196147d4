"""What the unit's environment says: read once, checked whole, never a secret among it.

The names are part of the contract (docs/reference/agent-contract.md), so that one Ansible role serves every agent.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

PREFIX = "MUTX_AGENT_"
CREDENTIAL = "provider-key"
"""The name under which systemd hands over the key (`LoadCredential=provider-key:…`)."""

DEFAULT_BASE_URL = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
DEFAULT_PURPOSE = "You are a careful assistant. Use a tool where one helps; say so when you do not know."

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class SettingsError(Exception):
    """The environment does not describe an agent; the message names the variable and what to do."""

    def __init__(self, variable: str, message: str, remedy: str) -> None:
        super().__init__(f"{variable} {message}")
        self.variable, self.message, self.remedy = variable, message, remedy


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of one side's certificate, key, and the CA that it accepts the other side from."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a run. Times are seconds, sizes bytes."""

    max_runs: int
    max_body_bytes: int
    max_steps: int
    max_output_tokens: int
    run_s: int
    call_s: int
    call_retries: int
    stop_s: int


@dataclass(frozen=True, slots=True)
class Settings:
    """One agent, as its unit describes it.

    Attributes:
        callers: names (DNS or URI) of which a client certificate must hold one.
        server_tls: None serves plain HTTP, which only loopback may.
        key_file: where the provider key is read from at each call.
        proxy: URL of the egress proxy, or None for a direct way.
        provider_ca: a CA file for the provider instead of the system's.
    """

    name: str
    provider: str
    model: str
    purpose: str
    base_url: str
    key_file: Path
    state: Path
    host: str
    port: int
    callers: frozenset[str]
    server_tls: TlsFiles | None
    proxy: str | None
    proxy_tls: TlsFiles | None
    provider_ca: Path | None
    limits: Limits


KNOWN = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "NAME", "PROVIDER", "MODEL", "PURPOSE", "BASE_URL", "KEY_FILE", "STATE", "HOST", "PORT", "CALLERS",
        "TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA", "PROXY", "PROXY_CERTIFICATE", "PROXY_KEY", "PROXY_CA",
        "PROVIDER_CA", "MAX_RUNS", "MAX_BODY_BYTES", "MAX_STEPS", "MAX_OUTPUT_TOKENS", "RUN_LIMIT_S",
        "CALL_LIMIT_S", "CALL_RETRIES", "STOP_LIMIT_S",
    )
)  # fmt: skip


def read_settings(variables: Mapping[str, str]) -> Settings:
    """Build the settings from an environment.

    Raises:
        SettingsError: a variable is unknown, missing, malformed or contradicts another.
    """
    for name in variables:
        if name.startswith(PREFIX) and name not in KNOWN:
            raise SettingsError(
                name, "is not a variable of the agent's", "compare it with the contract's table"
            )
    get = _Reader(variables)
    provider = get.choice("PROVIDER", tuple(DEFAULT_BASE_URL))
    server_tls = get.tls("TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA")
    proxy = get.url("PROXY", None)
    return Settings(
        name=get.name("NAME"),
        provider=provider,
        model=get.required("MODEL"),
        purpose=get.text("PURPOSE") or DEFAULT_PURPOSE,
        base_url=get.url("BASE_URL", DEFAULT_BASE_URL[provider]) or "",
        key_file=get.key_file(),
        state=get.state(),
        host=get.host("HOST", needs_loopback=server_tls is None),
        port=get.number("PORT", 8080, lowest=0, highest=65535),
        callers=get.callers("CALLERS", is_served_by_tls=server_tls is not None),
        server_tls=server_tls,
        proxy=proxy,
        proxy_tls=get.proxy_tls(proxy),
        provider_ca=get.file("PROVIDER_CA"),
        limits=Limits(
            max_runs=get.number("MAX_RUNS", 16),
            max_body_bytes=get.number("MAX_BODY_BYTES", 256 * 1024, highest=16 * 1024 * 1024),
            max_steps=get.number("MAX_STEPS", 8, highest=64),
            max_output_tokens=get.number("MAX_OUTPUT_TOKENS", 1024, highest=1_000_000),
            run_s=get.number("RUN_LIMIT_S", 120, highest=3600),
            call_s=get.number("CALL_LIMIT_S", 60, highest=3600),
            call_retries=get.number("CALL_RETRIES", 2, lowest=0, highest=10),
            stop_s=get.number("STOP_LIMIT_S", 60, lowest=0, highest=3600),
        ),
    )


class _Reader:
    """Reads one variable each; an empty one counts as not set."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str) -> str:
        return self._variables.get(PREFIX + name, "").strip()

    def required(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise SettingsError(PREFIX + name, "is not set", "set it in the unit's environment file")
        return value

    def name(self, name: str) -> str:
        value = self.required(name)
        if not _NAME.fullmatch(value):
            raise SettingsError(
                PREFIX + name, "is no agent's name", "use up to 63 of a-z, 0-9 and inner hyphens"
            )
        return value

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self.required(name)
        if value not in allowed:
            raise SettingsError(PREFIX + name, f"is {value!r}", f"use one of: {', '.join(allowed)}")
        return value

    def number(self, name: str, default: int, *, lowest: int = 1, highest: int = 1024) -> int:
        value = self.text(name) or str(default)
        if not value.isascii() or not value.isdigit() or not lowest <= int(value[:12]) <= highest:
            raise SettingsError(
                PREFIX + name, f"is {value[:40]!r}", f"use a whole number from {lowest} to {highest}"
            )
        return int(value)

    def file(self, name: str) -> Path | None:
        value = self.text(name)
        if value and not Path(value).is_file():
            raise SettingsError(
                PREFIX + name, "names no file", "check the path, and that the agent's user can see it"
            )
        return Path(value) if value else None

    def tls(self, certificate: str, key: str, ca: str) -> TlsFiles | None:
        names = (certificate, key, ca)
        found = [self.file(name) for name in names]
        if not any(found):
            return None
        for name, path in zip(names, found, strict=True):
            if path is None:
                raise SettingsError(
                    PREFIX + name, "is not set", f"set all of {', '.join(PREFIX + n for n in names)}, or none"
                )
        paths = [path for path in found if path is not None]
        return TlsFiles(paths[0], paths[1], paths[2])

    def proxy_tls(self, proxy: str | None) -> TlsFiles | None:
        files = self.tls("PROXY_CERTIFICATE", "PROXY_KEY", "PROXY_CA")
        if files is not None and (proxy is None or not proxy.startswith("https:")):
            raise SettingsError(
                f"{PREFIX}PROXY", "is no https URL, though certificates for it are set", "set both, or none"
            )
        return files

    def url(self, name: str, default: str | None) -> str | None:
        value = self.text(name) or default
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SettingsError(PREFIX + name, "is no http or https URL", "write it as https://HOST[:PORT]")
        if parts.username or parts.password:
            raise SettingsError(
                PREFIX + name,
                "holds a user or password",
                "leave them out: a caller is known by its certificate",
            )
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise SettingsError(
                PREFIX + name, "is plain http off loopback", "use https: the key travels with each call"
            )
        return value

    def host(self, name: str, *, needs_loopback: bool) -> str:
        value = self.text(name) or "127.0.0.1"
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise SettingsError(
                PREFIX + name, f"is {value[:40]!r}", "use an IP address of the host"
            ) from None
        if needs_loopback and not is_loopback(value):
            raise SettingsError(
                PREFIX + name,
                "is not loopback, and there is no mTLS",
                f"set {PREFIX}TLS_CERTIFICATE, _KEY and _CLIENT_CA",
            )
        return value

    def callers(self, name: str, *, is_served_by_tls: bool) -> frozenset[str]:
        value = frozenset(self.text(name).replace(",", " ").split())
        if is_served_by_tls and not value:
            raise SettingsError(
                PREFIX + name, "is not set", "name who may call, as in the client's certificate"
            )
        if value and not is_served_by_tls:
            raise SettingsError(
                PREFIX + name,
                "is set, and there is no mTLS to know a caller by",
                "set the certificates, or leave it out",
            )
        return value

    def key_file(self) -> Path:
        value, directory = self.text("KEY_FILE"), self._variables.get("CREDENTIALS_DIRECTORY", "")
        if not value and not directory:
            raise SettingsError(
                f"{PREFIX}KEY_FILE",
                "is not set",
                f"name the key's file, or use systemd's LoadCredential={CREDENTIAL}:…",
            )
        # It need not be there yet: the Vault Agent may deliver it after the start.
        return Path(value) if value else Path(directory) / CREDENTIAL

    def state(self) -> Path:
        value = self.text("STATE") or self._variables.get("STATE_DIRECTORY", "").partition(":")[0]
        if not value or not Path(value).is_dir():
            raise SettingsError(
                f"{PREFIX}STATE",
                "names no directory",
                "use systemd's StateDirectory=, or name one: a pause is kept there",
            )
        return Path(value)


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine by address; `localhost` counts, other names do not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
