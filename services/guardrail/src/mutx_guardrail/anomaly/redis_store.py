"""State in Redis (or Valkey), shared by the replicas and kept over restarts.

Rate windows are one script on the server. Other states are read, changed here, and written if nobody else wrote
meanwhile; threads of one process wait for each other, so only replicas ever try again. Time is the server's.

The server must not evict (`maxmemory-policy noeviction`): then a full one refuses, and nothing passes uncounted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mutx_guardrail.anomaly.store import Step, StoreUnavailable
from mutx_guardrail.breaker import Breaker

T = TypeVar("T")

PREFIX: Final = "mutx-guardrail:1:"
"""The number is of the form of what is kept."""
FAILURES, REST_S = 3, 0.5
_LOCKS: Final = 64

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2] + ARGV[1]
"""
_TAKE: Final = (
    _NOW
    + """
local key, limit, window = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local text = string.format('%.0f', now)
local newest = redis.call('LINDEX', key, 0)
if newest and tonumber(newest) <= now - window then
  redis.call('DEL', key)
elseif newest and tonumber(newest) > now then
  local taken = redis.call('LRANGE', key, 0, -1)
  redis.call('DEL', key)
  for _, at in ipairs(taken) do
    redis.call('RPUSH', key, tonumber(at) > now and text or at)
  end
  redis.call('PEXPIRE', key, math.ceil(window / 1000))
end
local edge = redis.call('LINDEX', key, limit - 1)
if edge and tonumber(edge) > now - window then
  return tonumber(edge) + window - now
end
redis.call('LPUSH', key, text)
redis.call('LTRIM', key, 0, limit - 1)
redis.call('PEXPIRE', key, math.ceil(window / 1000))
return 0
"""
)
_READ: Final = _NOW + "return {string.format('%.0f', now), redis.call('GET', KEYS[1])}"
_SWAP: Final = """
local now = redis.call('GET', KEYS[1]) or ''
if now ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
return 1
"""


def connect(url: str, timeout_s: float = 0.25, connections: int = 64, **options: object) -> redis.Redis:
    """Return a client that waits no longer than `timeout_s` for a connection, a reply or its turn, and tries once.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        timeout_s: of each wait.
        connections: at most, in this process.
        options: of `redis.Redis.from_url`, as `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `username`, `password`.

    Raises:
        ValueError: it is no such URL.
    """
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        **options,
    )
    return redis.Redis.from_pool(pool)


class RedisStore:
    """A store in Redis.

    A server that fails three times in a row is left alone for half a second, then tried by one call.

    Args:
        client: as `connect` returns it.
        timeout_s: for a change, with all its tries; the client's own bounds each reply.
        shift: microseconds that the server's clock is moved by; tests set the clock with it.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        client: redis.Redis,
        prefix: str = PREFIX,
        timeout_s: float = 0.5,
        shift: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._prefix, self._timeout_s = client, prefix, timeout_s
        self._shift, self._clock = shift, clock
        self._take, self._read, self._swap = (client.register_script(text) for text in (_TAKE, _READ, _SWAP))
        self._breaker, self._breaker_lock = Breaker(FAILURES, REST_S, clock), threading.Lock()
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def take(self, key: str, limit: int, window_us: int) -> int:
        """Take a place (see `Store`)."""
        with self._asked():
            return int(self._take(keys=[self._prefix + key], args=[self._shift(), limit, window_us]))

    def change(self, key: str, step: Step[T], *, is_vital: bool) -> T:  # noqa: ARG002 - nothing is forgotten here
        """Change a state (see `Store`)."""
        name, deadline = self._prefix + key, self._clock() + self._timeout_s
        lock = self._locks[hash(key) % _LOCKS]
        if not lock.acquire(timeout=self._timeout_s):
            raise StoreUnavailable("another request changes the same agent for too long")
        try:
            while self._clock() < deadline:
                with self._asked():
                    now, before = self._read(keys=[name], args=[self._shift()])
                change = step(before, int(now))
                if change.state == before:
                    return change.told
                with self._asked():
                    if self._swap(keys=[name], args=[before or b"", change.state or b"", change.ttl_s]):
                        return change.told
        finally:
            lock.release()
        raise StoreUnavailable("other replicas change the same agent for too long")

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Translate the client's errors, and count them."""
        with self._breaker_lock:
            if not self._breaker.enter():
                raise StoreUnavailable("the store failed and is left alone for a while")
        try:
            yield
        except redis.RedisError as error:
            with self._breaker_lock:
                self._breaker.fail()
            raise StoreUnavailable(f"the store failed ({type(error).__name__})") from None
        else:
            with self._breaker_lock:
                self._breaker.succeed()
        finally:
            with self._breaker_lock:
                self._breaker.leave()
