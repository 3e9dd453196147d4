"""Tailscale's API v2, as far as the toolkit uses it: the policy, devices and keys of one tailnet.

Shapes are those of the vendor's API reference and of its Go client, version 2. All is tried again where that may help:
no connection, 429 with what `Retry-After` says, 5xx. A key that was made while its answer was lost is known to nobody,
and ends by itself within minutes. A token is asked for once and kept in memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import SecretStr

from mutx_infra.adapters.tailscale_login import Login, login_of
from mutx_infra.environment import Tailnet
from mutx_infra.errors import OutsideError, RefusedError
from mutx_infra.naming import INFRA_TAG, bounded
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
_TOKEN_GOOD_FOR_S = 50 * 60
_LONGEST_DESCRIPTION = 50
_SHOWN = 300


class TailscaleApi:
    """One tailnet, by one credential. Both are looked for when something is asked, since few commands do.

    Args:
        tailnet: the profile's part; its name goes into every request.
        variables: with the credential (`tailscale_login`).

    Every method raises:
        RefusedError: the profile names no tailnet (code `tailnet-not-named`); there is no whole credential, or it is
            not accepted (`tailscale-credentials`) or not enough (`tailscale-denied`), or knows no such tailnet
            (`tailnet-unknown`).
        OutsideError: the service does not answer (code `tailscale-unreachable`), wants fewer requests
            (`tailscale-busy`), fails (`tailscale-failed`), or somebody else answers (`tailscale-answer-invalid`).
    """

    def __init__(self, tailnet: Tailnet, variables: Mapping[str, str]) -> None:
        self._tailnet, self._variables = tailnet, variables
        self._token = _Token()

    def policy(self) -> str:
        """Return the policy file as JSON."""
        with _session() as session:
            return self._over(session).get("acl").text

    def devices_with(self, tag: str) -> tuple[Device, ...]:
        """Return the devices that have a tag."""
        with _session() as session:
            return self._over(session).devices([tag])

    def mint(self, tag: str, description: str, life_s: int) -> SecretStr:
        """Make a key that lets one device in, at once and with a tag.

        Raises:
            RefusedError: the credential may not hand the tag out (code `tailscale-tag-denied`), or make keys at all.
        """
        create = {"reusable": False, "ephemeral": False, "preauthorized": True, "tags": [tag]}
        asked = {
            "capabilities": {"devices": {"create": create}}, "expirySeconds": life_s,
            "description": bounded(description, _LONGEST_DESCRIPTION),
        }  # fmt: skip
        with _session() as session:
            made = self._over(session).make_key(asked, tag)
        if not isinstance(secret := made.get("key"), str) or not secret:
            raise _not_understood("a key", "there is none in it")
        return SecretStr(secret)

    def left(self, tags: Collection[str]) -> tuple[str, ...]:
        """Return the devices that have one of some tags, and the keys that are good for one."""
        with _session() as session:
            devices, keys = self._over(session).of(tags)
        return (
            *(f"device {device.name or device.hostname} of the tailnet ({device.id})" for device in devices),
            *(f"key {key.id} of the tailnet" for key in keys),
        )

    def remove(self, tags: Collection[str]) -> int:
        """Delete those devices and revoke those keys; what is gone meanwhile is gone."""
        with _session() as session:
            tailnet = self._over(session)
            devices, keys = tailnet.of(tags)
            for device in devices:
                tailnet.delete(tailnet.device(device.id), "devices", "devices:core")
            for key in keys:
                tailnet.delete(tailnet.place("keys", f"/{quote(key.id, safe='')}"), "keys", "auth_keys")
        return len(devices) + len(keys)

    def read(self) -> LiveTailnet:
        """Return the policy, every device and every key; a key that is listed by its id alone is asked for."""
        with _session() as session:
            tailnet = self._over(session)
            policy = tailnet.get("acl").text
            devices = tuple(map(_device, tailnet.list("devices")))
            return LiveTailnet(policy, devices, tailnet.keys())

    def _over(self, session: Session) -> _Tailnet:
        if self._tailnet.name is None:
            raise RefusedError(
                "the environment's profile names no tailnet",
                code="tailnet-not-named",
                remedy="set `tailnet.name` in the profile, so that no other is asked or changed by mistake",
            )
        base = f"{self._tailnet.api_url.rstrip('/')}/api/v2"
        return _Tailnet(session, base, self._tailnet.name, login_of(self._variables), self._token)


@dataclass(slots=True)
class _Token:
    """What requests carry. The vendor's live for an hour; another one is asked for well before its end."""

    value: str = field(default="", repr=False)
    good_until: float = 0.0


