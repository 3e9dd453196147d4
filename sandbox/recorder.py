"""Which actions of AWS were called, as IAM names them: to compare with what a deploying role is granted.

`GET /mutx-api/actions` returns them as a JSON list, `DELETE` forgets them.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, TypeAlias
from urllib.parse import parse_qs

Environ: TypeAlias = "dict[str, Any]"
Application: TypeAlias = Callable[[Environ, Any], Iterable[bytes]]

PATH = "/mutx-api/actions"
_SCOPE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request")
_IAM_PREFIXES = {"monitoring": "cloudwatch"}
_BUCKET_SETTINGS = {
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "location": "BucketLocation",
    "object-lock": "BucketObjectLockConfiguration",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
}
_OBJECT_ACTIONS = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
_BUCKET_ACTIONS = {"GET": "ListBucket", "HEAD": "ListBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}


class Recorder:
    """A WSGI application around another, which remembers the actions that pass."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._actions: set[str] = set()
        self._lock = Lock()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI's callable
        """Answer for the record itself, or note the action and pass the request on."""
        if environ.get("PATH_INFO") == PATH:
            return self._answer(environ, start_response)
        action = action_of(environ)
        if action is not None:
            with self._lock:
                self._actions.add(action)
        return self._application(environ, start_response)

    def _answer(self, environ: Environ, start_response: Any) -> Iterable[bytes]:  # noqa: ANN401
        with self._lock:
            body = json.dumps(sorted(self._actions)).encode()
            if environ["REQUEST_METHOD"] == "DELETE":
                self._actions.clear()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]


def action_of(environ: Environ) -> str | None:
    """Return `service:Action`; None for what carries no signature."""
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if scope is None:
        return None
    service = _IAM_PREFIXES.get(scope[1], scope[1])
    if service == "s3":
        return f"s3:{_s3_action(environ)}"
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return f"{service}:{target.rsplit('.', 1)[-1]}"
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    environ["wsgi.input"] = io.BytesIO(body)
    names = parse_qs(body.decode(errors="replace")).get("Action") or parse_qs(
        environ.get("QUERY_STRING", "")
    ).get("Action")
    return f"{service}:{names[0]}" if names else None


def _s3_action(environ: Environ) -> str:
    """Name a REST request as IAM does (Service Authorization Reference, "Actions for Amazon S3")."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/")
    if not path:
        return "ListAllMyBuckets"
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    if "/" in path:
        version = "Version" if "versionId" in query else ""
        if "tagging" in query:
            return f"{'Get' if method == 'GET' else 'Put'}Object{version}Tagging"
        return str(_OBJECT_ACTIONS.get(method, method)) + (version if method in {"GET", "HEAD"} else "")
    if "versions" in query:
        return "ListBucketVersions"
    for name, setting in _BUCKET_SETTINGS.items():
        if name in query:
            return f"{'Get' if method == 'GET' else _change(method, name)}{setting}"
    return str(_BUCKET_ACTIONS.get(method, method))


def _change(method: str, setting: str) -> str:
    """IAM has a right to delete a policy, and takes other deletions for changes."""
    return "Delete" if method == "DELETE" and setting == "policy" else "Put"
