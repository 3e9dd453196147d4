"""Credentials that have expired, on demand: AWS's answer to named actions, in the form of each protocol.

`PUT /mutx-api/expired` takes a JSON list of actions as IAM names them (`sts:AssumeRole`, `*`), an empty one to end it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from mutx_sandbox.recorder import Application, Environ, action_of

PATH = "/mutx-api/expired"
_TEXT = "The security token included in the request is expired"
_XML = {
    "ec2": "<Response><Errors><Error><Code>RequestExpired</Code><Message>{}</Message></Error></Errors></Response>",
    "s3": "<Error><Code>ExpiredToken</Code><Message>{}</Message></Error>",
}
_QUERY = "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>{}</Message></Error></ErrorResponse>"


class Expiry:
    """A WSGI application around another, which refuses the actions that it was told to."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._expired: tuple[str, ...] = ()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI's callable
        """Take an order, refuse, or pass the request on."""
        if environ.get("PATH_INFO") == PATH:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            self._expired = tuple(json.loads(body))
            return _answer(start_response, "200 OK", "application/json", body)
        action = action_of(environ) if self._expired else None
        if action is None or not any(fnmatchcase(action, pattern) for pattern in self._expired):
            return self._application(environ, start_response)
        if environ.get("HTTP_X_AMZ_TARGET"):
            text = json.dumps({"__type": "ExpiredTokenException", "message": _TEXT})
            return _answer(start_response, "400 Bad Request", "application/x-amz-json-1.1", text.encode())
        text = _XML.get(action.partition(":")[0], _QUERY).format(_TEXT)
        return _answer(start_response, "403 Forbidden", "text/xml", text.encode())


def _answer(start_response: Any, status: str, kind: str, body: bytes) -> list[bytes]:  # noqa: ANN401
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
