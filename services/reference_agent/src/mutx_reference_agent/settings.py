"""What the unit's environment says: read once, checked whole, never a secret among it.

The names are part of the contract (docs/reference/agent-contract.md), so that one Ansible role serves every agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mutx_service.settings import Environment, TlsFiles

PREFIX = "MUTX_AGENT_"
TLS_VARIABLE, PROXY_TLS_VARIABLE = f"{PREFIX}TLS_CERTIFICATE", f"{PREFIX}PROXY_CERTIFICATE"
GUARD_TLS_VARIABLE = f"{PREFIX}GUARD_CERTIFICATE"
CREDENTIAL = "provider-key"
"""The name under which systemd hands over the key (`LoadCredential=provider-key:…`)."""

DEFAULT_BASE_URL = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
_AT_GUARD = {"openai": "/openai/v1", "anthropic": "/anthropic"}
"""Where the guard's egress has each provider: the judged way."""
DEFAULT_PURPOSE = "You are a careful assistant. Use a tool where one helps; say so when you do not know."


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
        base_url: the provider's, or the guard's on the judged way.
        guard_tls: what is shown to the guard on the judged way, whose only other side it is; None for another way.
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
    guard_tls: TlsFiles | None
    proxy: str | None
    proxy_tls: TlsFiles | None
    provider_ca: Path | None
    limits: Limits


KNOWN = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "NAME", "PROVIDER", "MODEL", "PURPOSE", "BASE_URL", "KEY_FILE", "STATE", "HOST", "PORT", "CALLERS",
        "TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA",
        "GUARD", "GUARD_CERTIFICATE", "GUARD_KEY", "GUARD_CA", "PROXY", "PROXY_CERTIFICATE", "PROXY_KEY", "PROXY_CA",
        "PROVIDER_CA", "MAX_RUNS", "MAX_BODY_BYTES", "MAX_STEPS", "MAX_OUTPUT_TOKENS", "RUN_LIMIT_S",
        "CALL_LIMIT_S", "CALL_RETRIES", "STOP_LIMIT_S",
    )
)  # fmt: skip


def read_settings(variables: Mapping[str, str]) -> Settings:
    """Build the settings from an environment.

    Raises:
        SettingsError: a variable is unknown, missing, malformed or contradicts another.
    """
    get = Environment(variables, PREFIX)
    get.refuse_unknown(KNOWN)
    provider = get.choice("PROVIDER", tuple(DEFAULT_BASE_URL))
    server_tls = get.tls("TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA")
    guard, proxy = get.url("GUARD", None), get.url("PROXY", None)
    return Settings(
        name=get.name("NAME"),
        provider=provider,
        model=get.required("MODEL"),
        purpose=get.text("PURPOSE") or DEFAULT_PURPOSE,
        base_url=_base_url(get, provider, guard),
        key_file=_key_file(get),
        state=get.state(),
        host=get.host("HOST", needs_loopback=server_tls is None),
        port=get.number("PORT", 8080, lowest=0, highest=65535),
        callers=get.callers("CALLERS", is_served_by_tls=server_tls is not None),
        server_tls=server_tls,
        guard_tls=_guard_tls(get, guard),
        proxy=proxy,
        proxy_tls=_proxy_tls(get, proxy),
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


def _base_url(get: Environment, provider: str, guard: str | None) -> str:
    if guard is None:
        return get.url("BASE_URL", DEFAULT_BASE_URL[provider]) or ""
    for other in ("BASE_URL", "PROVIDER_CA", "PROXY"):
        if get.text(other):
            raise get.error(other, "is set, though GUARD is the way to the provider", "leave one of them out")
    return guard.rstrip("/") + _AT_GUARD[provider]


def _guard_tls(get: Environment, guard: str | None) -> TlsFiles | None:
    files = get.tls("GUARD_CERTIFICATE", "GUARD_KEY", "GUARD_CA")
    if (files is None) != (guard is None):
        raise get.error("GUARD", "and its certificate, key and CA go together", "set all of them, or none")
    if guard is not None and not guard.startswith("https:"):
        raise get.error("GUARD", "is no https URL", "the guard knows its callers by certificate")
    return files


def _proxy_tls(get: Environment, proxy: str | None) -> TlsFiles | None:
    files = get.tls("PROXY_CERTIFICATE", "PROXY_KEY", "PROXY_CA")
    if files is not None and (proxy is None or not proxy.startswith("https:")):
        raise get.error("PROXY", "is no https URL, though certificates for it are set", "set both, or none")
    return files


def _key_file(get: Environment) -> Path:
    value, directory = get.text("KEY_FILE"), get.variables.get("CREDENTIALS_DIRECTORY", "")
    if not value and not directory:
        raise get.error(
            "KEY_FILE", "is not set", f"name the key's file, or use systemd's LoadCredential={CREDENTIAL}:…"
        )
    # It need not be there yet: the Vault Agent may deliver it after the start.
    return Path(value) if value else Path(directory) / CREDENTIAL
