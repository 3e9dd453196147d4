"""Requests to Tailscale's API v2 about one tailnet: the credential, what is tried again, and what each refusal means.

All is tried again where that may help: no connection, 429 with what `Retry-After` says, 5xx. A token is asked for once
and kept in memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mutx_infra.adapters.tailscale_login import Login, login_of
from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.errors import OutsideError, RefusedError

if TYPE_CHECKING:
    from requests import Response, Session

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
ATTEMPTS = 4
LONGEST_PAUSE_S = 30
"""However long `Retry-After` says; then the operator hears of it."""
_PAUSE_S = 0.5
_TRIED_AGAIN = (429, 500, 502, 503, 504)
_TOKEN_GOOD_FOR_S = 50 * 60
_SHOWN = 300


class TailscaleClient:
    """One tailnet, by one credential. Both are looked for when something is asked, since few commands do.

    Args:
        tailnet: the profile's part; its name goes into every request.
        variables: with the credential (`tailscale_login`).
    """

    def __init__(self, tailnet: Tailnet, variables: Mapping[str, str]) -> None:
        self._tailnet, self._variables = tailnet, variables
        self._token, self._good_until = "", 0.0

    @contextmanager
    def requests(self) -> Iterator[TailnetRequests]:
        """Ask over one session.

        Raises:
            RefusedError: the profile names no tailnet (code `tailnet-not-named`); there is no whole credential, or it
                is not accepted (`tailscale-credentials`) or not enough (`tailscale-denied`), or knows no such tailnet
                (`tailnet-unknown`).
            OutsideError: the service does not answer (code `tailscale-unreachable`), wants fewer requests
                (`tailscale-busy`), fails (`tailscale-failed`), or somebody else answers (`tailscale-answer-invalid`).
        """
        if self._tailnet.name is None:
            raise RefusedError(
                "the environment's profile names no tailnet",
                code="tailnet-not-named",
                remedy="set `tailnet.name` in the profile, so that no other is asked or changed by mistake",
            )
        login = login_of(self._variables)
        base = f"{self._tailnet.api_url.rstrip('/')}/api/v2"
        with _session() as session:
            asking = TailnetRequests(session, base, self._tailnet.name, login)
            if time.monotonic() >= self._good_until:
                self._token = asking.log_in()
                self._good_until = time.monotonic() + _TOKEN_GOOD_FOR_S
            asking.bearer = _Bearer(self._token)
            yield asking


class TailnetRequests:
    """Requests about one tailnet, over one session. Every method raises as `TailscaleClient.requests`."""

    def __init__(self, session: Session, base: str, name: str, login: Login) -> None:
        self._session, self._base, self._name, self._login = session, base, name, login
        self.bearer = _Bearer("")

    @property
    def how(self) -> str:
        """Name the credential, for people."""
        return self._login.how

    def log_in(self) -> str:
        """Return a token."""
        return self._login.access_token(self._post).get_secret_value()

    def place(self, rest: str) -> str:
        """Return the address of something of the tailnet, e.g. `keys`."""
        return f"{self._base}/tailnet/{quote(self._name, safe='')}/{rest}"

    def device(self, identity: str, rest: str = "") -> str:
        """Return the address of a device, or of something of it."""
        return f"{self._base}/device/{quote(identity, safe='')}{rest}"

    def webhook(self, identity: str) -> str:
        """Return the address of a webhook."""
        return f"{self._base}/webhooks/{quote(identity, safe='')}"

    def list(self, what: str, scope: str, query: str = "") -> Sequence[Mapping[str, Any]]:
        """Return the entries of one of the tailnet's lists, e.g. `devices`."""
        found = an_object(self.ask("GET", self.place(what + query), what, scope), what).get(what)
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise not_understood(what, "there is no list in it")
        return found

    def delete(self, url: str, what: str, scope: str) -> None:
        """Delete something; what is gone is gone."""
        self.ask("DELETE", url, what, scope, fine=(HTTPStatus.NOT_FOUND,))

    def ask(
        self, method: str, url: str, what: str, scope: str, *, content: Mapping[str, Any] | None = None,
        text: str | None = None, headers: Mapping[str, str] | None = None, fine: Collection[int] = (),
    ) -> Response:  # fmt: skip
        """Ask for something, or do something.

        Args:
            method: of HTTP.
            url: by one of the methods above.
            what: it is about, for people.
            scope: what the credential must be allowed.
            content: sent as JSON.
            text: sent as it is.
            headers: more of them.
            fine: statuses beside 200 that are an answer too.
        """
        response = self._send(method, url, what, self.bearer, json=content, data=text, headers=headers)
        return response if response.status_code in fine else self._judged(response, what, scope)

    def _post(self, path: str, form: Mapping[str, str]) -> Mapping[str, Any]:
        response = self._send("POST", f"{self._base}/{path}", "a token", _Bearer(""), data=form)
        if response.status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN):
            raise self._not_accepted(response)
        return an_object(self._judged(response, "a token"), "a token")

    def _judged(self, response: Response, what: str, scope: str = "") -> Response:
        """Return an answer that is one; `scope` is what a request about the tailnet needs."""
        if scope and response.status_code == HTTPStatus.FORBIDDEN:
            raise RefusedError(
                f"{self.how} may not do this with {what} of the tailnet {self._name}",
                code="tailscale-denied",
                remedy=f"give it the scope `{scope}` in Tailscale's admin console",
                detail=said(response),
            )
        if scope and response.status_code == HTTPStatus.NOT_FOUND:
            raise RefusedError(
                f"{self.how} knows no tailnet {self._name}, or nothing of its {what}",
                code="tailnet-unknown",
                remedy="correct `tailnet.name` in the profile, or use a credential of that tailnet",
                detail=said(response),
            )
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            raise self._not_accepted(response)
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise OutsideError(
                f"Tailscale's API wants fewer requests; {what} was asked for {ATTEMPTS} times",
                code="tailscale-busy",
                remedy="wait some minutes, then run the same command again",
                detail=said(response),
            )
        if response.status_code != HTTPStatus.OK:
            raise OutsideError(
                f"Tailscale's API answered {response.status_code} when it was asked for {what}",
                code="tailscale-failed",
                remedy="run the same command again; it may be repeated",
                detail=said(response),
            )
        return response

    def _not_accepted(self, response: Response) -> RefusedError:
        return RefusedError(
            f"Tailscale does not accept {self.how}",
            code="tailscale-credentials",
            remedy="renew it in Tailscale's admin console: it may be revoked, expired or of another tailnet",
            detail=said(response),
        )

    def _send(
        self, method: str, url: str, what: str, auth: _Bearer, *, json: Mapping[str, Any] | None = None,
        data: str | Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None,
    ) -> Response:  # fmt: skip
        from requests.exceptions import RequestException  # noqa: PLC0415 - 60 ms that other commands need not pay

        body = data.encode() if isinstance(data, str) else data
        try:
            # A redirect would carry the token to whoever it names.
            return self._session.request(
                method, url, data=body, json=json, auth=auth, headers={"Accept": "application/json", **(headers or {})},
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S), allow_redirects=False,
            )  # fmt: skip
        except RequestException as exc:
            raise OutsideError(
                f"Tailscale's API could not be asked for {what}",
                code="tailscale-unreachable",
                remedy="check the network and `tailnet.api_url`, then run the same command again",
                detail=str(exc)[:_SHOWN],
            ) from exc


def an_object(response: Response, what: str) -> Mapping[str, Any]:
    """Return an answer's JSON object.

    Raises:
        OutsideError: it is none (code `tailscale-answer-invalid`).
    """
    try:
        found = json.loads(response.content)
    except ValueError as exc:
        raise not_understood(what, str(exc)) from exc
    if not isinstance(found, dict):
        raise not_understood(what, "it is no object")
    return found


def not_understood(what: str, detail: str) -> OutsideError:
    """Return the error for an answer that is not Tailscale's."""
    return OutsideError(
        f"Tailscale's API answered with something else when it was asked for {what}",
        code="tailscale-answer-invalid",
        remedy="check `tailnet.api_url` in the profile, and that no proxy answers in its place",
        detail=detail,
    )


def said(response: Response) -> str:
    """Return what an answer says for people."""
    try:
        found = json.loads(response.content)
    except ValueError:
        found = None
    text = found.get("message") if isinstance(found, dict) else None
    return str(text or response.reason or "")[:_SHOWN]


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
