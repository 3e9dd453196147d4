"""Tailscale's API v2, as far as the toolkit reads it: the policy, devices and keys of one tailnet.

Shapes are those of the vendor's API reference and of its Go client, version 2. All of it reads, so all is tried again
where that may help: no connection, 429 with what `Retry-After` says, 5xx. A token is asked for once and kept in memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mutx_infra.adapters.tailscale_login import Login
from mutx_infra.environment import Tailnet
from mutx_infra.errors import OutsideError, RefusedError
from mutx_infra.tailnet.devices import Device, Key, LiveTailnet

if TYPE_CHECKING:
    from requests import Response, Session

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
ATTEMPTS = 4
LONGEST_PAUSE_S = 30
"""However long `Retry-After` says; then the operator hears of it."""
_PAUSE_S = 0.5
_TRIED_AGAIN = (429, 500, 502, 503, 504)
_SCOPES = {"acl": "policy_file:read", "devices": "devices:core:read", "keys": "auth_keys:read"}
"""What a credential must be allowed, by what is read."""
_SHOWN = 300


class TailscaleApi:
    """One tailnet, read by one credential.

    Args:
        tailnet: the profile's part; its name goes into every request.
        login: how a token is got.

    Raises:
        RefusedError: the profile names no tailnet (code `tailnet-not-named`).
    """

    def __init__(self, tailnet: Tailnet, login: Login) -> None:
        if tailnet.name is None:
            raise RefusedError(
                "the environment's profile names no tailnet",
                code="tailnet-not-named",
                remedy="set `tailnet.name` in the profile, so that no other is asked or changed by mistake",
            )
        self._name, self._login = tailnet.name, login
        self._base = f"{tailnet.api_url.rstrip('/')}/api/v2"

    def policy(self) -> str:
        """Return the policy file as JSON."""
        with _session() as session:
            return self._over(session).get("acl").text

    def read(self) -> LiveTailnet:
        """Return the policy, every device and every key; a key that is listed by its id alone is asked for."""
        with _session() as session:
            tailnet = self._over(session)
            policy = tailnet.get("acl").text
            devices = tuple(map(_device, tailnet.list("devices")))
            listed = tailnet.list("keys", "?all=true")
            keys = tuple(_key(each if "created" in each else tailnet.key(each)) for each in listed)
        return LiveTailnet(policy, devices, keys)

    def _over(self, session: Session) -> _Tailnet:
        return _Tailnet(session, self._base, self._name, self._login)


class _Tailnet:
    """Requests about one tailnet, over one session and with one token."""

    def __init__(self, session: Session, base: str, name: str, login: Login) -> None:
        self._session, self._base, self._name, self._login = session, base, name, login

    def list(self, what: str, query: str = "") -> Sequence[Mapping[str, Any]]:
        found = _object(self.get(what, query), what).get(what)
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise _not_understood(what, "there is no list in it")
        return found

    def key(self, listed: Mapping[str, Any]) -> Mapping[str, Any]:
        return _object(self.get("keys", f"/{quote(str(listed.get('id', '')), safe='')}"), "keys")

    def get(self, what: str, rest: str = "") -> Response:
        url = f"{self._base}/tailnet/{quote(self._name, safe='')}/{what}{rest}"
        response = self._send("GET", url, what, _Bearer(self._token))
        if response.status_code == HTTPStatus.FORBIDDEN:
            raise RefusedError(
                f"{self._login.how} may not read {what} of the tailnet {self._name}",
                code="tailscale-denied",
                remedy=f"give it the scope `{_SCOPES[what]}` in Tailscale's admin console",
                detail=_said(response),
            )
        if response.status_code == HTTPStatus.NOT_FOUND:
            raise RefusedError(
                f"{self._login.how} knows no tailnet {self._name}, or nothing of its {what}",
                code="tailnet-unknown",
                remedy="correct `tailnet.name` in the profile, or use a credential of that tailnet",
                detail=_said(response),
            )
        return self._fine(response, what)

    @cached_property
    def _token(self) -> str:
        return self._login.access_token(self._post).get_secret_value()

    def _post(self, path: str, form: Mapping[str, str]) -> Mapping[str, Any]:
        response = self._send("POST", f"{self._base}/{path}", "a token", _Bearer(""), form)
        if response.status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN):
            raise self._not_accepted(response)
        return _object(self._fine(response, "a token"), "a token")

    def _fine(self, response: Response, what: str) -> Response:
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            raise self._not_accepted(response)
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise OutsideError(
                f"Tailscale's API wants fewer requests; {what} was asked for {ATTEMPTS} times",
                code="tailscale-busy",
                remedy="wait some minutes, then run the same command again",
                detail=_said(response),
            )
        if response.status_code != HTTPStatus.OK:
            raise OutsideError(
                f"Tailscale's API answered {response.status_code} when it was asked for {what}",
                code="tailscale-failed",
                remedy="run the same command again; nothing was changed",
                detail=_said(response),
            )
        return response

    def _not_accepted(self, response: Response) -> RefusedError:
        return RefusedError(
            f"Tailscale does not accept {self._login.how}",
            code="tailscale-credentials",
            remedy="renew it in Tailscale's admin console: it may be revoked, expired or of another tailnet",
            detail=_said(response),
        )

    def _send(
        self, method: str, url: str, what: str, auth: _Bearer, form: Mapping[str, str] | None = None
    ) -> Response:
        from requests.exceptions import RequestException  # noqa: PLC0415 - 60 ms that other commands need not pay

        try:
            # A redirect would carry the token to whoever it names.
            return self._session.request(
                method, url, data=form, auth=auth, headers={"Accept": "application/json"},
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S), allow_redirects=False,
            )  # fmt: skip
        except RequestException as exc:
            raise OutsideError(
                f"Tailscale's API could not be asked for {what}",
                code="tailscale-unreachable",
                remedy="check the network and `tailnet.api_url`, then run the same command again",
                detail=str(exc)[:_SHOWN],
            ) from exc


def _session() -> Session:
    from requests import Session  # noqa: PLC0415
    from requests.adapters import HTTPAdapter  # noqa: PLC0415
    from urllib3.util import Retry  # noqa: PLC0415

    # All that is sent may be sent twice: it reads, or asks for one more token.
    retry = Retry(
        total=ATTEMPTS - 1, status_forcelist=_TRIED_AGAIN, allowed_methods=None, backoff_factor=_PAUSE_S,
        backoff_max=LONGEST_PAUSE_S, retry_after_max=LONGEST_PAUSE_S, raise_on_status=False, redirect=False,
    )  # fmt: skip
    session = Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


class _Bearer:
    """Puts the token into a request; without it, requests would look for one in ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:  # noqa: ANN401 - requests' PreparedRequest
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _device(found: Mapping[str, Any]) -> Device:
    return Device(
        id=str(found.get("nodeId") or found.get("id") or ""),
        hostname=str(found.get("hostname") or ""),
        name=str(found.get("name") or ""),
        user=str(found.get("user") or ""),
        tags=_texts(found.get("tags")),
        is_authorized=bool(found.get("authorized", True)),
        is_external=bool(found.get("isExternal")),
        key_never_expires=bool(found.get("keyExpiryDisabled")),
    )


