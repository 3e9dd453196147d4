"""Calls to an identity provider: bounded in size and time, to hosts that the operator named, never redirected.

A URL that was learnt of the provider's discovery document is called only at the issuer's own origin, or by https at a
host that the operator permitted. So a document that was tampered with reaches no other host of ours: to answer under
one of those names takes its certificate.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
from mutx_service.settings import is_loopback
from mutx_service.strict_json import Json

from mutx_control_plane.identity.encoding import EncodingError, read_object

LARGEST = 256 * 1024
DEADLINE_S = 5.0
_OK = 200
_HIGHEST_PORT = 65_535


class ProviderFailed(Exception):  # noqa: N818 - an answer, as a problem is
    """The provider cannot be reached, or answers what is of no use. The message holds nothing of its answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider answered: the status, and a JSON object."""

    status: int
    document: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Reach:
    """Which URLs a provider's documents may name.

    Attributes:
        issuer: the provider's, whose origin may be called.
        hosts: others, by https on its own port.
    """

    issuer: str
    hosts: Collection[str] = ()

    def permitted(self, url: object) -> str:
        """Return a URL that may be called.

        Raises:
            ProviderFailed: it may not.
        """
        if isinstance(url, str) and is_plain_url(url):
            if _origin(url) == _origin(self.issuer):
                return url
            if any(_origin(url) == ("https", host.lower(), 443) for host in self.hosts):
                return url
        raise ProviderFailed("the provider names an address that it may not")


def is_plain_url(url: str) -> bool:
    """Say whether a URL is https, or http on loopback, without user, password, fragment or control characters."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.password is not None or "#" in url:
        return False
    if port is not None and not 0 < port <= _HIGHEST_PORT:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))


class ProviderHttp:
    """Bounded calls.

    Args:
        client: follows no redirects and reads no proxy from the environment, as `make_client` returns one.
        deadline_s: for a whole call.
    """

    def __init__(self, client: httpx2.AsyncClient, deadline_s: float = DEADLINE_S) -> None:
        self._client, self._deadline_s = client, deadline_s

    async def get(self, url: str, *, bearer: str = "") -> Answer:
        """Return the answer to a GET.

        Raises:
            ProviderFailed: there is none of use.
        """
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        return await self._call(self._client.build_request("GET", url, headers=headers))

    async def post_form(
        self, url: str, form: Mapping[str, str], *, basic: tuple[str, str] | None = None
    ) -> Answer:
        """Return the answer to a form; `basic` are the client's id and secret, encoded for a header already.

        Raises:
            ProviderFailed: there is none of use.
        """
        request = self._client.build_request("POST", url, data=dict(form))
        if basic is not None:
            pair = base64.b64encode(":".join(basic).encode()).decode()
            request.headers["authorization"] = f"Basic {pair}"
        return await self._call(request)

    async def close(self) -> None:
        """Close what is open."""
        await self._client.aclose()

    async def _call(self, request: httpx2.Request) -> Answer:
        # What is not compressed cannot grow.
        request.headers.update({"accept": "application/json", "accept-encoding": "identity"})
        try:
            async with asyncio.timeout(self._deadline_s):
                response = await self._client.send(request, stream=True, follow_redirects=False)
                try:
                    return Answer(response.status_code, read_object(await _read(response)))
                finally:
                    await response.aclose()
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, TimeoutError, EncodingError):
            raise ProviderFailed("the provider did not answer as it should") from None


def make_client() -> httpx2.AsyncClient:
    """Return a client for `ProviderHttp`: the system's authorities, no proxy, no redirects, no cookies kept."""
    return httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=DEADLINE_S)


def require_ok(answer: Answer) -> Mapping[str, Json]:
    """Return the document of a 200.

    Raises:
        ProviderFailed: it is another status; a redirect is one.
    """
    if answer.status != _OK:
        raise ProviderFailed("the provider answered with another status than 200")
    return answer.document


async def _read(response: httpx2.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ProviderFailed("the provider compressed its answer")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > LARGEST:
            raise ProviderFailed("the provider's answer is too large")
    return bytes(body)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
