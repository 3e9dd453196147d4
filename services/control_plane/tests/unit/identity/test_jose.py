"""Signed tokens: the right ones are taken, and every other one is refused, whoever signed it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from mutx_control_plane.identity.jose import (
    ALGORITHMS,
    LONGEST,
    TokenRefused,
    looks_signed,
    parse_token,
    verified_claims,
)
from token_mint import b64, good_claims, jwk, key_for, mint, sign_bytes, verifying

FAMILIES = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
]


def verify(token: str, algorithm: str = "RS256", allowed=frozenset(ALGORITHMS)):
    return verified_claims(parse_token(token), [verifying(algorithm)], allowed)


def refusal(token: str, algorithm: str = "RS256", allowed=frozenset(ALGORITHMS)) -> str:
    with pytest.raises(TokenRefused) as refused:
        verify(token, algorithm, allowed)
    return refused.value.reason


@pytest.mark.parametrize("algorithm", FAMILIES)
def test_a_token_of_each_permitted_algorithm_is_taken(algorithm):
    claims = verify(mint(algorithm=algorithm), algorithm, {algorithm})

    assert claims == good_claims()


@pytest.mark.parametrize("algorithm", FAMILIES)
def test_an_algorithm_that_the_issuer_may_not_use_is_refused_though_rightly_signed(algorithm):
    others = set(ALGORITHMS) - {algorithm}

    assert refusal(mint(algorithm=algorithm), algorithm, others) == "algorithm"


@pytest.mark.parametrize("algorithm", FAMILIES)
def test_another_key_of_the_same_kind_verifies_nothing(algorithm):
    assert refusal(mint(algorithm=algorithm, which=1), algorithm) == "signature"


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "none ", "", "null"])
@pytest.mark.parametrize("signature", ["", "AA", "c2ln"])
def test_no_signature_is_no_algorithm_in_any_case(name, signature):
    token = f"{b64({'alg': name})}.{b64(good_claims())}.{signature}"

    assert refusal(token) == "algorithm"


@pytest.mark.parametrize("name", ["HS256", "HS384", "HS512", "hs256"])
@pytest.mark.parametrize(
    "form",
    [(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)],
    ids=["pem", "der"],
)
def test_a_public_key_is_no_secret_of_an_hmac(name, form):
    secret = key_for("RS256").public_key().public_bytes(*form)
    signed = f"{b64({'alg': name, 'kid': 'k1'})}.{b64(good_claims())}"
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()

    assert refusal(f"{signed}.{b64(mac)}") == "algorithm"


@pytest.mark.parametrize(
    "name",
    [
        "rs256",
        "RS-256",
        "RS256\x00",
        "RS1",
        "ES256K",
        "ES256K-R",
        "Ed448",
        "RSA-OAEP",
        "dir",
        "A128KW",
        "ML-DSA-44",
    ],
)
def test_an_algorithm_of_no_list_is_refused(name):
    assert refusal(mint(header={"alg": name, "kid": "k1"})) == "algorithm"


@pytest.mark.parametrize("value", [None, 256, True, ["RS256"], {"name": "RS256"}], ids=repr)
def test_an_algorithm_that_is_no_text_is_refused(value):
    assert refusal(mint(header={"alg": value, "kid": "k1"})) == "algorithm"


def test_a_header_without_an_algorithm_is_refused():
    assert refusal(mint(header={"kid": "k1"})) == "algorithm"


@pytest.mark.parametrize(
    ("claimed", "really"),
    [("RS256", "PS256"), ("PS256", "RS256"), ("RS256", "RS512"), ("RS512", "RS256"), ("PS384", "PS256")],
)
def test_a_signature_made_in_another_way_than_the_header_says_is_refused(claimed, really):
    head = b64({"alg": claimed, "kid": "k1"})
    signed = f"{head}.{b64(good_claims())}"
    signature = sign_bytes(really, signed.encode(), key_for("RS256"))

    assert refusal(f"{signed}.{b64(signature)}") == "signature"


@pytest.mark.parametrize(
    ("signed_as", "published"),
    [("ES256", "ES384"), ("ES384", "ES256"), ("ES256", "RS256"), ("RS256", "ES256"), ("EdDSA", "ES256")],
)
def test_a_key_of_another_kind_or_curve_is_not_tried(signed_as, published):
    assert refusal(mint(algorithm=signed_as), published) == "key-unknown"


def test_a_key_that_was_published_for_one_algorithm_serves_no_other():
    key = verifying("RS256")
    bound = type(key)(key.kid, "RS512", key.key)

    with pytest.raises(TokenRefused, match="key-unknown"):
        verified_claims(parse_token(mint()), [bound], ALGORITHMS)


def test_a_key_published_as_eddsa_serves_the_newer_name_of_the_same_algorithm():
    key = verifying("EdDSA")
    bound = type(key)(key.kid, "EdDSA", key.key)

    assert verified_claims(parse_token(mint(algorithm="Ed25519")), [bound], ALGORITHMS)


def test_no_keys_verify_nothing():
    with pytest.raises(TokenRefused, match="key-unknown"):
        verified_claims(parse_token(mint()), [], ALGORITHMS)


def test_one_of_two_keys_of_the_same_name_is_enough():
    keys = [verifying("RS256", which=1), verifying("RS256")]

    assert verified_claims(parse_token(mint()), keys, ALGORITHMS) == good_claims()


HEADERS = {
    "a key that it brings": {"jwk": jwk("RS256", which=1)},
    "the address of a key set": {"jku": "https://evil.example/keys"},
    "the address of a certificate": {"x5u": "https://evil.example/cert"},
    "a certificate": {"x5c": ["MIIB"]},
    "an extension that must be understood": {"crit": ["exp"], "exp": 1},
    "an empty list of extensions": {"crit": []},
    "an unencoded payload": {"b64": False, "crit": ["b64"]},
    "b64 that changes nothing": {"b64": True},
    "another token within": {"cty": "JWT"},
    "encryption": {"enc": "A128GCM"},
    "compression": {"zip": "DEF"},
    "a password's rounds": {"p2c": 1_000_000_000},
    "a path as its key": {"kid": "../../../../dev/null"},
    "an absolute path as its key": {"kid": "/etc/passwd"},
    "two dots as its key": {"kid": "a..b"},
    "SQL as its key": {"kid": "k1' OR '1'='1"},
    "a command as its key": {"kid": "k1;curl evil"},
    "a key with a line's end": {"kid": "k1\n"},
    "a key with a NUL": {"kid": "k1\0"},
    "an address as its key": {"kid": "https://evil.example/k"},
    "a key of another script": {"kid": "\u043a1"},
    "an empty key": {"kid": ""},
    "an endless key": {"kid": "k" * 257},
    "a key that is no text": {"kid": ["k1"]},
    "a key that is a number": {"kid": 1},
    "a key that is null": {"kid": None},
    "a kind that is no text": {"typ": 1},
    "an endless kind": {"typ": "j" * 65},
}


@pytest.mark.parametrize("members", HEADERS.values(), ids=HEADERS.keys())
def test_a_header_is_refused_that_brings(members):
    token = mint(header={"alg": "RS256", "kid": "k1", **members})

    assert refusal(token) == "header"


def test_a_key_in_the_header_is_not_used_though_it_made_the_signature():
    token = mint(header={"alg": "RS256", "jwk": jwk("RS256", which=1)}, which=1)

    assert refusal(token) == "header"


def test_a_member_that_nobody_knows_is_ignored_as_the_standard_asks():
    token = mint(header={"alg": "RS256", "kid": "k1", "x5t": "abc", "vendor": {"a": 1}})

    assert verify(token) == good_claims()


@pytest.mark.parametrize("kid", ["k", "k" * 256, "2b:1c", "a-b_c.d~e", "AbC=", "k1@host", "a+b="])
def test_keys_named_as_providers_name_them_are_read(kid):
    assert parse_token(mint(header={"alg": "RS256", "kid": kid})).kid == kid


@pytest.mark.parametrize(
    ("typ", "read"),
    [("JWT", "jwt"), ("at+jwt", "at+jwt"), ("application/at+jwt", "at+jwt"), ("AT+JWT", "at+jwt")],
)
def test_a_kind_is_read_in_one_form(typ, read):
    assert parse_token(mint(header={"alg": "RS256", "typ": typ})).typ == read


HEAD, BODY, SIGNATURE = mint().split(".")
BAD_HEADERS = {
    "no object": b"[]",
    "no JSON": b"{alg:RS256}",
    "no UTF-8": b'{"alg":"RS256","kid":"\xff"}',
    "behind a byte-order mark": b'\xef\xbb\xbf{"alg":"RS256"}',
    "of two algorithms": b'{"alg":"RS256","alg":"none"}',
    "JSON and then more": b'{"alg":"RS256"}{}',
}
FORMS = {
    "nothing": "",
    "one part": HEAD,
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{HEAD}.{BODY}.{SIGNATURE}.",
    "the five parts of encryption": f"{HEAD}.{BODY}.{SIGNATURE}.{BODY}.{SIGNATURE}",
    "an empty header": f".{BODY}.{SIGNATURE}",
    "an empty payload": f"{HEAD}..{SIGNATURE}",
    "a space before": f" {HEAD}.{BODY}.{SIGNATURE}",
    "a line's end after": f"{HEAD}.{BODY}.{SIGNATURE}\n",
    "a line's end within": f"{HEAD}.{BODY[:8]}\n{BODY[8:]}.{SIGNATURE}",
    "padding of the header": f"{HEAD}=.{BODY}.{SIGNATURE}",
    "padding of the signature": f"{HEAD}.{BODY}.{SIGNATURE}==",
    "the other alphabet": f"{HEAD}.{BODY}.{'+/' + SIGNATURE[2:]}",
    "a letter that is none": f"{HEAD}.{BODY}.{'*' + SIGNATURE[1:]}",
    "a letter of another script": f"{HEAD}.{BODY}.{'é' + SIGNATURE[1:]}",
    "a NUL": f"{HEAD}.{BODY}.{SIGNATURE}\0",
    **{
        f"a header that is {name}": f"{b64(header)}.{BODY}.{SIGNATURE}"
        for name, header in BAD_HEADERS.items()
    },
    "too long": f"{HEAD}.{'A' * LONGEST}.{SIGNATURE}",
}


@pytest.mark.parametrize("token", FORMS.values(), ids=FORMS.keys())
def test_a_token_is_refused_of_the_form(token):
    assert refusal(token) == "form"


PAYLOADS = {
    "a name twice": b'{"sub":"a","sub":"b"}',
    "a name twice by an escape": b'{"sub":"a","s\\u0075b":"b"}',
    "a name twice within": b'{"a":{"roles":[],"roles":["x"]}}',
    "a list": b"[1]",
    "a text": b'"sub"',
    "not a number": b'{"exp":NaN}',
    "infinity": b'{"exp":Infinity}',
    "half a character": b'{"sub":"\\ud800"}',
    "a tower": b'{"a":' * 40 + b"1" + b"}" * 40,
    "a tower that would break a parser": b'{"a":' * 1500 + b"1" + b"}" * 1500,
    "a number of thousands of digits": b'{"exp":' + b"9" * 5000 + b"}",
    "nothing": b"",
    "UTF-16": '{"sub":"a"}'.encode("utf-16"),
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_a_rightly_signed_payload_is_refused_that_is(payload):
    assert refusal(mint(payload)) == "form"


def test_a_last_character_that_says_the_same_bytes_in_another_way_is_refused():
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = SIGNATURE[:-1] + letters[letters.index(SIGNATURE[-1]) + 1]
    pad = "=" * (-len(other) % 4)
    assert base64.urlsafe_b64decode(other + pad) == base64.urlsafe_b64decode(SIGNATURE + pad)

    assert refusal(f"{HEAD}.{BODY}.{other}") == "form"


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES512", "EdDSA"])
@pytest.mark.parametrize("change", ["empty", "a byte less", "a byte more", "all zero", "DER's form", "twice"])
def test_a_signature_of_another_size_or_form_is_refused(algorithm, change):
    head, body, _ = mint(algorithm=algorithm).split(".")
    good = sign_bytes(algorithm, f"{head}.{body}".encode(), key_for(algorithm))
    changed = {
        "empty": b"",
        "a byte less": good[:-1],
        "a byte more": good + b"\0",
        "all zero": bytes(len(good)),
        "DER's form": b"\x30\x45" + good,
        "twice": good + good,
    }[change]

    assert refusal(f"{head}.{body}.{b64(changed)}", algorithm) == "signature"


@pytest.mark.parametrize(("r", "s"), [(0, 0), (0, 1), (1, 0), ("n", 1), (1, "n"), ("n", "n")], ids=str)
def test_numbers_that_no_ecdsa_signature_has_are_refused(r, s):
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = (order if each == "n" else each for each in (r, s))
    head, body, _ = mint(algorithm="ES256").split(".")

    assert refusal(f"{head}.{body}.{b64(r.to_bytes(32) + s.to_bytes(32))}", "ES256") == "signature"


@given(st.sampled_from(["ES256", "RS256", "EdDSA"]), st.data())
def test_a_token_with_one_character_changed_is_never_taken(algorithm, data):
    token = mint(algorithm=algorithm)
    at = data.draw(st.integers(0, len(token) - 1))
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ "
    letter = data.draw(st.sampled_from(letters).filter(lambda each: each != token[at]))

    refusal(token[:at] + letter + token[at + 1 :], algorithm)


@given(st.sampled_from(["ES256", "RS256", "EdDSA"]), st.data())
def test_parts_of_two_good_tokens_make_no_third(algorithm, data):
    first, second = mint(algorithm=algorithm).split("."), mint(algorithm=algorithm, sub="other").split(".")
    choice = data.draw(st.lists(st.booleans(), min_size=3, max_size=3))
    mixed = [one if pick else other for pick, one, other in zip(choice, first, second, strict=True)]

    if mixed[1:] in (first[1:], second[1:]):
        assert verify(".".join(mixed), algorithm)["sub"] in {"user-1", "other"}
    else:
        assert refusal(".".join(mixed), algorithm) == "signature"


@given(st.text(max_size=200) | st.lists(st.binary(max_size=40).map(b64), max_size=6).map(".".join))
def test_any_text_is_refused_with_a_reason_and_nothing_else(text):
    refusal(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=6))
def test_a_header_of_any_content_without_its_key_is_refused(header):
    token = f"{b64(json.dumps(header).encode())}.{b64(good_claims())}.{SIGNATURE}"

    refusal(token)


def test_a_refusal_holds_nothing_of_the_token():
    token = mint(header={"alg": "canary-algorithm", "kid": "canary-kid"}, sub="canary-subject")

    with pytest.raises(TokenRefused) as refused:
        parse_token(token)

    assert "canary" not in repr(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "is_one"), [("a.b.c", True), ("a.b", False), ("mutx_a_b", False), ("", False)]
)
def test_only_three_parts_look_like_a_token(text, is_one):
    assert looks_signed(text) is is_one
