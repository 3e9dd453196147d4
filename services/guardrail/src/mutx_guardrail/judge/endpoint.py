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

        A connection that cannot be made is tried three times; a request that went out is not sent again.

        Raises:
            Unreached: there is none.
        """
        if self._tls is not None:
            self._tls.refresh()
        request = self._client.build_request(method, path, json=document)
        for attempt in range(CONNECTION_TRIES):
            try:
                response = await self._client.send(request, stream=True)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if attempt + 1 < CONNECTION_TRIES:
                    await asyncio.sleep(_BACKOFF_S * 2**attempt)
            except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
                raise Unreached(f"the connection failed ({type(error).__name__})") from None
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
