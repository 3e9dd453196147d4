"""Calls to Tailscale's API v2: redirects are not followed, failures sorted, and what may be repeated is."""

from __future__ import annotations

import json
import logging
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any

import requests
import requests.adapters
from mutx_sandbox.bridge.failures import OperationError
from mutx_sandbox.bridge.patience import Patience
from mutx_sandbox.bridge.values import Secrets
from urllib3.exceptions import NewConnectionError

logger = logging.getLogger(__name__)

NOT_FOUND = 404
_TRIES = 6
_BACKOFF_S = 0.2
_CONNECT_S, _ANSWER_S = 5.0, 60.0
_TOKEN_MARGIN_S = 60.0
_CONNECTIONS = 64
_REDIRECTS, _REFUSALS, _TOO_MANY, _FAILURES = 300, 400, 429, 500


class ApiError(OperationError):
    """The API refused a call, or could not be reached.

    Attributes:
        status: of HTTP; 0 where nothing was answered.
        message: what the API says, or what happened.
        is_passing: the same call may succeed later.
        may_be_done: the API may have acted all the same.
        wait_s: how long it asks to wait.
        is_again: an earlier try may have been done.
    """

    def __init__(
        self, title: str, status: int, message: str, *, may_be_done: bool = False, wait_s: float | None = None
    ) -> None:
        super().__init__(f"{title}: {message} ({status})" if status else f"{title}: {message}")
        self.status, self.message = status, message
        self.may_be_done, self.wait_s = may_be_done, wait_s
        self.is_passing = status in {0, _TOO_MANY} or status >= _FAILURES
        self.is_again = False


class UnansweredError(ApiError):
    """A call that must not be repeated blindly may have been done."""


