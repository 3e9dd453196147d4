"""The secrets that keys are derived of, and what is sealed under them."""

from __future__ import annotations

import asyncio
import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_control_plane.identity.sealing import AesSealer, SealBroken
from mutx_control_plane.identity.secret_keys import SecretKeyError, SecretKeys, read_secret_keys

FIRST, SECOND = (base64.b64encode(bytes(range(start, start + 32))).decode() for start in (0, 100))
CONTEXT = "key-1|user-1|acme"


def sealer(text: str) -> AesSealer:
    return AesSealer(read_secret_keys(text), os.urandom)


def seal(keys: str, plain: bytes = b"whole", context: str = CONTEXT) -> str:
    return asyncio.run(sealer(keys).seal(plain, context))


def opened(keys: str, sealed: str, context: str = CONTEXT) -> bytes:
    return asyncio.run(sealer(keys).open(sealed, context))


def test_what_was_sealed_opens():
    assert opened(f"a:{FIRST}", seal(f"a:{FIRST}")) == b"whole"


def test_the_same_text_is_sealed_differently_each_time():
    assert seal(f"a:{FIRST}") != seal(f"a:{FIRST}")


def test_a_new_key_seals_and_the_old_one_still_opens():
    old = seal(f"a:{FIRST}")
    both = f"b:{SECOND},a:{FIRST}"

    assert opened(both, old) == b"whole"
    assert seal(both).startswith("g1.b.")
    assert not sealer(both).is_current(old)
    assert sealer(both).is_current(seal(both))


@pytest.mark.parametrize(
    "context", ["key-2|user-1|acme", "key-1|user-2|acme", "key-1|user-1|globex", "", CONTEXT + " "]
)
def test_a_text_does_not_open_in_another_row(context):
    with pytest.raises(SealBroken):
        opened(f"a:{FIRST}", seal(f"a:{FIRST}"), context)


@pytest.mark.parametrize("keys", [f"b:{FIRST}", f"a:{SECOND}", f"b:{SECOND}"])
def test_a_text_does_not_open_without_its_key(keys):
    with pytest.raises(SealBroken):
        opened(keys, seal(f"a:{FIRST}"))


def test_a_text_does_not_open_under_the_name_of_another_key_with_the_same_secret():
    sealed = seal(f"a:{FIRST}").replace("g1.a.", "g1.b.")

    with pytest.raises(SealBroken):
        opened(f"a:{FIRST},b:{FIRST}", sealed)


@given(
    st.text(max_size=60)
    | st.binary(max_size=60).map(lambda raw: f"g1.a.{base64.urlsafe_b64encode(raw).decode()}")
)
def test_any_other_text_does_not_open(text):
    with pytest.raises(SealBroken):
        opened(f"a:{FIRST}", text)


@given(st.data())
def test_a_text_with_one_character_changed_does_not_open(data):
    sealed = seal(f"a:{FIRST}")
    at = data.draw(st.integers(0, len(sealed) - 1))
    letter = data.draw(st.sampled_from("abcXYZ019-_.=").filter(lambda each: each != sealed[at]))

    with pytest.raises(SealBroken):
        opened(f"a:{FIRST}", sealed[:at] + letter + sealed[at + 1 :])


def test_each_purpose_has_a_key_of_its_own():
    keys = read_secret_keys(f"a:{FIRST}")

    derived = {keys.derive(purpose)[0].key for purpose in ("seal", "api-key-pepper", "cookie")}

    assert len(derived) == 3
    assert bytes(range(32)) not in derived
    assert keys.derive("seal") == read_secret_keys(f"a:{FIRST}").derive("seal")


WRONG = {
    "nothing": "",
    "no id": FIRST,
    "an empty id": f":{FIRST}",
    "an id in capitals": f"A:{FIRST}",
    "an endless id": f"{'a' * 17}:{FIRST}",
    "no base64": "a:not base64!",
    "too short a key": f"a:{base64.b64encode(bytes(range(31))).decode()}",
    "too long a key": f"a:{base64.b64encode(bytes(range(33))).decode()}",
    "a key of zeros": f"a:{base64.b64encode(bytes(32)).decode()}",
    "a key of a word": f"a:{base64.b64encode(b'passwordpasswordpasswordpassword').decode()}",
    "one id twice": f"a:{FIRST},a:{SECOND}",
    "an empty second": f"a:{FIRST},",
    "too many": ",".join(f"k{each}:{FIRST}" for each in range(9)),
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
def test_keys_are_refused_of(text):
    with pytest.raises(SecretKeyError) as refused:
        read_secret_keys(text)

    assert FIRST not in str(refused.value)
    assert refused.value.__cause__ is None


def test_keys_are_not_shown():
    keys: SecretKeys = read_secret_keys(f"a:{FIRST},b:{SECOND}")

    shown = f"{keys!r} {keys.derive('seal')!r}"

    assert "SecretKeys(a, b)" in shown
    assert not any(str(each.key) in shown for each in keys.derive("seal"))