class _Tailnet:
    """Requests about one tailnet, over one session."""

    def __init__(self, session: Session, base: str, name: str, login: Login, token: _Token) -> None:
        self._session, self._base, self._name, self._login = session, base, name, login
        self._token = token

    def list(self, what: str, query: str = "") -> Sequence[Mapping[str, Any]]:
        found = _object(self.get(what, query), what).get(what)
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise _not_understood(what, "there is no list in it")
        return found

    def keys(self) -> tuple[Key, ...]:
        listed = self.list("keys", "?all=true")
        return tuple(_key(each if "created" in each else self._key(each)) for each in listed)

    def _key(self, listed: Mapping[str, Any]) -> Mapping[str, Any]:
        return _object(self.get("keys", f"/{quote(str(listed.get('id', '')), safe='')}"), "keys")

    def devices(self, tags: Collection[str]) -> tuple[Device, ...]:
        query = "&".join(f"tags={quote(tag, safe='')}" for tag in tags)
        found = map(_device, self.list("devices", f"?{query}"))
        # A service that does not know the filter answers with every device.
        return tuple(device for device in found if not set(tags).isdisjoint(device.tags))

    def of(self, tags: Collection[str]) -> tuple[tuple[Device, ...], tuple[Key, ...]]:
        devices = self.devices(tags)
        keys = tuple(
            k for k in self.keys() if k.is_auth_key and k.is_valid and not set(tags).isdisjoint(k.tags)
        )
        return devices, keys

    def delete(self, url: str, what: str, scope: str) -> None:
        response = self._send("DELETE", url, what, self._bearer())
        if response.status_code != HTTPStatus.NOT_FOUND:
            self._fine(response, what, scope)

    def get(self, what: str, rest: str = "") -> Response:
        response = self._send("GET", self.place(what, rest), what, self._bearer())
        return self._fine(response, what, _SCOPES[what])

    def make_key(self, asked: Mapping[str, Any], tag: str) -> Mapping[str, Any]:
        response = self._send("POST", self.place("keys"), "a key", self._bearer(), content=asked)
        if response.status_code == HTTPStatus.BAD_REQUEST:
            raise RefusedError(
                f"{self._login.how} may not make a key for {tag}",
                code="tailscale-tag-denied",
                remedy=f"give it the tag {INFRA_TAG}, which owns {tag}, once the tailnet's policy has both",
                detail=_said(response),
            )
        return _object(self._fine(response, "keys", "auth_keys"), "a key")

    def device(self, identity: str) -> str:
        return f"{self._base}/device/{quote(identity, safe='')}"

    def place(self, what: str, rest: str = "") -> str:
        return f"{self._base}/tailnet/{quote(self._name, safe='')}/{what}{rest}"

    def _bearer(self) -> _Bearer:
        if time.monotonic() >= self._token.good_until:
            self._token.value = self._login.access_token(self._post).get_secret_value()
            self._token.good_until = time.monotonic() + _TOKEN_GOOD_FOR_S
        return _Bearer(self._token.value)

    def _post(self, path: str, form: Mapping[str, str]) -> Mapping[str, Any]:
        response = self._send("POST", f"{self._base}/{path}", "a token", _Bearer(""), form)
        if response.status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN):
            raise self._not_accepted(response)
        return _object(self._fine(response, "a token"), "a token")

    def _fine(self, response: Response, what: str, scope: str = "") -> Response:
        """Return an answer that is one; `scope` is what a request about the tailnet needs."""
        if scope and response.status_code == HTTPStatus.FORBIDDEN:
            raise RefusedError(
                f"{self._login.how} may not do this with {what} of the tailnet {self._name}",
                code="tailscale-denied",
                remedy=f"give it the scope `{scope}` in Tailscale's admin console",
                detail=_said(response),
            )
        if scope and response.status_code == HTTPStatus.NOT_FOUND:
            raise RefusedError(
                f"{self._login.how} knows no tailnet {self._name}, or nothing of its {what}",
                code="tailnet-unknown",
                remedy="correct `tailnet.name` in the profile, or use a credential of that tailnet",
                detail=_said(response),
            )
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
                remedy="run the same command again; it may be repeated",
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
        self, method: str, url: str, what: str, auth: _Bearer,
        form: Mapping[str, str] | None = None, content: Mapping[str, Any] | None = None,
    ) -> Response:  # fmt: skip
        from requests.exceptions import RequestException  # noqa: PLC0415 - 60 ms that other commands need not pay

        try:
            # A redirect would carry the token to whoever it names.
            return self._session.request(
                method, url, data=form, json=content, auth=auth, headers={"Accept": "application/json"},
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
