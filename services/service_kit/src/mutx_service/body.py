"""Reading a body within bounds of size and time, before anything parses it."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from mutx_service.problem import Problem

BODY_LIMIT_S = 10


async def read_body(request: Request, largest: int, *, wants_json: bool = False) -> bytes:
    """Return the whole body.

    Raises:
        Problem: `media-type`, `body-too-large` (by its announced length, else as soon as it is passed), `body-slow`.
    """
    if (
        wants_json
        and request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json"
    ):
        raise Problem("media-type")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > largest:
        raise Problem("body-too-large", f"at most {largest} bytes are taken")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_LIMIT_S):
            async for part in request.stream():
                body += part
                if len(body) > largest:
                    raise Problem("body-too-large", f"at most {largest} bytes are taken")
    except TimeoutError:
        raise Problem("body-slow", f"a body has {BODY_LIMIT_S} seconds") from None
    except ClientDisconnect:
        raise Problem("body-slow", "the caller hung up") from None
    return bytes(body)
