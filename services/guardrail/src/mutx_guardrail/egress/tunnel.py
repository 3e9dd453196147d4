"""A tunnel: bytes between an agent and one permitted name, TLS between the two, unopened.

The first thing an agent says through it must be a TLS hello for the very name that it asked for. What is inside is not
seen: a provider that lets a connection to one of its names reach another of them is a matter of the allow-list.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

from mutx_service.problem import Problem

from mutx_guardrail.egress.client_hello import (
    UNRECOGNIZED_NAME,
    HelloError,
    SecondHello,
    client_hello,
    server_name,
)
from mutx_guardrail.egress.destination import Dialer, Target
from mutx_guardrail.egress.record import Record, Write
from mutx_guardrail.egress.settings import Bounds
from mutx_guardrail.egress.wire import Gone, Wire

HELLO_LIMIT_S = 10
_READ = 64 * 1024


@dataclass(slots=True)
class _Count:
    out: int = 0
    back: int = 0


class Tunnels:
    """Opens tunnels, so many at once."""

    def __init__(self, dialer: Dialer, bounds: Bounds, write: Write) -> None:
        self._dialer, self._bounds, self._write = dialer, bounds, write
        self._open: dict[str, int] = {}

    async def serve(self, wire: Wire, agent: str, target: Target) -> None:
        """Open a tunnel and carry what goes through it, to its end.

        Raises:
            Problem: it is not opened; nothing was answered yet.
        """
        if (
            sum(self._open.values()) >= self._bounds.tunnels
            or self._open.get(agent, 0) >= self._bounds.tunnels_of_one
        ):
            raise Problem("egress-busy")
        self._open[agent] = self._open.get(agent, 0) + 1
        try:
            await self._serve(wire, agent, target)
        finally:
            self._open[agent] -= 1
            if not self._open[agent]:
                del self._open[agent]

    async def _serve(self, wire: Wire, agent: str, target: Target) -> None:
        fields = {"agent": agent, "provider": target.host, "port": target.port, "model": ""}
        record, count, status = Record("egress-tunnel", fields, self._write), _Count(), "cancelled"
        try:
            reader, writer = await self._dialer.dial(target)
            try:
                status = await self._carry(wire, target, (reader, writer), count)
            finally:
                writer.close()
        except Problem as problem:
            status = problem.code
            raise
        except Gone:
            status = "hung-up"
        finally:
            record.end(status, bytes_out=count.out, bytes_in=count.back)

    async def _carry(
        self,
        wire: Wire,
        target: Target,
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        count: _Count,
    ) -> str:
        begun = await wire.open_tunnel()
        second = SecondHello(target.host)
        try:
            async with asyncio.timeout(HELLO_LIMIT_S):
                begun, more = await _hello(wire, target, begun)
            begun += second.pass_on(more)
        except (HelloError, TimeoutError):
            wire.writer.write(UNRECOGNIZED_NAME)
            with suppress(OSError):
                await wire.writer.drain()
            return "hello-refused"
        count.out += len(begun)
        far[1].write(begun)
        return await self._pump(wire, far, second, count)

    async def _pump(
        self,
        wire: Wire,
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        second: SecondHello,
        count: _Count,
    ) -> str:
        """Carry bytes both ways until one side ends, nothing goes through for long, or the time is over."""
        loop = asyncio.get_running_loop()
        # A certificate that has expired carries nothing on.
        lasts_s = min(self._bounds.tunnel_s, wire.peer.expires - time.time())
        end = loop.time() + lasts_s
        limit = asyncio.timeout_at(min(end, loop.time() + self._bounds.idle_s))

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_out: bool) -> None:
            with suppress(OSError):
                while part := await reader.read(_READ):
                    limit.reschedule(min(end, loop.time() + self._bounds.idle_s))
                    if is_out:
                        part = second.pass_on(part)
                        count.out += len(part)
                    else:
                        count.back += len(part)
                    writer.write(part)
                    await writer.drain()

        both = [
            asyncio.create_task(pump(wire.reader, far[1], is_out=True)),
            asyncio.create_task(pump(far[0], wire.writer, is_out=False)),
        ]
        try:
            async with limit:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            return "expired" if loop.time() >= end else "idle"
        else:
            is_refused = both[0].done() and isinstance(both[0].exception(), HelloError)
            return "hello-refused" if is_refused else "closed"
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)


async def _hello(wire: Wire, target: Target, begun: bytes) -> tuple[bytes, bytes]:
    """Return the records of a whole hello for the target, and what was sent behind it.

    Raises:
        HelloError: it is no such hello.
    """
    while (hello := client_hello(begun)) is None:
        part = await wire.reader.read(_READ)
        if not part:
            raise HelloError("no end of the hello")
        begun += part
    if server_name(hello.message) != target.host:
        raise HelloError("another name")
    return begun[: hello.size], begun[hello.size :]
