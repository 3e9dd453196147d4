"""How often somebody may try to prove who they are: by account and by address, over all workers (AUTH-8).

What is refused is not counted, and an address that is over its limit counts for no account: so one address alone keeps
nobody else out for longer than a window. While Redis cannot be reached each worker counts for itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from mutx_service.journal import write_event
from mutx_service.problem import Problem
from redis.asyncio import BlockingConnectionPool

_PREFIX = "mutx-control-plane:auth:1"
"""The number is of the form of what is kept."""
_TIMEOUT_S = 1.0
_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many tries within any window of so many seconds, of one account and of one address each."""

    requests: int = 20
    window_s: int = 60


class Throttle:
    """Counts tries. For one event loop.

    Args:
        rate: what is let on.
        redis_url: `redis://`, `rediss://` or `unix://`; empty counts in this process alone.
        clock: seconds since 1970, for `Retry-After`.
    """

    def __init__(self, rate: Rate, redis_url: str, clock: Callable[[], float]) -> None:
        self._item = RateLimitItemPerSecond(rate.requests, rate.window_s)
        self._clock = clock
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._pool = _connections(redis_url) if redis_url else None
        self._shared = MovingWindowRateLimiter(_storage(redis_url, self._pool)) if self._pool else None
        self._is_down = False

    async def count(self, address: str, account: str = "") -> None:
        """Count a try of an address, and of an account where it names one (whether there is such an account or not).

        Raises:
            Problem: `rate-limited`, with the seconds until the next one is let on.
        """
        await self._count("address", address)
        if account:
            # An e-mail address is nobody's business in Redis, and as long as somebody likes.
            await self._count("account", sha256(account.encode(errors="replace")).hexdigest())

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.disconnect()

    async def _count(self, kind: str, who: str) -> None:
        try:
            if self._shared is not None:
                await self._hit(self._shared, kind, who)
                self._is_down = False
                return
        except StorageError:
            if not self._is_down:
                write_event("rate-limits-not-shared", {})
            self._is_down = True
        await self._hit(self._own, kind, who)

    async def _hit(self, limiter: MovingWindowRateLimiter, kind: str, who: str) -> None:
        if await limiter.hit(self._item, _PREFIX, kind, who):
            return
        stats = await limiter.get_window_stats(self._item, _PREFIX, kind, who)
        raise Problem("rate-limited", retry_after_s=max(1, math.ceil(stats.reset_time - self._clock())))


def _connections(url: str) -> BlockingConnectionPool:
    return BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=_TIMEOUT_S,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
    )


def _storage(url: str, pool: BlockingConnectionPool) -> RedisStorage:
    # It knows a unix socket under another name than redis does.
    known = f"redis+{url}" if url.startswith("unix://") else url
    return RedisStorage(
        known,
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix=_PREFIX,
        connection_pool=pool,  # type: ignore[arg-type] # handed on as it is
    )
