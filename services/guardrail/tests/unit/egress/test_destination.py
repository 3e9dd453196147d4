"""Where a tunnel may lead: names, patterns, and addresses of the Internet only."""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.egress.destination import Dialer, Target, is_public, parse_target
from mutx_guardrail.egress.rules import is_permitted
from mutx_service.problem import Problem

NAMES = ("api.openai.com", "*.openai.azure.com")


@pytest.mark.parametrize("text", ["api.openai.com:443", "API.OpenAI.com:443", "eu-1.openai.azure.com:443"])
def test_a_permitted_target_is_read(text):
    assert parse_target(text, NAMES, {443}) == Target(text.lower().removesuffix(":443"), 443)


@pytest.mark.parametrize(
    ("host", "permitted"),
    [("api.openai.com", True), ("x.api.openai.com", False), ("a.b.openai.azure.com", True), ("openai.azure.com", False),
     ("evilopenai.azure.com", False), ("api.openai.com.evil.example", False)],
)  # fmt: skip
def test_a_suffix_stands_for_what_is_below_it(host, permitted):
    assert is_permitted(host, NAMES) is permitted


@given(st.text(max_size=60))
def test_no_text_leads_anywhere_but_to_a_permitted_name(text):
    with suppress(Problem):
        assert is_permitted(parse_target(text, NAMES, {443}).host, NAMES)


@given(st.ip_addresses(v=4))
def test_ipv6_hides_no_address_of_ipv4(inner):
    forms = [
        f"::ffff:{inner}",
        f"64:ff9b::{inner}",
        str(ipaddress.IPv6Address((0x2002 << 112) | (int(inner) << 80))),
    ]

    assert {is_public(ipaddress.ip_address(form)) for form in forms} == {is_public(inner)}


@pytest.mark.parametrize("address", ["8.8.8.8", "104.18.0.1", "2606:4700::6812:1"])
def test_addresses_of_the_internet_are_public(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["no address"], []])
def test_nothing_is_connected_where_an_answer_is_not_all_public(addresses):
    """Sockets are blocked here: a connection would fail otherwise than by a problem."""

    async def resolve(_host: str, _port: int) -> list[str]:
        return addresses

    with pytest.raises(Problem) as refused:
        asyncio.run(Dialer(frozenset(), 5, resolve).dial(Target("api.openai.com", 443)))

    assert refused.value.code in {"address-refused", "target-unknown"}


def test_a_resolver_that_does_not_answer_is_given_up():
    async def resolve(_host: str, _port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    with pytest.raises(Problem) as refused:
        asyncio.run(Dialer(frozenset(), 0.01, resolve).dial(Target("api.openai.com", 443)))

    assert refused.value.code == "target-slow"
