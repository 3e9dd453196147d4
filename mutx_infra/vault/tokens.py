"""Tokens of a way to log in, found by their accessors and ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mutx_infra.errors import RefusedError
from mutx_infra.vault_ports import VaultSession

_PASSES = 5
_ACCESSORS = "auth/token/accessors"


def revoke_tokens(session: VaultSession, role: str) -> int:
    """End every token that was got by one role; the role must be gone, or new ones come up. Returns their number."""
    return _revoke(session, lambda token: (token.get("meta") or {}).get("cert_name") == role)


def revoke_others(session: VaultSession) -> int:
    """End every token but the session's own. Returns their number."""
    mine = (session.read("auth/token/lookup-self") or {}).get("accessor")
    return _revoke(session, lambda token: token.get("accessor") != mine)


def revoke_root(session: VaultSession) -> int:
    """End every root token. Returns their number."""
    return _revoke(session, lambda token: "root" in (token.get("policies") or ()))


def _revoke(session: VaultSession, is_meant: Callable[[Mapping[str, Any]], bool]) -> int:
    """Look again after each pass: a login that was under way may have been answered meanwhile."""
    ended = 0
    for _ in range(_PASSES):
        found = [token["accessor"] for token in _tokens(session) if is_meant(token)]
        ended += sum(_asked(session, "revoke", accessor) is not None for accessor in found)
        if not found:
            break
    return ended


def _tokens(session: VaultSession) -> Iterator[Mapping[str, Any]]:
    for accessor in session.list(_ACCESSORS):
        token = _asked(session, "lookup", accessor)
        if token is not None:
            yield token


def _asked(session: VaultSession, what: str, accessor: str) -> Mapping[str, Any] | None:
    """Ask about a token; None where it ended by itself since it was listed, which is answered like a lack of rights."""
    try:
        return session.write(f"auth/token/{what}-accessor", {"accessor": accessor})
    except RefusedError:
        if accessor in session.list(_ACCESSORS):
            raise
        return None
