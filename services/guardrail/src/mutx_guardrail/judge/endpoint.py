"""The connection to the judge: to the configured address alone, bounded in size, by no proxy, without redirects."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Final

import httpx2

from mutx_guardrail.judge.settings import JudgeSettings, TlsFiles

LARGEST_BODY: Final = 1 << 20
CONNECTION_TRIES: Final = 3
_OK: Final = 200
_BACKOFF_S: Final = 0.05
_IDLE_S: Final = 1.0
"""Servers close idle connections after 5 s and more; one that is used just then would fail."""


class Unreached(Exception):  # noqa: N818 - the state of a server, told as one
    """The server gave no usable response. `why` holds nothing of it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Endpoint:
    """Sends requests to the judge's server. The caller sets the deadline."""

    def __init__(self, settings: JudgeSettings, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._tls = _ClientContext(settings.tls) if settings.tls else None
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        if settings.api_key is not None:
            headers["authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
        self._client = httpx2.AsyncClient(
            base_url=settings.url.rstrip("/") + "/",
            headers=headers,
            transport=transport or self._transport(settings),
            timeout=settings.timeout_s,
            follow_redirects=False,
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def send(self, method: str, path: str, document: Mapping[str, object] | None = None) -> bytes:
        """Return the body of a response with status 200 and JSON.

        A connection that cannot be made is tried three times; so is one that had been idle and broke before a response
        began, for then the server had closed it. Nothing else is sent again.

        Raises:
            Unreached: there is none.
        """
        if self._tls is not None:
            self._tls.refresh()
        for attempt in range(CONNECTION_TRIES):
            connecting = _Connecting()
            request = self._client.build_request(
                method, path, json=document, extensions={"trace": connecting.note}
            )
            try:
                response = await self._client.send(request, stream=True)
            except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
                if not connecting.explains(error):
                    raise Unreached(f"the connection failed ({type(error).__name__})") from None
                if attempt + 1 < CONNECTION_TRIES:
                    await asyncio.sleep(_BACKOFF_S * 2**attempt)
            else:
                return await _read(response)
        raise Unreached("no connection")

    def _transport(self, settings: JudgeSettings) -> httpx2.AsyncHTTPTransport:
        pool = httpx2.Limits(
            max_connections=settings.concurrency + 1,
            max_keepalive_connections=settings.concurrency,
            keepalive_expiry=_IDLE_S,
        )
        uds = str(settings.socket) if settings.socket else None
        verify = self._tls.context if self._tls else True
        return httpx2.AsyncHTTPTransport(verify=verify, trust_env=False, limits=pool, uds=uds)


class _Connecting:
    """Whether a request got a connection of its own, or one that had been used before."""

    def __init__(self) -> None:
        self._is_new = False

    async def note(self, event: str, _details: Mapping[str, object]) -> None:
        """Take the client's account of what it does (httpx2's `trace` extension)."""
        self._is_new = self._is_new or event in {
            "connection.connect_tcp.started",
            "connection.connect_unix_socket.started",
        }

    def explains(self, error: Exception) -> bool:
        """Say whether the server cannot have seen the request, so that it may be sent again."""
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return True
        return not self._is_new and isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError)


async def _read(response: httpx2.Response) -> bytes:
    try:
        if response.status_code != _OK:
            raise Unreached(f"the server answered {response.status_code}")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" or "content-encoding" in response.headers:
            raise Unreached("the server answered with something else than plain JSON")
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > LARGEST_BODY:
                raise Unreached("the response is too large")
        return bytes(body)
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise Unreached(f"the response broke off ({type(error).__name__})") from None
    finally:
        await response.aclose()


class _ClientContext:
    """A TLS context for new connections, whose certificate is read anew when its file changes."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self.context = ssl.create_default_context(cafile=str(files.ca))
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._stamp = self._look()
        self.context.load_cert_chain(files.certificate, files.key)

    def refresh(self) -> None:
        """Take a new pair; one that does not fit together, as between two writes, leaves the earlier in force."""
        try:
            stamp = self._look()
            if stamp != self._stamp:
                ssl.create_default_context().load_cert_chain(self._files.certificate, self._files.key)
                self.context.load_cert_chain(self._files.certificate, self._files.key)
                self._stamp = stamp
        except OSError:
            return

    def _look(self) -> tuple[tuple[int, int], ...]:
        found = (self._files.certificate.stat(), self._files.key.stat())
        return tuple((each.st_ino, each.st_mtime_ns) for each in found)
