"""One question and its answer over HTTP, within one deadline, with the certificate of the moment.

A question is asked once. Only where no connection could be made, and so no byte of it was sent, is it tried again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2

from mutx_guardrail_client.answer import Answer
from mutx_guardrail_client.errors import GuardUnavailable
from mutx_guardrail_client.settings import Settings
from mutx_guardrail_client.strict_json import JsonError, write_json
from mutx_guardrail_client.tls import ReloadingContext

LARGEST_ANSWER_BYTES = 16 << 20
# Below the five seconds or more that servers keep a quiet connection, so that none ends as a question is sent.
IDLE_S = 4.0
PAUSES_S = (0.05, 0.2)
"""Before the second and the third try to connect."""

MakeTransport = Callable[[ssl.SSLContext | None], httpx2.AsyncBaseTransport]


class Transport:
    """Carries questions to one guard; used from one event loop at a time, each with connections of its own.

    Args:
        make: builds the connections under one TLS context; for tests.
    """

    def __init__(self, settings: Settings, make: MakeTransport | None = None) -> None:
        self._settings, self._make = settings, make or _connections
        self._url = settings.url.rstrip("/")
        self._tls = ReloadingContext(settings.tls) if settings.tls else None
        self._pool: _Pool | None = None
        self._is_closed = False

    async def post(self, path: str, question: object) -> Answer:
        """Ask, and return what came back.

        Raises:
            GuardUnavailable: `timeout`, `connection`, `malformed` (larger than any answer, or packed), `closed`.
        """
        if self._is_closed:
            raise GuardUnavailable("closed")
        answer, cause = None, "connection"
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                answer = await self._ask(path, write_json(question))
        except TimeoutError:
            cause = "timeout"
        except httpx2.TimeoutException:
            cause = "timeout"
        except (JsonError, _NoAnswer):
            cause = "malformed"
        except (httpx2.HTTPError, httpx2.StreamError, OSError):
            pass
        # Outside the handlers: an HTTP client's error holds the request, and that the text.
        if answer is None:
            raise GuardUnavailable(cause)
        return answer

    async def aclose(self) -> None:
        """Close every connection; questions that are under way end as `connection`."""
        self._is_closed = True
        if self._pool is not None:
            await self._pool.client.aclose()

    async def _ask(self, path: str, body: bytes) -> Answer:
        for pause_s in PAUSES_S:
            try:
                return await self._ask_once(path, body)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                await asyncio.sleep(pause_s)
        return await self._ask_once(path, body)

    async def _ask_once(self, path: str, body: bytes) -> Answer:
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        async with (
            self._connected() as client,
            client.stream("POST", self._url + path, content=body, headers=headers) as response,
        ):
            if "content-encoding" in response.headers:
                raise _NoAnswer
            content = bytearray()
            async for part in response.aiter_raw():
                content += part
                if len(content) > LARGEST_ANSWER_BYTES:
                    raise _NoAnswer
            get = response.headers.get
            return Answer(
                response.status_code, get("content-type", ""), bytes(content), get("retry-after", "")
            )

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Lend the connections of the present certificate; those of an earlier one close with their last user."""
        context, loop = self._tls.current() if self._tls else None, asyncio.get_running_loop()
        pool = self._pool
        if pool is None or pool.context is not context or pool.loop is not loop:
            earlier, pool = pool, _Pool(context, loop, _client(self._make(context)))
            self._pool = pool
            # The connections of a loop that has ended cannot be closed in another.
            if earlier is not None and not earlier.users and earlier.loop is loop:
                await earlier.client.aclose()
        pool.users += 1
        try:
            yield pool.client
        finally:
            pool.users -= 1
            if pool is not self._pool and not pool.users:
                await pool.client.aclose()


class _NoAnswer(Exception):  # noqa: N818 - never leaves this module
    pass


@dataclass(slots=True)
class _Pool:
    context: ssl.SSLContext | None
    loop: asyncio.AbstractEventLoop
    client: httpx2.AsyncClient
    users: int = 0


def _client(transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncClient:
    # Neither a proxy nor a password file of the environment's: the text goes to the guard alone.
    return httpx2.AsyncClient(transport=transport, trust_env=False, timeout=None, follow_redirects=False)


def _connections(context: ssl.SSLContext | None) -> httpx2.AsyncBaseTransport:
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=16, keepalive_expiry=IDLE_S)
    return httpx2.AsyncHTTPTransport(
        verify=True if context is None else context, trust_env=False, limits=limits
    )
