"""Asks a tenant's guardrail about every text of an agent. What was not judged, or was refused, is never returned."""

from __future__ import annotations

from mutx_guardrail_client.aio import AsyncGuardClient, AsyncOutputStream
from mutx_guardrail_client.client import GuardClient, JudgedInput, OutputStream
from mutx_guardrail_client.errors import GuardError, GuardUnavailable, Refused, SettingsError
from mutx_guardrail_client.judged import Check, Item, Judged, Spotlight
from mutx_guardrail_client.settings import Settings, TlsFiles, read_settings

__all__ = [
    "AsyncGuardClient",
    "AsyncOutputStream",
    "Check",
    "GuardClient",
    "GuardError",
    "GuardUnavailable",
    "Item",
    "Judged",
    "JudgedInput",
    "OutputStream",
    "Refused",
    "Settings",
    "SettingsError",
    "Spotlight",
    "TlsFiles",
    "read_settings",
]
