"""Structured personal data is found in several languages, and what only looks like it is not."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest
from growth import processor_s
from hypothesis import given, settings
from hypothesis import strategies as st
from mutx_guardrail.pii.structured import StructuredDetector, structured_detector
from readings import document_of, normalised


@pytest.fixture(scope="module")
def detector() -> StructuredDetector:
    return structured_detector()


def found(detector: StructuredDetector, text: str, threshold: float = 0.5) -> set[tuple[str, str]]:
    findings = detector.judge(document_of(text)).findings
    return {(f.kind, text[f.span.start : f.span.end]) for f in findings if f.confidence >= threshold}


POSITIVE = [
    ("EMAIL_ADDRESS", "Write to jane.doe+news@example.co.uk, please.", "jane.doe+news@example.co.uk"),
    ("EMAIL_ADDRESS", "Kontakt: jürgen@müller.de.", "jürgen@müller.de"),
    ("EMAIL_ADDRESS", "mail jane (at) example (dot) com", "jane (at) example (dot) com"),
    ("EMAIL_ADDRESS", "<a href='mailto:x_y@sub.example.org'>", "x_y@sub.example.org"),
    ("PHONE_NUMBER", "+49 30 901820", "+49 30 901820"),
    ("PHONE_NUMBER", "Call (415) 555-2671 now", "(415) 555-2671"),
    ("PHONE_NUMBER", "415-555-2671", "415-555-2671"),
    ("PHONE_NUMBER", "Tel.:0301234567", "0301234567"),
    ("PHONE_NUMBER", "Rufnummer 0171/2345678", "0171/2345678"),
    ("PHONE_NUMBER", "mi móvil es 612 345 678", "612 345 678"),
    ("PHONE_NUMBER", "Mon portable : 06 12 34 56 78.", "06 12 34 56 78"),
    ("PHONE_NUMBER", "il mio cellulare è 347 1234567", "347 1234567"),
    ("PHONE_NUMBER", '{"phoneNumber": "5551234567"}', "5551234567"),
    ("PHONE_NUMBER", "phone 212-555-0187 ext. 12", "212-555-0187 ext. 12"),
    ("CREDIT_CARD", "4111111111111111", "4111111111111111"),
    ("CREDIT_CARD", "pay with 4111 1111 1111 1111 123", "4111 1111 1111 1111"),
    ("CREDIT_CARD", "3782-822463-10005", "3782-822463-10005"),
    ("CREDIT_CARD", "4111_1111/1111.1111", "4111_1111/1111.1111"),
    ("CREDIT_CARD", "5555–5555–5555–4444", "5555–5555–5555–4444"),
    ("CREDIT_CARD", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
    ("CREDIT_CARD", "Kreditkarte 6011111111111117", "6011111111111117"),
    ("CREDIT_CARD", "my card is 503867297114", "503867297114"),
    ("IBAN_CODE", "DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 00"),
    ("IBAN_CODE", "iban gb82west12345698765432", "gb82west12345698765432"),
    ("IBAN_CODE", "FR1420041010050500013M02606", "FR1420041010050500013M02606"),
    ("US_SSN", "536-22-1746", "536-22-1746"),
    ("US_SSN", "my ssn is 536221746", "536221746"),
    ("US_SSN", "SSN: 536 22 1746", "536 22 1746"),
    ("US_ITIN", "912-70-1234", "912-70-1234"),
    ("PASSPORT", "My passport number is 912803456.", "912803456"),
    ("PASSPORT", "Reisepassnummer C01X00T47", "C01X00T47"),
    ("PASSPORT", "pasaporte: AAA123456", "AAA123456"),
    ("DRIVER_LICENSE", "Driver's license: D1234562", "D1234562"),
    ("DRIVER_LICENSE", "Patente di guida U1H30P852A", "U1H30P852A"),
    ("UK_NHS", "NHS number 943 476 5919", "943 476 5919"),
    ("UK_NINO", "AB 12 34 56 C", "AB 12 34 56 C"),
    ("NATIONAL_ID", "Steuer-ID: 36574261809", "36574261809"),
    ("NATIONAL_ID", "Numéro de sécurité sociale 2 95 10 99 126 111 93", "2 95 10 99 126 111 93"),
    ("NATIONAL_ID", "BSN 111222333", "111222333"),
    ("NATIONAL_ID", "AHV-Nr. 756.9217.0769.85", "756.9217.0769.85"),
    ("NATIONAL_ID", "personnummer 811218-9876", "811218-9876"),
    ("ES_NIF", "DNI 54362315K", "54362315K"),
    ("ES_NIE", "NIE: X-2482300-W", "X-2482300-W"),
    ("IT_FISCAL_CODE", "RCCMNL83S18D969H", "RCCMNL83S18D969H"),
    ("PL_PESEL", "PESEL 44051401359", "44051401359"),
    ("FI_PERSONAL_IDENTITY_CODE", "131052-308T", "131052-308T"),
    ("IP_ADDRESS", "from 203.0.113.42 at noon", "203.0.113.42"),
    ("IP_ADDRESS", "2001:db8:85a3::8a2e:370:7334", "2001:db8:85a3::8a2e:370:7334"),
    ("MAC_ADDRESS", "00:1A:2B:3C:4D:5E", "00:1A:2B:3C:4D:5E"),
    ("URL", "see https://joe:hunter2@intranet.example.com/x", "https://joe:hunter2@intranet.example.com"),
    ("URL", "https://www.linkedin.com/in/jane-doe-123", "https://www.linkedin.com/in/jane-doe-123"),
    ("CRYPTO", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
    ("CRYPTO", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
    (
        "CRYPTO",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    ),
    (
        "CRYPTO",
        "wallet 0x52908400098527886E0F7030069857D2E4169EE7",
        "0x52908400098527886E0F7030069857D2E4169EE7",
    ),
    ("DATE_OF_BIRTH", "DOB: 04/12/1987", "04/12/1987"),
    ("DATE_OF_BIRTH", "I was born on March 3rd, 1990 in Ohio", "March 3rd, 1990"),
    ("DATE_OF_BIRTH", "geboren am 3. März 1990", "3. März 1990"),
    ("DATE_OF_BIRTH", "nacida el 12 de mayo de 1985", "12 de mayo de 1985"),
    ("DATE_OF_BIRTH", "né le 14 juillet 1979", "14 juillet 1979"),
    ("DATE_OF_BIRTH", "nato il 01.02.1970", "01.02.1970"),
    ("ABA_ROUTING_NUMBER", "routing number 021000021", "021000021"),
    ("US_BANK_NUMBER", "account number 000123456789", "000123456789"),
    ("SWIFT_CODE", "SWIFT: DEUTDEFF500", "DEUTDEFF500"),
    ("UK_SORT_CODE", "sort code 20-00-00", "20-00-00"),
    ("STREET_ADDRESS", "I live at 742 Evergreen Terrace.", "742 Evergreen Terrace"),
    ("STREET_ADDRESS", "Musterstraße 12a", "Musterstraße 12a"),
    ("STREET_ADDRESS", "Calle Mayor 15", "Calle Mayor 15"),
    ("STREET_ADDRESS", "Mannerheimintie 5", "Mannerheimintie 5"),
    ("STREET_ADDRESS", "my address is 12 baker street", "12 baker street"),
    ("STREET_ADDRESS", "12 rue de la Paix, 75002 Paris", "12 rue de la Paix, 75002 Paris"),
    ("STREET_ADDRESS", "Via Roma 10, 00184 Roma", "Via Roma 10, 00184 Roma"),
    ("STREET_ADDRESS", "PO Box 1234", "PO Box 1234"),
    ("ZIP_CODE", "PLZ 10115", "10115"),
    ("ZIP_CODE", "code postal 75002", "75002"),
    ("ZIP_CODE", "SW1A 1AA", "SW1A 1AA"),
    ("COORDINATE", "48.8583701, 2.2944813", "48.8583701, 2.2944813"),
    ("COORDINATE", "at 48°51'29\"N 2°17'40\"E", "48°51'29\"N 2°17'40\"E"),
]


@pytest.mark.parametrize(("kind", "text", "value"), POSITIVE, ids=[f"{k}: {t[:30]}" for k, t, _ in POSITIVE])
def test_a_value_is_found_with_its_exact_span(detector, kind, text, value):
    assert (kind, value) in found(detector, text)


NEGATIVE = [
    "Your order number is 4111111111111111.",
    "Tracking 123-456-7890 is on its way",
    "order 5551234567 has shipped",
    "ISBN 978-3-16-148410-0",
    "ISBN-10: 0-306-40615-2",
    "Release 1.2.3.4 of the library",
    "version 10.0.0.1 fixes it",
    "timestamp 1700000000 and 1700000000123",
    "2024-01-15 12:30:45",
    "Meet on 12/05/2024 at 10:30",
    "commit 3f785b5c1d2e4a6b8c9d0e1f2a3b4c5d6e7f8091",
    "d41d8cd98f00b204e9800998ecf8427e",
    "123e4567-e89b-12d3-a456-426614174000",
    "std::vector<int> a::b",
    "pi is 3.14159265358979",
    "The population is 83 200 000 people",
    "sum(range(1000000, 2000000))",
    "@app.route('/x') def f(): pass",
    "git@github.com:org/repo.git",
    "icon@2x.png",
    "pip install requests==2.31.0",
    "127.0.0.1:8080 and 0.0.0.0",
    "Call me Ishmael. It was 1851.",
    "between 1990 and 2005 there were 300 cases",
    "4111111111111112",
    "000-12-3456",
    "DE89370400440532013001",
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3",
    "NHS number 943 476 5918",
    "Section 12 of the Act of 1998",
    "Article 5 Absatz 3 Satz 1",
    "price 1,234,567.89 EUR",
    "The ratio is 16:9 and the score 3-2",
    "We have 25 engineers on 3 teams",
    "http://example.com/orders/4111111111111111",
    "0x1F4 and 0b1010",
    "Top 10 Ways to Die in the West",
    "During 2021 and Spring 2022 we taught Engineering 101",
    "It takes him 2 hours to drive there",
    "The Watergate 1972 affair",
]


@pytest.mark.parametrize("text", NEGATIVE, ids=[text[:40] for text in NEGATIVE])
def test_what_only_looks_personal_is_left(detector, text):
    assert found(detector, text) == set()


def test_a_plain_url_is_found_below_the_usual_threshold_only(detector):
    text = "read https://example.com/docs today"

    assert found(detector, text) == set()
    assert found(detector, text, 0.3) == {("URL", "https://example.com/docs")}


@pytest.mark.parametrize(
    "text",
    [
        "４１１１ １１１１ １１１１ １１１１",
        "4111\u200b1111\u200b1111\u200b1111",
        "4\u20601\u2060111111\u00ad11111111",
    ],
    ids=["full width", "zero width", "word joiner"],
)
def test_a_hidden_number_is_found_in_spans_of_the_given_text(detector, text):
    finding = detector.judge(normalised(text)).findings[0]

    assert (finding.kind, finding.span.start, finding.span.end) == ("CREDIT_CARD", 0, len(text))


def test_digits_of_other_scripts_are_digits(detector):
    assert found(detector, "بطاقة ٤١١١ ١١١١ ١١١١ ١١١١") == {("CREDIT_CARD", "٤١١١ ١١١١ ١١١١ ١١١١")}


def test_what_is_encoded_is_found_over_the_whole_encoded_piece(detector):
    text = base64.b64encode(b"card 4111 1111 1111 1111").decode()

    (finding,) = detector.judge(document_of(text, "card 4111 1111 1111 1111")).findings

    assert (finding.kind, finding.view, finding.span.start, finding.span.end) == (
        "CREDIT_CARD",
        "base64>plain",
        0,
        len(text),
    )


def test_what_is_found_in_plain_is_not_found_again_in_another_reading(detector):
    text = "card 4111 1111 1111 1111"

    findings = detector.judge(document_of(text, text)).findings

    assert [f.view for f in findings] == ["plain"]


def test_the_score_is_the_surest_finding_and_nought_without_one(detector):
    assert detector.judge(document_of("nothing here")).score == 0.0
    assert detector.judge(document_of("a@example.com and 415-555-2671")).score == 0.98


def test_a_word_for_another_number_outweighs_a_phone_further_away(detector):
    assert found(detector, "Call us about order 5551234567") == set()


def test_findings_of_a_letter_do_not_overlap(detector):
    text = "Jane, 12 rue de la Paix, 75002 Paris, +33 6 12 34 56 78, DOB 01/02/1980, card 4111 1111 1111 1111"

    findings = detector.judge(document_of(text)).findings

    assert all(a.span.end <= b.span.start for a, b in pairwise(findings))
    assert {"STREET_ADDRESS", "PHONE_NUMBER", "DATE_OF_BIRTH", "CREDIT_CARD"} == {f.kind for f in findings}


PIECES = st.sampled_from(
    [
        "phone ",
        "card ",
        "4111 1111 1111 1111",
        "+49 30 901820",
        "a@b.co",
        "Straße 5",
        "é",
        "🙂",
        "\n",
        "1.2.3.4",
        "<",
        "ＤＯＢ",
        "01/02/1980",
    ]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=20)), max_size=12).map("".join))
@settings(deadline=None, max_examples=300)
def test_spans_are_within_any_text_and_in_order(text):
    detector = _shared()

    findings = detector.judge(document_of(text)).findings

    assert all(0 <= f.span.start < f.span.end <= len(text) and 0 < f.confidence <= 1 for f in findings)
    assert all(a.span.end <= b.span.start for a, b in pairwise(findings))


@given(st.text(max_size=40), st.text(max_size=40))
@settings(deadline=None, max_examples=200)
def test_a_card_is_found_whatever_stands_in_the_lines_around_it(before, after):
    number = "4111111111111111"
    text = f"{before}\ncard {number}\n{after}"

    values = {text[f.span.start : f.span.end] for f in _shared().judge(document_of(text)).findings}

    assert any(number in value for value in values)


def test_a_lone_surrogate_does_no_harm(detector):
    assert found(detector, "\ud800 a@example.com \udc00") == {("EMAIL_ADDRESS", "a@example.com")}


@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "1 ",
        "1.",
        "a@",
        "a:",
        "Aa ",
        "12 Aa ",
        "phone 5551234567 ",
        "<PERSON_1>",
        "(",
        "address 12 Aa\n",
        "é1",
    ],
)
def test_time_grows_no_faster_than_the_text(detector, piece):
    short, long = piece * (20_000 // len(piece)), piece * (160_000 // len(piece))
    detector.candidates(short)

    ratio = _seconds(detector, long) / max(_seconds(detector, short), 0.02)

    assert ratio < 32


def _seconds(detector: StructuredDetector, text: str) -> float:
    return processor_s(lambda: detector.candidates(text))


_DETECTORS: list[StructuredDetector] = []


def _shared() -> StructuredDetector:
    if not _DETECTORS:
        _DETECTORS.append(structured_detector())
    return _DETECTORS[0]
