"""What the vendor's provider finds wrong with single values before it asks the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from mutx_sandbox.bridge.values import Value

_RESERVED_CLAIMS = frozenset({"aud", "iss", "sub"})


def one_of(*allowed: str) -> Callable[[Value], str | None]:
    """Accept these texts only."""
    listed = ", ".join(f'"{each}"' for each in allowed)
    return lambda value: None if value in allowed else f'value must be one of: {listed}, got: "{value}"'


def each_of(*allowed: str) -> Callable[[Value], str | None]:
    """Accept a list of these texts only."""
    rule = one_of(*allowed)
    return lambda value: next(filter(None, map(rule, _texts(value))), None)


def length(least: int, most: int) -> Callable[[Value], str | None]:
    """Accept texts of so many characters."""

    def reason(value: Value) -> str | None:
        if least <= len(value) <= most:
            return None
        return f"string length must be between {least} and {most}, got: {len(value)}"

    return reason


def web_address(value: Value) -> str | None:
    """Refuse what is no http or https URL."""
    if str(value).startswith(("http://", "https://")):
        return None
    return "must be a valid URL with http or https scheme"


def https_address(value: Value) -> str | None:
    """Refuse what is no https URL with a host."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return "Must be a valid https:// URL."
    return None if parts.scheme == "https" and parts.netloc else "Must be a valid https:// URL."


def claim_rules(value: Mapping[str, Value]) -> str | None:
    """Refuse rules for the claims that have properties of their own."""
    if _RESERVED_CLAIMS.isdisjoint(value):
        return None
    return (
        'Keys "sub", "iss" and "aud" are reserved and must not appear in custom_claim_rules. '
        'Use the "subject" and "issuer" fields instead.'
    )


def _texts(value: Iterable[Value]) -> list[str]:
    return [str(each) for each in value]
