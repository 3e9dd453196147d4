"""Where a request comes from, and how often it may try."""

from __future__ import annotations

import asyncio
import ipaddress
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_control_plane.identity.address import client_address
from mutx_control_plane.identity.throttle import Rate, Throttle
from mutx_service.problem import Problem

PROXIES = [ipaddress.ip_network(each) for each in ("10.0.0.0/24", "fd00::/64")]
ADDRESSES = {
    "no proxy, no header": ("203.0.113.7", [], "203.0.113.7"),
    "no proxy, a forged header": ("203.0.113.7", ["1.1.1.1"], "203.0.113.7"),
    "no proxy, a header that names a proxy": ("203.0.113.7", ["10.0.0.1"], "203.0.113.7"),
    "a proxy": ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
    "a proxy that adds to a forged header": ("10.0.0.1", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
    "a proxy, and a forged header of its own": ("10.0.0.1", ["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
    "two proxies": ("10.0.0.1", ["1.1.1.1, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
    "a proxy, and a forged proxy behind the caller": ("10.0.0.1", ["10.0.0.9, 203.0.113.7"], "203.0.113.7"),
    "a proxy that says nothing": ("10.0.0.1", [], "10.0.0.1"),
    "only proxies": ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    "a proxy that says a word": ("10.0.0.1", ["unknown"], "10.0.0.1"),
    "a word left of the caller": ("10.0.0.1", ["evil, 203.0.113.7"], "203.0.113.7"),
    "a word between proxies": ("10.0.0.1", ["203.0.113.7, evil, 10.0.0.2"], "10.0.0.2"),
    "an empty header": ("10.0.0.1", [""], "10.0.0.1"),
    "an address in IPv6's form": ("::ffff:10.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
    "IPv6, one site": ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
    "IPv6 behind a proxy": ("fd00::1", ["2001:db8:1:2::9"], "2001:db8:1:2::/64"),
    "a unix socket": ("", ["203.0.113.7"], ""),
    "an octal address": ("10.0.0.1", ["0203.0.113.7"], "10.0.0.1"),
    "more hops than anybody has": (
        "10.0.0.1",
        [", ".join(["10.0.0.2"] * 99 + ["203.0.113.7"])],
        "203.0.113.7",
    ),
}


@pytest.mark.parametrize(("peer", "forwarded", "found"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_a_caller_is_found_with(peer, forwarded, found):
    assert client_address(peer, forwarded, PROXIES) == found


@given(st.lists(st.text(max_size=40), max_size=4))
def test_whatever_a_caller_writes_it_is_who_connects(headers):
    assert client_address("203.0.113.7", headers, PROXIES) == "203.0.113.7"


@given(st.lists(st.text(alphabet="0123456789.,:abcdef ", max_size=40), max_size=3))
def test_whatever_a_caller_writes_the_proxy_saw_who_connects(headers):
    told = [*headers[:-1], f"{headers[-1]}, 203.0.113.7"] if headers else ["203.0.113.7"]

    assert client_address("10.0.0.1", told, PROXIES) == "203.0.113.7"


def throttle(requests: int = 3, window_s: int = 60) -> Throttle:
    return Throttle(Rate(requests, window_s), "", time.time)


async def tries(throttle: Throttle, *calls: tuple[str, str]) -> list[bool]:
    """Say of each try whether it was let on."""
    found = []
    for address, account in calls:
        try:
            await throttle.count(address, account)
        except Problem:
            found.append(False)
        else:
            found.append(True)
    return found


def test_so_many_tries_of_an_address_are_let_on_and_no_more():
    assert asyncio.run(tries(throttle(), *[("1.1.1.1", "")] * 5)) == [True] * 3 + [False] * 2


def test_so_many_tries_at_an_account_are_let_on_from_however_many_addresses():
    calls = [(f"1.1.1.{each}", "ann@acme.example") for each in range(5)]

    assert asyncio.run(tries(throttle(), *calls)) == [True] * 3 + [False] * 2


def test_one_address_at_many_accounts_is_stopped():
    calls = [("1.1.1.1", f"user-{each}") for each in range(5)]

    assert asyncio.run(tries(throttle(), *calls)) == [True] * 3 + [False] * 2


def test_a_refused_address_counts_for_no_account():
    over = [("1.1.1.1", "")] * 3 + [("1.1.1.1", "ann")] * 10

    assert asyncio.run(tries(throttle(), *over, ("2.2.2.2", "ann"))) == [True] * 3 + [False] * 10 + [True]


def test_an_account_and_an_address_of_one_name_are_two():
    assert asyncio.run(tries(throttle(1), ("ann", ""), ("1.1.1.1", "ann"))) == [True, True]


def test_an_account_of_half_a_character_is_counted():
    assert asyncio.run(tries(throttle(1), ("1.1.1.1", "\ud800"), ("2.2.2.2", "\ud800"))) == [True, False]


def test_tries_at_once_are_counted_each():
    async def scenario():
        shared = throttle()
        return await asyncio.gather(*(tries(shared, ("1.1.1.1", "")) for _ in range(20)))

    assert sum(each == [True] for each in asyncio.run(scenario())) == 3


def test_a_refused_try_is_told_when_the_next_is_let_on():
    async def scenario():
        shared = throttle(1, 30)
        await shared.count("1.1.1.1")
        with pytest.raises(Problem, match="rate-limited") as refused:
            await shared.count("1.1.1.1")
        return refused.value.retry_after_s

    assert 28 <= asyncio.run(scenario()) <= 30


def test_after_its_window_an_address_is_let_on_again():
    async def scenario():
        shared = throttle(1, 1)
        before = await tries(shared, ("1.1.1.1", ""), ("1.1.1.1", ""))
        await asyncio.sleep(1.05)
        return before + await tries(shared, ("1.1.1.1", ""))

    assert asyncio.run(scenario()) == [True, False, True]