def _key(found: Mapping[str, Any]) -> Key:
    create = ((found.get("capabilities") or {}).get("devices") or {}).get("create") or {}
    return Key(
        id=str(found.get("id") or ""),
        kind=str(found.get("keyType") or "auth"),
        description=str(found.get("description") or ""),
        tags=_texts(create.get("tags") or found.get("tags")),
        created=_time(found.get("created")),
        expires=_time(found.get("expires")),
        is_reusable=bool(create.get("reusable")),
        is_valid=not (found.get("invalid") or _time(found.get("revoked"))),
        scopes=_texts(found.get("scopes")),
    )


def _texts(found: object) -> tuple[str, ...]:
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _time(found: object) -> datetime | None:
    """Read a time; the vendor writes the year 1 for one that there is not."""
    if not isinstance(found, str) or not found:
        return None
    try:
        read = datetime.fromisoformat(found)
    except ValueError as exc:
        raise _not_understood("keys", f"{found[:40]!r} is no time") from exc
    return None if read.year == 1 else read


def _object(response: Response, what: str) -> Mapping[str, Any]:
    try:
        found = json.loads(response.content)
    except ValueError as exc:
        raise _not_understood(what, str(exc)) from exc
    if not isinstance(found, dict):
        raise _not_understood(what, "it is no object")
    return found


def _not_understood(what: str, detail: str) -> OutsideError:
    return OutsideError(
        f"Tailscale's API answered with something else when it was asked for {what}",
        code="tailscale-answer-invalid",
        remedy="check `tailnet.api_url` in the profile, and that no proxy answers in its place",
        detail=detail,
    )


def _said(response: Response) -> str:
    try:
        found = json.loads(response.content)
    except ValueError:
        found = None
    text = found.get("message") if isinstance(found, dict) else None
    return str(text or response.reason or "")[:_SHOWN]
