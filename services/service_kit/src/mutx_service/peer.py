"""Who is at the other end of a connection, by the certificate that the TLS handshake verified."""

from __future__ import annotations

import ssl
import time
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mutx_service.problem import Problem

_NAME_KINDS = frozenset({"DNS", "URI"})


@dataclass(frozen=True, slots=True)
class Peer:
    """A caller's names (DNS and URI of its certificate), and when the certificate ends (seconds since 1970)."""

    names: frozenset[str] = frozenset()
    expires: float = 0.0


def peer_of(ssl_object: ssl.SSLObject) -> Peer:
    """Return the peer of a finished handshake."""
    found = ssl_object.getpeercert() or {}
    # typeshed gives one wide type for every entry of the dictionary.
    alternatives: tuple[tuple[str, str], ...] = found.get("subjectAltName", ())  # type: ignore[assignment]
    names = frozenset(value for kind, value in alternatives if kind in _NAME_KINDS)
    expires = found.get("notAfter")
    return Peer(names, ssl.cert_time_to_seconds(expires) if isinstance(expires, str) else 0.0)


def check_caller(peer: Peer, permitted: AbstractSet[str], *, now: float | None = None) -> None:
    """Let a permitted caller pass. A connection outlives its handshake, so the end of validity is looked at again.

    Raises:
        Problem: `caller-refused` or `caller-expired`.
    """
    if not peer.names & permitted:
        raise Problem("caller-refused")
    if peer.expires <= (time.time() if now is None else now):
        raise Problem("caller-expired")
