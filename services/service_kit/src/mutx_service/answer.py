"""Routes that let permitted callers in only, and tell every failure as a problem."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mutx_service.journal import describe_exception, write_event
from mutx_service.peer import Peer
from mutx_service.problem import Kinds, Problem

Route = Callable[[Request], Awaitable[Response]]

_BODY_IS_LEFT = frozenset({400, 403, 408, 413})


def problem_response(problem: Problem, kinds: Kinds, trace_id: str = "") -> JSONResponse:
    """Return the answer that tells a problem."""
    kind = kinds[problem.code]
    retry_after_s = kind.retry_after_s if problem.retry_after_s is None else problem.retry_after_s
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    if kind.status in _BODY_IS_LEFT:
        # What is left of the body is not read.
        headers["connection"] = "close"
    return JSONResponse(
        problem.document(kinds, trace_id),
        status_code=kind.status,
        headers=headers,
        media_type="application/problem+json",
    )


def guarded(route: Route, kinds: Kinds, check: Callable[[Request], None]) -> Route:
    """Return a route that runs `check` first, and answers a problem as one and a defect as `defect`."""

    async def guarded(request: Request) -> Response:
        try:
            _refuse_two_lengths(request)
            check(request)
            return await route(request)
        except Problem as problem:
            return problem_response(problem, kinds)
        except Exception as error:  # noqa: BLE001 - the one place: logged without its words, answered as a problem
            write_event("defect", describe_exception(type(error), error.__traceback__))
            return problem_response(Problem("defect"), kinds)

    return guarded


def _refuse_two_lengths(request: Request) -> None:
    """Refuse a body that has a length and chunks: two readers of it may see two requests (RFC 9112, section 6.1)."""
    if "content-length" in request.headers and "transfer-encoding" in request.headers:
        raise Problem("http-invalid", "the body has a length and chunks at once")


def http_exceptions(kinds: Kinds) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Return the handler that tells what the router refuses as problems."""

    async def answer(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        code = {404: "not-found", 405: "method-not-allowed"}.get(status, "defect")
        response = problem_response(Problem(code), kinds)
        if isinstance(error, HTTPException) and error.headers:
            response.headers.update(error.headers)
        return response

    return answer


def peer_of_request(request: Request) -> Peer:
    """Return who called; nobody's names where the listener speaks plain HTTP."""
    peer = getattr(request.state, "peer", None)
    return peer if isinstance(peer, Peer) else Peer()
