"""The way to the providers: TLS with normal verification, the agent's own key on each call, and nothing else of its.

Which headers go either way is a list; what is not on it stays here.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2

from mutx_guardrail.egress.refusal import Refusal
from mutx_guardrail.egress.rules import Provider, Rules
from mutx_guardrail.egress.settings import Bounds

BAD_GATEWAY, GATEWAY_TIMEOUT = 502, 504

_OUT = frozenset(
    {"authorization", "x-api-key", "anthropic-version", "anthropic-beta", "openai-organization", "openai-project",
     "openai-beta", "idempotency-key"}
)  # fmt: skip
_BACK = frozenset(
    {"content-type", "retry-after", "retry-after-ms", "x-should-retry", "request-id", "x-request-id"}
)
_BACK_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-", "openai-")


class Upstream:
    """One provider, with the connections to it."""

    def __init__(self, provider: Provider, bounds: Bounds) -> None:
        self._base_url = provider.base_url
        context = ssl.create_default_context(cafile=str(provider.ca) if provider.ca else None)
        limits = httpx2.Limits(
            max_connections=bounds.connections, max_keepalive_connections=32, keepalive_expiry=30
        )
        self._client = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits),
            timeout=httpx2.Timeout(bounds.call_s, connect=bounds.connect_s),
            trust_env=False,
            follow_redirects=False,
        )

    @asynccontextmanager
    async def call(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes
    ) -> AsyncIterator[httpx2.Response]:
        """Make a call, and give its answer with the body unread.

        Raises:
            Refusal: the provider cannot be reached, or does not answer in time.
        """
        own = {"accept-encoding": "identity", "user-agent": "mutx-guard-egress"}
        if content:
            own["content-type"] = "application/json"
        request = self._client.build_request(
            method, self._base_url + path, headers={**_fit(headers), **own}, content=content or None
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx2.TimeoutException:
            raise Refusal(
                "provider_timeout", "the provider did not answer in time", GATEWAY_TIMEOUT
            ) from None
        except httpx2.TransportError:
            raise Refusal("provider_unreachable", "the provider could not be reached", BAD_GATEWAY) from None
        try:
            yield response
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()


def open_upstreams(rules: Rules, bounds: Bounds) -> dict[str, Upstream]:
    """Return the way to each provider. Nothing is connected until a call comes.

    Raises:
        OSError: a CA file cannot be used.
    """
    return {name: Upstream(provider, bounds) for name, provider in rules.providers.items()}


def headers_back(response: httpx2.Response) -> dict[str, str]:
    """Return what an agent is told of an answer's head."""
    return {
        name: value
        for name, value in response.headers.items()
        if name in _BACK or name.startswith(_BACK_PREFIXES)
    }


async def read_whole(response: httpx2.Response, largest: int) -> bytes:
    """Return an answer's body.

    Raises:
        Refusal: it is larger than `largest` bytes, encoded, or breaks off.
    """
    found = bytearray()
    async for part in raw_parts(response):
        found += part
        if len(found) > largest:
            raise Refusal("answer_too_large", "the provider's answer is larger than is taken", BAD_GATEWAY)
    return bytes(found)


async def raw_parts(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Yield an answer's body as it comes.

    Raises:
        Refusal: it is encoded, which was not asked for, or it breaks off.
    """
    if response.headers.get("content-encoding", "identity") != "identity":
        raise Refusal("answer_not_judged", "the provider's answer is encoded", BAD_GATEWAY)
    try:
        async for part in response.aiter_raw():
            yield part
    except httpx2.TimeoutException:
        raise Refusal("provider_timeout", "the provider did not go on in time", GATEWAY_TIMEOUT) from None
    except (httpx2.TransportError, httpx2.StreamError):
        raise Refusal("provider_broke_off", "the provider's answer broke off", BAD_GATEWAY) from None


def _fit(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name in _OUT}
