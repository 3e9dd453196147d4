"""HTTP/1.1 with one agent: h11 over a TLS stream, bounded in size and time, without room for two readings.

Every message is taken apart here and written anew on the other side: no framing of an agent's reaches a provider.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress

import h11
from mutx_service.peer import Peer
from mutx_service.problem import Problem

from mutx_guardrail.egress.problem import KINDS
from mutx_guardrail.egress.settings import Bounds

LARGEST_HEAD = 32 * 1024
WRITE_LIMIT_S = 60
_READ = 64 * 1024
_MOST_AHEAD = 64 * 1024

Headers = list[tuple[bytes, bytes]]


class Gone(Exception):  # noqa: N818 - the state of a connection
    """The agent has hung up, or takes nothing any more."""


class Wire:
    """One connection. `peer` is who called; `is_resting` is it between two requests, with nothing begun."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer, bounds: Bounds
    ) -> None:
        self.reader, self.writer, self.peer = reader, writer, peer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        self._ahead, self._bounds = 0, bounds
        self.sent = 0
        self.has_answered, self.is_resting = False, False

    async def next_request(self, *, is_first: bool) -> h11.Request | None:
        """Return the next request's head; None where the agent has no more.

        Raises:
            Problem: `head-slow`, or `http-invalid` where it could be read in two ways.
        """
        self.has_answered = False
        try:
            event = await self._head(self._bounds.head_s if is_first else self._bounds.rest_s)
        except h11.RemoteProtocolError:
            raise Problem("http-invalid") from None
        if not isinstance(event, h11.Request):
            return None
        _check_framing(event)
        return event

    async def _head(self, begins_within_s: float) -> h11.Event | None:
        """Wait for the first byte so long, and then for the rest of the head as long as a head has."""
        limit = asyncio.timeout(begins_within_s)
        loop = asyncio.get_running_loop()
        try:
            async with limit:
                has_begun = bool(self._http.trailing_data[0])
                self.is_resting = not has_begun
                while (event := self._http.next_event()) is h11.NEED_DATA:
                    data = await self._read()
                    if data and not has_begun:
                        has_begun, self.is_resting = True, False
                        limit.reschedule(loop.time() + self._bounds.head_s)
        except TimeoutError:
            if self._http.trailing_data[0]:
                raise Problem("head-slow") from None
            return None
        finally:
            self.is_resting = False
        return event if isinstance(event, h11.Event) else None

    async def body(self, largest: int) -> bytes:
        """Return the request's body.

        Raises:
            Problem: `body-too-large`, `body-slow` or `http-invalid`.
        """
        found = bytearray()
        try:
            async with asyncio.timeout(self._bounds.body_s):
                while True:
                    if self._http.they_are_waiting_for_100_continue:
                        await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                    event = self._http.next_event()
                    if event is h11.NEED_DATA:
                        await self._read()
                    elif isinstance(event, h11.Data):
                        found += event.data
                        if len(found) > largest:
                            raise Problem("body-too-large", f"at most {largest} bytes are taken")
                    else:
                        return bytes(found)
        except h11.RemoteProtocolError:
            raise Problem("http-invalid") from None
        except TimeoutError:
            raise Problem("body-slow", f"a body has {self._bounds.body_s} seconds") from None

    async def hang_up(self) -> None:
        """Return when the agent hangs up. What it sends ahead meanwhile is kept, within bounds."""
        while self._ahead < _MOST_AHEAD:
            if not await self._read():
                return
            self._ahead += _READ
        await asyncio.get_running_loop().create_future()

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin an answer; what follows are `part`s and one `end`."""
        self.has_answered = True
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send(h11.Response(status_code=status, headers=pairs, reason=b""))

    async def part(self, content: bytes) -> None:
        """Send a part of an answer."""
        if content:
            self.sent += len(content)
            await self._send(h11.Data(data=content))

    async def end(self) -> None:
        """End an answer."""
        await self._send(h11.EndOfMessage())

    async def answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        await self.begin(status, {**headers, "content-length": str(len(content))})
        await self.part(content)
        await self.end()

    async def tell(self, problem: Problem) -> None:
        """Answer with a problem, and take no more on this connection."""
        kind = KINDS[problem.code]
        headers = {"content-type": "application/problem+json", "connection": "close"}
        if kind.retry_after_s is not None:
            headers["retry-after"] = str(kind.retry_after_s)
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self.answer(kind.status, json.dumps(problem.document(KINDS)).encode(), headers)

    async def open_tunnel(self) -> bytes:
        """Say that the tunnel is open, and return what the agent sent already."""
        self.has_answered = True
        await self._send(h11.Response(status_code=200, headers=[], reason=b"Connected"))
        return bytes(self._http.trailing_data[0])

    def can_go_on(self) -> bool:
        """Make ready for another request on the connection, where both sides are done with this one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._ahead = 0
        return True

    async def close(self) -> None:
        """Close the connection; one that does not say farewell in a second is cut."""
        self.writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self.writer.wait_closed()
        self.writer.transport.abort()

    async def _read(self) -> bytes:
        try:
            data = await self.reader.read(_READ)
        except OSError:
            raise Gone from None
        self._http.receive_data(data)
        return data

    async def _send(self, event: h11.Event) -> None:
        content = self._http.send(event)
        try:
            self.writer.write(content or b"")
            async with asyncio.timeout(WRITE_LIMIT_S):
                await self.writer.drain()
        except (OSError, TimeoutError):
            raise Gone from None


def _check_framing(request: h11.Request) -> None:
    """Refuse a head whose body could end in two places, or that is of another protocol.

    Source: RFC 9112, section 6.1: both length and transfer coding in one message is an attempt at smuggling.
    """
    names = [name for name, _ in request.headers]
    has_length, has_coding = b"content-length" in names, b"transfer-encoding" in names
    if request.http_version != b"1.1" or (has_length and has_coding) or names.count(b"transfer-encoding") > 1:
        raise Problem("http-invalid")
    if request.method == b"CONNECT" and (has_length or has_coding):
        raise Problem("http-invalid")
    if b"upgrade" in names:
        raise Problem("http-invalid")
