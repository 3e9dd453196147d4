"""Rate limits over workers that share a server, and while it is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mutx_control_plane.identity.throttle import Rate, Throttle
from mutx_service.problem import Problem
from redis_process import RedisServer


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, "--appendonly", "no")
    server.start()
    yield server
    server.kill()


@asynccontextmanager
async def workers(valkey: RedisServer, count: int = 1) -> AsyncIterator[list[Throttle]]:
    made = [Throttle(Rate(5, 60), valkey.url, time.time) for _ in range(count)]
    try:
        yield made
    finally:
        for each in made:
            await each.close()


async def passes(throttle: Throttle, address: str = "1.1.1.1", account: str = "") -> bool:
    try:
        await throttle.count(address, account)
    except Problem:
        return False
    return True


def test_workers_share_one_count_under_a_race(valkey):
    async def scenario():
        async with workers(valkey, 4) as each:
            return await asyncio.gather(*(passes(each[turn % 4]) for turn in range(40)))

    assert sum(asyncio.run(scenario())) == 5


def test_no_address_of_a_mailbox_stands_in_the_server(valkey):
    async def scenario():
        async with workers(valkey) as (one,):
            assert await passes(one, account="canary@acme.example")

    asyncio.run(scenario())

    keys = " ".join(valkey.keys())
    assert "mutx-control-plane:auth:1" in keys
    assert "canary" not in keys


def test_while_the_server_is_gone_each_worker_counts_for_itself_and_then_shares_again(valkey):
    async def scenario():
        async with workers(valkey) as (one,):
            assert await passes(one)
            valkey.kill()
            alone = [await passes(one) for _ in range(7)]
            valkey.start()
            again = [await passes(one) for _ in range(7)]
            return alone, again

    alone, again = asyncio.run(scenario())

    assert sum(alone) == 5
    assert sum(again) == 5  # what it had counted is gone with it