@dataclass(frozen=True, slots=True)
class Login:
    """What the API knows a caller by: an API key, or an OAuth client with its secret."""

    api_key: str = field(default="", repr=False)
    client_id: str = ""
    client_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        path: below `/api/v2/`, as it is sent.
        title: what its failure is called.
        body: JSON values, or text that is sent as HuJSON; None for none.
        accepts: media type of the answer.
        is_repeatable: making it twice does no harm.
    """

    method: str
    path: str
    title: str
    body: Mapping[str, Any] | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    accepts: str = "application/json"
    is_repeatable: bool = True


class Api:
    """One tailnet's API, as one engine may use it; from many threads."""

    def __init__(self, endpoint: str, tailnet: str, login: Login, user_agent: str = "") -> None:
        self.endpoint, self.tailnet = endpoint.rstrip("/"), tailnet
        self._login = login
        self._token, self._token_ends, self._lock = "", 0.0, Lock()
        self._http = requests.Session()
        for scheme in ("http://", "https://"):
            self._http.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS))
        # A shell's proxies and .netrc are no part of the engine's configuration.
        self._http.trust_env = False
        if user_agent:
            self._http.headers["User-Agent"] = user_agent

    def ask(self, request: Request, patience: Patience) -> str:
        """Make a request and return the text of its answer.

        Raises:
            UnansweredError: it may have been done, and must not be repeated blindly.
            ApiError: the API refused, or tries or patience are spent.
        """
        is_again, attempt = False, 0
        while True:
            try:
                return self._try(request, patience)
            except ApiError as exc:
                exc.is_again = is_again
                if not exc.is_passing:
                    raise
                if exc.may_be_done and not request.is_repeatable:
                    raise UnansweredError(request.title, exc.status, exc.message, may_be_done=True) from exc
                is_again, attempt = is_again or exc.may_be_done, attempt + 1
                if attempt == _TRIES or not _wait(patience, attempt, exc.wait_s):
                    raise
                # Without the API's words, which may repeat what was sent.
                logger.info(
                    "%s (%s): asking again: %s %s", request.title, exc.status, request.method, request.path
                )

    def _try(self, request: Request, patience: Patience) -> str:
        body = request.body
        text = body if isinstance(body, str) else None if body is None else json.dumps(body)
        headers = {
            **request.headers,
            "Accept": request.accepts,
            "Authorization": self._authorization(patience),
        }
        if text is not None:
            kind = "application/hujson" if isinstance(body, str) else "application/json"
            headers["Content-Type"] = kind
        return self._send(
            request.method,
            request.path,
            request.title,
            patience,
            headers=headers,
            data=text if text is None else text.encode(),
        )

    def _send(self, method: str, path: str, title: str, patience: Patience, **how: Any) -> str:  # noqa: ANN401
        limits = (_CONNECT_S, max(1.0, min(_ANSWER_S, patience.left_s)))
        try:
            with self._http.request(
                method, f"{self.endpoint}/api/v2/{path}", allow_redirects=False, timeout=limits, **how
            ) as answer:
                text = answer.content.decode(errors="replace")  # HuJSON names no charset, and is UTF-8
                problem = self._problem(title, answer, text)
        except requests.RequestException as exc:
            was_sent = not _is_before_sending(exc)
            said = "the connection was lost before an answer" if was_sent else "the API cannot be reached"
            raise ApiError(title, 0, said, may_be_done=was_sent) from exc
        if problem is not None:
            raise problem
        return text

    def _authorization(self, patience: Patience) -> str:
        if self._login.api_key:
            return f"Basic {b64encode(f'{self._login.api_key}:'.encode()).decode()}"
        with self._lock:
            if time.monotonic() >= self._token_ends:
                self._exchange(patience)
            return f"Bearer {self._token}"

    def _exchange(self, patience: Patience) -> None:
        """Get an access token for the OAuth client; asking twice does no harm."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self._login.client_id,
            "client_secret": self._login.client_secret,
        }
        title = "Failed to get an access token"
        try:
            content = as_object(self._send("POST", "oauth/token", title, patience, data=form))
        except ApiError as exc:
            exc.may_be_done = False  # what the token was for was not even asked
            raise
        if not content.get("access_token"):
            raise ApiError(title, 0, "the answer has none")
        self._token = str(content["access_token"])
        self._token_ends = time.monotonic() + float(content.get("expires_in") or 0) - _TOKEN_MARGIN_S

    def _problem(self, title: str, answer: requests.Response, text: str) -> ApiError | None:
        status = answer.status_code
        if status < _REDIRECTS:
            return None
        if status < _REFUSALS:
            return ApiError(title, status, "the API redirects, which is not followed")
        own = Secrets(strings=frozenset({self._login.api_key, self._login.client_secret, self._token} - {""}))
        return ApiError(
            title,
            status,
            own.hide(message_of(as_object(text))),
            may_be_done=status >= _FAILURES,
            wait_s=_seconds(answer.headers.get("Retry-After")),
        )


def as_object(text: str) -> dict[str, Any]:
    """Return the JSON object that a text holds, an empty one where it holds none."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def message_of(content: Mapping[str, Any]) -> str:
    """Return what the API says, failing tests included; nothing else of a body, which may hold anything."""
    said = [str(content.get("message") or "the API gave no reason")]
    for each in content.get("data") or []:
        who = each.get("user") or each.get("src") or ""
        said += [f"{who}: {error}" if who else str(error) for error in each.get("errors") or []]
    return "; ".join(said)


def _wait(patience: Patience, attempt: int, wait_s: float | None) -> bool:
    """Wait as long as the API asks, else ever longer; False where the patience does not last."""
    return patience.nap(attempt, base_s=_BACKOFF_S) if wait_s is None else patience.pause(wait_s)


def _seconds(text: str | None) -> float | None:
    """Read Retry-After: seconds, or a date."""
    if not text:
        return None
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _is_before_sending(exc: requests.RequestException) -> bool:
    """Say whether there was no connection, so that the API cannot have acted."""
    reason = getattr(exc.args[0] if exc.args else None, "reason", None)
    return isinstance(exc, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)
