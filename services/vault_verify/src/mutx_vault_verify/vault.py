"""A Vault as one of its administrators sees it; only questions, but for the login and the end of its own token."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import quote

from mutx_vault_verify.connection import Address, Connection, Limits, translated
from mutx_vault_verify.document import mapping, parse, shown, texts
from mutx_vault_verify.problem import OutsideProblem, Unanswered

_OK, _NO_CONTENT, _NOT_FOUND, _SERVER = 200, 204, 404, 500
_UNSUPPORTED = "unsupported operation"


class Source(Protocol):
    """What the checks ask.

    Every method raises `Unanswered` where the Vault refuses the question or its answer makes no sense.
    """

    def get(self, path: str) -> Mapping[str, Any] | None:
        """Return what lies at a path; None where there is nothing."""

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names below a path, sorted."""

    def ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what a question that needs a body is answered."""


class LoginRefused(Exception):  # noqa: N818 - a finding, not an error
    """The Vault takes the certificate for no administrator."""


class Vault:
    """One Vault over HTTPS.

    Args:
        address: where it is.
        context: its authority, and the client's certificate.
        limits: of time.

    Raises for every method beside `Unanswered`:
        OutsideProblem: it cannot be reached, is sealed, or fails.
    """

    def __init__(self, address: Address, context: ssl.SSLContext, limits: Limits) -> None:
        self._address = address
        self._connection = Connection(address, context, limits)
        self._token = ""

    def login(self, mount: str, role: str) -> Mapping[str, Any]:
        """Log in by the certificate; return what the Vault says of the token, without the token.

        Raises:
            LoginRefused: the Vault does not know the certificate for this role.
        """
        status, answer = self._request("POST", f"auth/{mount}/login", {"name": role})
        if status != _OK:
            raise LoginRefused(_reasons(answer))
        try:
            auth = dict(mapping(answer.get("auth"), "auth"))
        except Unanswered:
            raise translated(ValueError(), self._address) from None
        token = auth.pop("client_token", None)
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise translated(ValueError(), self._address)
        self._token = token
        return auth

    def end(self) -> None:
        """Have the token revoked; one that cannot be ends by itself within 15 minutes."""
        if self._token:
            with suppress(OutsideProblem, Unanswered):
                self._request("POST", "auth/token/revoke-self", {})
        self._token = ""
        self._connection.close()

    def get(self, path: str) -> Mapping[str, Any] | None:
        """Return what lies at a path; None where there is nothing."""
        return self._data("GET", path, None)

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names below a path, sorted."""
        found = self._data("GET", f"{path}?list=true", None)
        return () if found is None else tuple(sorted(texts(found.get("keys"), f"the names below {path}")))

    def ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what a question that needs a body is answered."""
        return self._data("POST", path, body)

    def _data(self, method: str, path: str, body: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        status, answer = self._request(method, path, body)
        if status == _NO_CONTENT or (status == _NOT_FOUND and not answer.get("errors")):
            return None
        if status != _OK:
            raise Unanswered(f"{status}: {_reasons(answer)}")
        data = answer.get("data", answer)
        return None if data is None else mapping(data, path)

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[int, Mapping[str, Any]]:
        headers = {"X-Vault-Request": "true", **({"X-Vault-Token": self._token} if self._token else {})}
        sent = None if body is None else json.dumps(body).encode()
        place, _, query = path.partition("?")
        target = f"/v1/{quote(place)}" + (f"?{query}" if query else "")
        try:
            status, content = self._connection.ask(method, target, sent, headers)
            answer = parse(content) if content else {}
        except (OutsideProblem, OSError, http.client.HTTPException, ValueError) as error:
            raise translated(error, self._address) from None
        if not isinstance(answer, dict):
            raise translated(ValueError(), self._address)
        if status >= _SERVER and _UNSUPPORTED not in _reasons(answer):
            raise OutsideProblem(
                f"the Vault at {self._address} fails ({status}: {_reasons(answer)})",
                code="vault-failing",
                remedy="a sealed Vault opens once it reaches the key that seals it; one that cannot write its audit "
                "log refuses everything: see to it, then try again",
            )
        return status, answer


def _reasons(answer: Mapping[str, Any]) -> str:
    """Return the Vault's words; they hold names, never what was sent."""
    errors = answer.get("errors")
    return shown("; ".join(map(str, errors)) if isinstance(errors, list) and errors else "no reason given")
