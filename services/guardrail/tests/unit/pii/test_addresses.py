"""Postal addresses of many countries are found whole, and what only looks like one is left."""

from __future__ import annotations

import pytest
from growth import processor_s
from hypothesis import given, settings
from hypothesis import strategies as st
from mutx_guardrail.pii.addresses import AddressRule
from mutx_guardrail.pii.context import load_context_words
from mutx_guardrail.pii.matching import Haystack
from mutx_guardrail.pii.pack import load_pack

RULE, WORDS = AddressRule(load_pack("pii", "addresses.yml")), load_context_words()


def found(text: str) -> list[str]:
    hay = Haystack(text)
    return [text[c.start : c.end] for c in RULE.find(hay, WORDS.scan(hay)) if c.kind == "STREET_ADDRESS"]


WHOLE = {
    "US": "12 North Main Street, Apt. 4, Springfield, IL 62701",
    "US compass": "1600 Pennsylvania Avenue NW, Washington, DC 20500",
    "US country": "350 Fifth Ave, New York, NY 10118, USA",
    "US word for a number": "One Microsoft Way, Redmond, WA 98052",
    "US two lines": "9791 Regina Mountains\nAndreaborough, VT 62139",
    "US capitals": "123 MAIN STREET, SPRINGFIELD, IL 62704",
    "US small letters": "742 evergreen terrace, springfield, il 62704",
    "US forces": "PSC 1234, Box 5678\nAPO AE 09876",
    "post box": "P.O. Box 1234, Springfield, IL 62701",
    "UK": "221B Baker Street, London NW1 6XE",
    "UK flat before": "Flat 3, 12 Baker Street, London NW1 6XE",
    "UK without a number": "Rose Cottage, Church Lane, Little Snoring, NR21 0AB",
    "UK three lines": "97 Lynda Bridge\nSmithbury\nW88 6FJ",
    "CA": "123 Rue Sainte-Catherine Ouest, Montréal, QC H3B 1A1",
    "AU": "Level 5, 123 Collins St, Melbourne VIC 3000, Australia",
    "AU lines": "97 Catherine Pathway\nAndreaborough, WA, 4876",
    "NZ": "89 Rodgers Ridge\nMaungakiwi 5337",
    "IN": "221, MG Road, Bengaluru 560001",
    "IN house number": "H.No. 97, Bhatti\nNandyal-833788",
    "DE": "Musterstraße 12a, 10115 Berlin",
    "DE short": "Hauptstr. 5, 80331 München",
    "DE country": "Unter den Linden 77, 10117 Berlin, Germany",
    "AT": "Ramsauerstraße 907\n5833 Saalfelden",
    "CH": "Bahnhofstrasse 1, 8001 Zürich",
    "FR": "12, rue de la Paix, 75002 Paris, France",
    "FR lines": "825, boulevard de François\n77113 Poirier-sur-Mer",
    "ES": "Plaza Mayor 3, 2º B, 28012 Madrid",
    "IT": "Piazza della Repubblica, 5, 50123 Firenze (FI), Italia",
    "PT": "Rua Augusta 100, 1100-053 Lisboa, Portugal",
    "NL": "Prinsengracht 263-267, 1016 GV Amsterdam",
    "BE": "Patriciaring 919, 4748 Gijzenzele, Belgium",
    "BR": "Av. Paulista, 1578 - Bela Vista, São Paulo - SP, 01310-200",
    "CO": "Calle 187 Bis R # 4-32 Este",
    "AR": "Av. Mendoza N° 423\nCórdoba 5000, Córdoba",
    "JP in Latin letters": "1-2-3 Shibuya, Shibuya-ku, Tokyo 150-0002",
    "JP": "〒150-0002 東京都渋谷区渋谷1-2-3",
    "CN": "北京市朝阳区建国路93号",
    "SE": "Drottninggatan 71, 111 36 Stockholm",
    "NO": "Karl Johans gate 22, 0026 Oslo",
    "DK": "Gyldenlakvej 186, 5290 Lejre",
    "FI": "Rukoushuoneenkuja 9\n90748 Kivijärvi",
    "PL": "ul. Kołłątaja 79/19\n02-931 Kwidzyn",
    "CZ": "Na Kozinci 279\n507 48 Horní Benešov",
    "HU": "Somogyfürdői út 60.\nH-3860 Cegléd",
    "HR": "Rokova 9b/1\n74833 Orahovica",
    "RO": "Bulevardul Unirii Nr. 84, Bucuresti, 431614",
}


@pytest.mark.parametrize("address", WHOLE.values(), ids=WHOLE)
def test_an_address_is_found_whole(address):
    assert found(address) == [address]


@pytest.mark.parametrize("address", [a for a in WHOLE.values() if not a.islower()])
@pytest.mark.parametrize("around", ["Please ship my order to {}, thank you.", "Ann Doe\n{}\n\nTel. 030"])
def test_what_stands_around_an_address_is_not_taken_in(address, around):
    text = around.format(address)

    (only,) = found(text)

    assert address in only or only in address
    assert "thank" not in only
    assert "Doe" not in only
    assert "Tel" not in only


