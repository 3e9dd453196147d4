"""What other processes do with a server of Redis's protocol."""

from __future__ import annotations

from mutx_guardrail.anomaly.redis_store import RedisStore, connect


def take_places(url: str, prefix: str, count: int) -> int:
    """Take of 100 places, as another process does; return how many were had."""
    with connect(url, timeout_s=5) as client:
        store = RedisStore(client, prefix)
        return sum(store.take("rate:a", 100, 60_000_000) == 0 for _ in range(count))


def report_errors(url: str, prefix: str, count: int) -> None:
    """Append to one state, as another process does."""
    from anomaly_contract import append  # noqa: PLC0415 - it imports pytest

    with connect(url, timeout_s=5) as client:
        store = RedisStore(client, prefix, timeout_s=20)
        for _ in range(count):
            store.change("length:a", append(b"x"), is_vital=False)
