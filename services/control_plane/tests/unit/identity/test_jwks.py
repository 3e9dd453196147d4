"""A provider's published keys, and the cache of them under rotation, outage and flood."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_control_plane.identity.jose import ALGORITHMS
from mutx_control_plane.identity.jwks import MOST_KEYS, Freshness, KeyCache, read_key_set
from mutx_control_plane.identity.provider_http import ProviderFailed
from token_mint import jwk, key_for

CERTIFICATE = {"x5c": ["MIICmzCCAYMCBgF"], "x5t": "YXQ", "x5t#S256": "c2hh"}
PROVIDERS = {
    "Okta /oauth2/v1/keys": [
        jwk("RS256", "U5R8cHbGw445Qbq8zVO1PcCpXL8yG6IcovVa3laCoxM", alg="RS256", use="sig", e="AQAB"),
        jwk("RS256", "Y3vBOdYT-l-I0j-gRQ26XjutSX00TeWiSguuDhW3ngo", 1, alg="RS256", use="sig"),
    ],
    "Auth0 /.well-known/jwks.json": [
        jwk("RS256", "NjVBRjY5MDlCMUIwNzU4RTA2QzZFMDQ4QzQ2MDAyQjVDNjk1RTM2Qg", alg="RS256", use="sig", **CERTIFICATE),
    ],
    "Keycloak /protocol/openid-connect/certs": [
        jwk("RS256", "AAAAenc", 1, alg="RSA-OAEP", use="enc", **CERTIFICATE),
        jwk("RS256", "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE", alg="RS256", use="sig", **CERTIFICATE),
    ],
    "Google /oauth2/v3/certs": [
        jwk("RS256", "5aaff47c21d06e266cce395b2145c7c6d4730ea5", alg="RS256", use="sig"),
        jwk("RS256", "28a421cafbe3dd889271df900f4bbf16db5c24d4", 1, alg="RS256", use="sig"),
    ],
    "oidc-provider /jwks": [jwk("RS256", "r1", use="sig"), jwk("ES256", "e1", use="sig"), jwk("EdDSA", "o1")],
}  # fmt: skip


@pytest.mark.parametrize("keys", PROVIDERS.values(), ids=PROVIDERS.keys())
def test_the_signing_keys_are_taken_of(keys):
    found = read_key_set({"keys": keys}, ALGORITHMS)

    assert [key.kid for key in found] == [key["kid"] for key in keys if key.get("use") != "enc"]


def without(member: str, algorithm: str = "RS256") -> dict:
    whole = jwk(algorithm)
    del whole[member]
    return whole


def private_member(name: str) -> dict:
    return jwk("RS256") | {name: "AQAB"}


def off_curve() -> dict:
    whole = jwk("ES256")
    return whole | {"y": whole["x"]}


LEFT_OUT = {
    "for encryption": jwk("RS256", use="enc"),
    "for encryption by its algorithm": jwk("RS256", alg="RSA-OAEP"),
    "for a use that is no text": jwk("RS256", use=["sig"]),
    "for signing, not for checking": jwk("RS256", key_ops=["sign"]),
    "for wrapping keys": jwk("RS256", key_ops=["wrapKey"]),
    "for operations that are no list": jwk("RS256", key_ops="verify"),
    "for an HMAC": {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "kid": "k1", "alg": "HS256"},
    "an RSA key that carries a secret": jwk("RS256", k="c2VjcmV0"),
    "for an HMAC, by its algorithm": jwk("RS256", alg="HS256"),
    "for no algorithm": jwk("RS256", alg="none"),
    "for an algorithm that is no text": jwk("RS256", alg=1),
    "for an algorithm of another kind of key": jwk("RS256", alg="ES256"),
    "for an algorithm of another curve": jwk("ES256", alg="ES384"),
    "private": private_member("d"),
    "of 1024 bits": jwk("RS256", bits=1024),
    "of an even modulus": jwk("RS256", n="0" * 342),
    "of the exponent 1": jwk("RS256", e="AQ"),
    "of an even exponent": jwk("RS256", e="AQAC"),
    "of an endless exponent": jwk("RS256", e="_" * 342),
    "of a modulus that is too large": jwk("RS256", n="_" * 1408),
    "of padded base64": jwk("RS256", e="AQAB=="),
    "of a number": jwk("RS256", e=65537),
    "without a modulus": without("n"),
    "without an exponent": without("e"),
    "without a kind": without("kty"),
    "of a kind that nobody knows": jwk("RS256", kty="AKP"),
    "of a kind that is no text": jwk("RS256", kty=["RSA"]),
    "without a curve": without("crv", "ES256"),
    "without a coordinate": without("y", "ES256"),
    "of a point off its curve": off_curve(),
    "of a point at zero": jwk("ES256", x="A" * 43, y="A" * 43),
    "of a short coordinate": jwk("ES256", x="AAAA"),
    "of a curve that nobody permitted": jwk("ES256", crv="secp256k1"),
    "for agreeing on keys": {"kty": "OKP", "crv": "X25519", "x": jwk("EdDSA")["x"], "kid": "k1"},
    "of a longer curve": {"kty": "OKP", "crv": "Ed448", "x": "A" * 76, "kid": "k1"},
    "of a name that is a number": jwk("RS256", kid=1),
    "of an endless name": jwk("RS256", kid="k" * 257),
    "a text": "RSA",
    "null": None,
    "a list": [],
    "empty": {},
}


@pytest.mark.parametrize("bad", LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_a_key_is_left_out_and_the_good_one_beside_it_taken_that_is(bad):
    good = jwk("RS256", "good")

    assert [key.kid for key in read_key_set({"keys": [bad, good]}, ALGORITHMS)] == ["good"]


def test_a_key_for_an_algorithm_that_the_provider_may_not_use_is_left_out():
    keys = [jwk("RS256", "r"), jwk("ES256", "e"), jwk("RS256", "p", 1, alg="PS256")]

    assert [key.kid for key in read_key_set({"keys": keys}, {"RS256"})] == ["r"]


SETS = {
    "nothing": {},
    "a null": {"keys": None},
    "an object": {"keys": {"k1": jwk("RS256")}},
    "an empty list": {"keys": []},
    "no key of use": {"keys": [jwk("RS256", use="enc")]},
    "too many keys": {"keys": [jwk("RS256")] * (MOST_KEYS + 1)},
}


@pytest.mark.parametrize("document", SETS.values(), ids=SETS.keys())
def test_a_set_of(document):
    with pytest.raises(ProviderFailed):
        read_key_set(document, ALGORITHMS)


@given(st.dictionaries(st.sampled_from(["kty", "n", "e", "crv", "x", "y", "use", "alg", "kid", "key_ops"]),
       st.none() | st.integers() | st.text(max_size=50) | st.lists(st.text(max_size=5), max_size=2)))  # fmt: skip
def test_a_key_with_any_members_changed_is_taken_or_left_out_and_breaks_nothing(changed):
    good = jwk("ES256", "good")

    found = read_key_set({"keys": [{**jwk("RS256"), **changed}, good]}, ALGORITHMS)

    assert found[-1].kid == "good"


class Provider:
    """A provider that publishes some keys, or is down; it counts the calls."""

    FRESH: ClassVar = Freshness(fresh_s=600, kept_s=86_400, interval_s=30)

    def __init__(self, *kids: str) -> None:
        self.kids, self.calls, self.now, self.is_down = list(kids), 0, 0.0, False
        self.gate: asyncio.Event | None = None
        self.cache = KeyCache(self.fetch, {"RS256"}, lambda: self.now, self.FRESH)

    async def fetch(self):
        self.calls += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise ProviderFailed("down")
        return {"keys": [jwk("RS256", kid) for kid in self.kids]}

    async def kids_for(self, kid: str) -> list[str]:
        return [key.kid for key in await self.cache.keys_for(kid, "RS256")]


def test_a_key_is_got_once_and_then_known():
    provider = Provider("a")

    async def scenario():
        return [await provider.kids_for("a") for _ in range(50)]

    assert asyncio.run(scenario()) == [["a"]] * 50
    assert provider.calls == 1


def test_a_new_key_is_found_at_its_first_use_once_the_interval_is_over():
    provider = Provider("a")

    async def scenario():
        await provider.kids_for("a")
        provider.kids = ["b"]
        assert await provider.kids_for("b") == []
        provider.now = 30
        return await provider.kids_for("b"), await provider.kids_for("a")

    assert asyncio.run(scenario()) == (["b"], [])
    assert provider.calls == 2


def test_a_flood_of_unknown_names_makes_one_call_in_each_interval():
    provider = Provider("a")

    async def scenario():
        for second in range(90):
            provider.now = float(second)
            names = [provider.kids_for(f"random-{second}-{each}") for each in range(50)]
            assert await asyncio.gather(*names) == [[]] * 50
        assert await provider.kids_for("a") == ["a"]

    asyncio.run(scenario())
    assert provider.calls == 3


def test_callers_at_once_share_one_call():
    provider = Provider("a")

    async def scenario():
        provider.gate = asyncio.Event()
        waiting = [asyncio.create_task(provider.kids_for("a")) for _ in range(100)]
        await asyncio.sleep(0.01)
        provider.gate.set()
        return await asyncio.gather(*waiting)

    assert asyncio.run(scenario()) == [["a"]] * 100
    assert provider.calls == 1


def test_a_caller_who_goes_away_ends_the_call_for_nobody():
    provider = Provider("a")

    async def scenario():
        provider.gate = asyncio.Event()
        first, second = (asyncio.create_task(provider.kids_for("a")) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.01)
        provider.gate.set()
        return await second

    assert asyncio.run(scenario()) == ["a"]
    assert provider.calls == 1


def test_in_an_outage_the_last_good_keys_serve_until_they_are_too_old():
    provider = Provider("a")

    async def scenario():
        await provider.kids_for("a")
        provider.is_down = True
        for provider.now in (601.0, 3_600.0, 86_399.0):
            assert await provider.kids_for("a") == ["a"]
            await asyncio.sleep(0)
        provider.now = 86_400
        with pytest.raises(ProviderFailed):
            await provider.kids_for("a")
        provider.is_down, provider.now = False, 86_430
        return await provider.kids_for("a")

    assert asyncio.run(scenario()) == ["a"]


def test_a_set_of_no_use_leaves_the_last_good_keys():
    provider = Provider("a")

    async def scenario():
        await provider.kids_for("a")
        provider.kids, provider.now = [], 30.0
        return await provider.kids_for("b"), await provider.kids_for("a")

    assert asyncio.run(scenario()) == ([], ["a"])
    assert provider.calls == 2


def test_in_an_outage_callers_do_not_wait_for_the_provider():
    provider = Provider("a")

    async def scenario():
        await provider.kids_for("a")
        provider.now, provider.gate = 700.0, asyncio.Event()  # it hangs
        found = await asyncio.wait_for(provider.kids_for("a"), 1)
        provider.gate.set()
        await asyncio.sleep(0)
        return found

    assert asyncio.run(scenario()) == ["a"]
    assert provider.calls == 2


def test_a_provider_that_is_down_from_the_start_is_asked_once_in_an_interval():
    provider = Provider("a")
    provider.is_down = True

    async def scenario():
        for _ in range(20):
            with pytest.raises(ProviderFailed):
                await provider.kids_for("a")

    asyncio.run(scenario())
    assert provider.calls == 1


def test_keys_are_got_anew_when_they_are_no_longer_fresh_so_that_a_withdrawn_one_ends():
    provider = Provider("a", "b")

    async def scenario():
        await provider.kids_for("a")
        provider.kids, provider.now = ["b"], 600.0
        await provider.kids_for("b")
        for _ in range(3):
            await asyncio.sleep(0)
        return await provider.kids_for("a")

    assert asyncio.run(scenario()) == []


@pytest.mark.parametrize(("kids", "found"), [(["a"], ["a"]), (["a", "b"], [])], ids=["one key", "several"])
def test_a_token_without_a_name_fits_only_where_there_is_one_key(kids, found):
    provider = Provider(*kids)

    assert asyncio.run(provider.kids_for("")) == found


def test_two_keys_of_one_name_are_both_tried():
    provider = Provider("a", "a")

    assert asyncio.run(provider.kids_for("a")) == ["a", "a"]


def test_a_key_that_is_taken_holds_no_private_part():
    (key,) = read_key_set({"keys": [jwk("RS256")]}, ALGORITHMS)

    assert not key.key.is_private
    assert key.key.raw_value.public_numbers() == key_for("RS256").public_key().public_numbers()