@pytest.mark.parametrize(
    ("text", "street"),
    [
        ("I live at 742 Evergreen Terrace.", "742 Evergreen Terrace"),
        ("i live at 742 evergreen terrace apt 4b in town", "742 evergreen terrace apt 4b"),
        ("He lives at Parmova 109 in Maribor", "Parmova 109"),
        ("Via Roma 10", "Via Roma 10"),
        ("it's the corner of Alšova 408 and Main Greens", "the corner of Alšova 408 and Main Greens"),
        ("Contact: Jane Doe, 500 Oracle Pkwy", "500 Oracle Pkwy"),
        ("the address is 5638 Aasa 43", "5638 Aasa 43"),
    ],
)
def test_a_street_is_found_without_its_town(text, street):
    assert found(text) == [street]


@pytest.mark.parametrize(
    "text", ["his address: 450 Main Street, Zagreb", "He lives at Parmova 109 in Zagreb."]
)
def test_the_town_of_a_street_is_told_as_a_place(text):
    hay = Haystack(text)

    places = [text[c.start : c.end] for c in RULE.find(hay, WORDS.scan(hay)) if c.kind == "LOCATION"]

    assert places == ["Zagreb"]


def test_flat_and_code_of_a_quoted_address_are_found_on_their_lines():
    text = "> Ann Doe\n> 12 Ombù 9091\n> Suite 967\n> Paysandú\n> Uruguay 33963\n"

    assert found(text) == ["12 Ombù 9091", "Suite 967", "33963"]


NO_ADDRESS = [
    "Section 5 Main Street rules apply",
    "The 5 Main Street rules",
    "1 Way function",
    "In 2008 Wall Street crashed.",
    "Save it to Windows Drive 3",
    "on February 13 last year",
    "Area 51 is located in Nevada",
    "Auf Platz 1 steht Bayern",
    "Bake at 350 for 20 Minutes. Add 2 Eggs and 3 Cups Flour",
    "1. e4 e5 2. Nf3 Nc6 3. Bb5 a6",
    "1 Samuel 16",
    "The server listens on Port 8080 of 10.0.0.1",
    "Chapter 3, 1984 Orwell",
    "Boeing 747 landed on Runway 27",
    "version 2 Release 3, May 5, 2020 Congress met",
    "We sold 300 Sesame Street episodes",
    "Via Zoom 3 people joined",
    "Top 10 Hollywood Walk of Fame stars",
    "I drive 3 miles down the road",
    "it is a 5 minute drive from here, 3 miles down the road",
    "Meet at Room 101, Building 5",
    "He won 2 Grand Slam titles at Roland Garros 2019",
    "The Brigade 5 is here",
    "Article 5 of the Constitution, Section 12, Paris 1789",
    "Our 2 New York offices, the 3 Los Angeles sites and 12 San Francisco teams",
    "Version 2.0 of Windows Server 2019 Standard",
    "Flight BA 123 to London Heathrow 0900",
    "$500 Amazon Gift Card",
    "Volume 47, Issue 3, March 2024\nDOI: 10.1038",
    "Intelligence and Security Center\n  Status: APPROVED 2024",
    "48.8583701, 2.2944813",
    "3 Blind Mice and 101 Dalmatians",
    "iPhone 15 costs 999 USD, Galaxy S24 899 USD",
    "Psalm 23, John 3 16",
    "Spring 2022 and Ring 3 of the Oktoberfest 2019",
]


@pytest.mark.parametrize("text", NO_ADDRESS, ids=[text[:40] for text in NO_ADDRESS])
def test_what_only_looks_like_an_address_is_left(text):
    assert found(text) == []


PIECES = st.sampled_from(
    [
        *WHOLE.values(),
        "12 ",
        "Aa ",
        "Street",
        ", ",
        "\n",
        "IL 62701",
        "address ",
        "Apt. 4",
        "é",
        "〒",
        "-",
        "straße ",
    ]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=12)), max_size=10).map("".join))
@settings(deadline=None, max_examples=200)
def test_spans_of_any_text_are_in_it_and_none_is_empty(text):
    hay = Haystack(text)

    candidates = list(RULE.find(hay, WORDS.scan(hay)))

    assert all(0 <= c.start < c.end <= len(text) for c in candidates)


@pytest.mark.parametrize(
    "piece",
    [
        "12 Main Street, ",
        "Aa 12, ",
        "address 1 Aa\nBb ",
        "Aa-Aa, ",
        "Apt. 4 ",
        "12345 Aa ",
        "1 Aa Street\n12345 Aa\n",
        "Aa Lane, ",
        "東京都渋谷区1-",
        "12 main street, ",
    ],
)
def test_time_grows_no_faster_than_the_text(piece):
    short, long = piece * (10_000 // len(piece)), piece * (80_000 // len(piece))
    found(short)

    ratio = _seconds(long) / max(_seconds(short), 0.02)

    assert ratio < 32


def _seconds(text: str) -> float:
    return processor_s(lambda: found(text))
