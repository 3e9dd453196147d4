"""The way to the agents: TLS 1.3 with the guard's certificate, to the one name that an agent's certificate must hold.

Each call has a connection of its own. A run takes seconds and a handshake milliseconds; for that, every run meets the
certificates of the day, and none is lost on a connection that the agent has just closed.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import httpx2
from mutx_service.problem import Problem
from mutx_service.tls import client_context

from mutx_guardrail.runs.answer import problem_of
from mutx_guardrail.service.settings import PREFIX, Settings

CONNECT_S = 5.0
LARGEST_ANSWER = 4 << 20
LARGEST_STREAM = 16 << 20
_LARGEST_PROBLEM = 64 << 10
_OK = 200


class Agents:
    """The agents that this guard may send runs to.

    Args:
        settings: their addresses, and the guard's client certificate.
        transport: makes what carries one call; None takes the network.

    Raises:
        SettingsError: the files of the guard's client certificate do not serve.
    """

    def __init__(
        self, settings: Settings, transport: Callable[[], httpx2.AsyncBaseTransport] | None = None
    ) -> None:
        self._addresses = {name: each for name, each in settings.agents.items() if each.url}
        files = settings.agent_tls
        self._tls = client_context(files, "agents", f"{PREFIX}AGENT_CERTIFICATE") if files else None
        self._run_s = settings.run_s
        self._transport = transport or self._connect

    def __contains__(self, agent: str) -> bool:
        return agent in self._addresses

    @asynccontextmanager
    async def call(
        self,
        agent: str,
        method: str,
        path: str,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Answer]:
        """Call an agent, and give its answer with the body unread; the end of the block ends the connection.

        Raises:
            Problem: `agent-unreachable`, `agent-timeout`, `agent-malformed`, or what the agent answered instead of 200.
        """
        address = self._addresses[agent]
        own = {"accept-encoding": "identity", "user-agent": "mutx-guard", **(headers or {})}
        if content:
            own["content-type"] = "application/json"
        async with self._client() as client:
            request = client.build_request(
                method,
                address.url.rstrip("/") + path,
                content=content or None,
                headers=own,
                extensions={"sni_hostname": address.certificate},
            )
            with _told():
                response = await client.send(request, stream=True)
            try:
                answer = Answer(response)
                await answer.refuse_failure()
                yield answer
            finally:
                await response.aclose()

    def _connect(self) -> httpx2.AsyncHTTPTransport:
        # Without files there are loopback's plain addresses alone; this context would trust nobody.
        verify = self._tls.current() if self._tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return httpx2.AsyncHTTPTransport(verify=verify, trust_env=False)

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=self._transport(),
            timeout=httpx2.Timeout(self._run_s, connect=CONNECT_S),
            trust_env=False,
            follow_redirects=False,
        )


class Answer:
    """An agent's answer, as it comes."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def refuse_failure(self) -> None:
        """Let an answer of 200 pass.

        Raises:
            Problem: it is another one.
        """
        if self._response.status_code == _OK:
            return
        status, content = self._response.status_code, b""
        if self._media() == "application/problem+json":
            content = await self._read(_LARGEST_PROBLEM)
        raise problem_of(content, status, self._response.headers.get("retry-after", ""))

    async def whole(self) -> bytes:
        """Return a JSON body.

        Raises:
            Problem: it is none, too large, or breaks off.
        """
        if self._media() != "application/json":
            raise Problem("agent-malformed")
        return await self._read(LARGEST_ANSWER)

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """Yield the body of a stream of events.

        Raises:
            Problem: it is none, too large, or breaks off.
        """
        if self._media() != "text/event-stream":
            raise Problem("agent-malformed")
        async for part in self._bounded(LARGEST_STREAM):
            yield part

    def _media(self) -> str:
        kind: str = self._response.headers.get("content-type", "")
        return kind.partition(";")[0].strip().lower()

    async def _read(self, largest: int) -> bytes:
        found = bytearray()
        async for part in self._bounded(largest):
            found += part
        return bytes(found)

    async def _bounded(self, largest: int) -> AsyncIterator[bytes]:
        if self._response.headers.get("content-encoding", "identity") != "identity":
            raise Problem("agent-malformed")
        size = 0
        with _told():
            async for part in self._response.aiter_raw():
                size += len(part)
                if size > largest:
                    raise Problem("answer-too-large", f"more than {largest} bytes")
                yield part


@contextmanager
def _told() -> Iterator[None]:
    """Tell what the client meets as problems."""
    try:
        yield
    except httpx2.TimeoutException:
        raise Problem("agent-timeout") from None
    except httpx2.ProtocolError:
        raise Problem("agent-malformed", "the answer is no HTTP, or broke off") from None
    except (httpx2.HTTPError, httpx2.StreamError):
        raise Problem("agent-unreachable") from None
