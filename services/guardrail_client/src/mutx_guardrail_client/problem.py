"""What a caller of a guarded endpoint is told instead: RFC 9457, never a text."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mutx_guardrail_client.errors import GuardError, Refused

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TITLES = {
    "text-refused": "The guard refuses the text",
    "guard-unavailable": "The text was not judged",
    "response-not-judged": "The answer could not be judged",
}


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """An answer instead of the application's.

    Args:
        members: further ones of the document, as `reason`.
    """

    def __init__(
        self, status: int, code: str, detail: str = "", *, retry_after_s: float | None = None, **members: str
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.retry_after_s = status, code, retry_after_s
        whole = {
            "type": f"urn:mutx:problem:{code}", "title": _TITLES.get(code, "The request cannot be judged"),
            "status": status, "code": code, "detail": detail, **members,
        }  # fmt: skip
        self.document = {name: value for name, value in whole.items() if value != ""}


def problem_of(error: GuardError) -> Problem:
    """Return what a caller is told of a refusal (403), or of a guard that did not judge (503)."""
    wait = error.retry_after_s
    if isinstance(error, Refused):
        return Problem(403, "text-refused", reason=error.reason, action=error.action, retry_after_s=wait)
    return Problem(503, "guard-unavailable", retry_after_s=wait)


async def send_problem(send: Send, problem: Problem) -> None:
    """Answer with a problem."""
    body = json.dumps(problem.document).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if problem.retry_after_s is not None:
        headers.append((b"retry-after", str(math.ceil(problem.retry_after_s)).encode()))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
