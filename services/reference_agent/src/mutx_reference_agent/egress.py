"""The one way to the provider: it puts the tenant's key on each call, logs the call, and goes by the guard.

The vendor's client never holds the key: it is read from its file for each call and put on a copy of the request, so
that no client, exception or repr has it, and a rotated key is used by the next call.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Mapping

import httpx2
from mutx_service.journal import write_event
from mutx_service.settings import TlsFiles
from mutx_service.tls import ReloadingContext, client_context
from mutx_service.trace import current

from mutx_reference_agent.key_file import KeyFile, ProviderKey
from mutx_reference_agent.settings import GUARD_TLS_VARIABLE, PROXY_TLS_VARIABLE, Settings

KEY_HEADER: Mapping[str, tuple[str, str]] = {
    "openai": ("authorization", "Bearer "),
    "anthropic": ("x-api-key", ""),
}
_UNAUTHORIZED = 401
_IDLE_S = 30


class TenantTransport(httpx2.AsyncBaseTransport):
    """Carries calls of one agent to its provider."""

    def __init__(self, settings: Settings, key: KeyFile) -> None:
        self._settings, self._key = settings, key
        self._pools = _Pools(settings)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one call; where the key was refused and has been rotated meanwhile, once more with the new one."""
        key = self._key.read()
        response = await self._call(request, key)
        if response.status_code != _UNAUTHORIZED:
            return response
        newer = self._key.read()
        if newer == key:
            return response
        await response.aclose()
        return await self._call(request, newer)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pools.aclose()

    async def _call(self, request: httpx2.Request, key: ProviderKey) -> httpx2.Response:
        header, scheme = KEY_HEADER[self._settings.provider]
        headers = request.headers.copy()
        headers[header] = scheme + key.reveal()
        keyed = httpx2.Request(
            request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
        )
        call = _Call(self._settings)
        try:
            response = await self._pools.current().handle_async_request(keyed)
        except BaseException as error:
            call.end(_status_of(error))
            raise
        if not isinstance(response.stream, httpx2.AsyncByteStream):
            raise TypeError("an asynchronous pool answered with a synchronous stream")
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_LoggedStream(response.stream, call, response.status_code),
            extensions=response.extensions,
        )


class _Call:
    """The two lines of one call in the journal: before it leaves, so that none is missing, and when it is over."""

    def __init__(self, settings: Settings) -> None:
        context = current()
        self._fields: dict[str, object] = {
            "agent": settings.name,
            "provider": settings.provider,
            "model": settings.model,
            "trace_id": context.trace_id if context else "",
            "span_id": context.span_id if context else "",
        }
        self._start = time.monotonic()
        self._is_open = True
        write_event("llm-call-started", self._fields)

    def end(self, status: int | str) -> None:
        if self._is_open:
            self._is_open = False
            took_ms = round((time.monotonic() - self._start) * 1000, 1)
            write_event("llm-call", {**self._fields, "status": status, "duration_ms": took_ms})


class _LoggedStream(httpx2.AsyncByteStream):
    """An answer's body that ends its call's record when it is read through, closed or broken off."""

    def __init__(self, inner: httpx2.AsyncByteStream, call: _Call, status: int) -> None:
        self._inner, self._call, self._status = inner, call, status

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._inner:
                yield part
        except BaseException as error:
            self._call.end(_status_of(error))
            raise
        self._call.end(self._status)

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            task = asyncio.current_task()
            self._call.end("cancelled" if task is not None and task.cancelling() else self._status)


def _status_of(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "cancelled"
    return "timeout" if isinstance(error, httpx2.TimeoutException) else "unreachable"


class _Pools:
    """The connections; a new set when the agent's own certificate changes, while calls on the old one finish."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._proxy_tls = _shown(settings.proxy_tls, "proxy", PROXY_TLS_VARIABLE)
        self._guard_tls = _shown(settings.guard_tls, "guard", GUARD_TLS_VARIABLE)
        self._provider_tls = None if self._guard_tls else _provider_context(settings)
        self._contexts = self._now()
        self._pool = self._make()
        self._retiring: set[asyncio.Task[None]] = set()

    def current(self) -> httpx2.AsyncHTTPTransport:
        contexts = self._now()
        if contexts != self._contexts:
            self._retire(self._pool)
            self._contexts = contexts
            self._pool = self._make()
        return self._pool

    async def aclose(self) -> None:
        for task in self._retiring:
            task.cancel()
        await self._pool.aclose()

    def _now(self) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
        """Return the contexts for the proxy, and for whom calls are addressed to."""
        proxy = self._proxy_tls.current() if self._proxy_tls else None
        return proxy, self._guard_tls.current() if self._guard_tls else self._provider_tls

    def _make(self) -> httpx2.AsyncHTTPTransport:
        to_proxy, to_provider = self._contexts
        proxy = httpx2.Proxy(self._settings.proxy, ssl_context=to_proxy) if self._settings.proxy else None
        most = self._settings.limits.max_runs
        limits = httpx2.Limits(
            max_connections=2 * most, max_keepalive_connections=most, keepalive_expiry=_IDLE_S
        )
        verify = to_provider if to_provider is not None else True
        return httpx2.AsyncHTTPTransport(verify=verify, trust_env=False, limits=limits, proxy=proxy)

    def _retire(self, pool: httpx2.AsyncHTTPTransport) -> None:
        """Close a pool when no call can be on it any more: none outlives its run."""

        async def close_later() -> None:
            await asyncio.sleep(self._settings.limits.run_s + 1)
            await pool.aclose()

        task = asyncio.create_task(close_later())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


def _shown(files: TlsFiles | None, name: str, variable: str) -> ReloadingContext | None:
    return client_context(files, name, variable) if files else None


def _provider_context(settings: Settings) -> ssl.SSLContext:
    """Trust the system's CAs, or one that the tenant names; no client certificate."""
    try:
        return ssl.create_default_context(cafile=str(settings.provider_ca) if settings.provider_ca else None)
    except OSError:
        logging.getLogger(__name__).warning("provider CA")
        raise
