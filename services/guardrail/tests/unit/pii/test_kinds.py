"""Each structured kind by a number that is right, the same with a wrong check digit, with a word near and without."""

from __future__ import annotations

import random

import pytest
from mutx_guardrail.pii.keccak import keccak256
from mutx_guardrail.pii.kinds import ALIASES, DEFAULT_KINDS, OFF_BY_DEFAULT, Kind
from mutx_guardrail.pii.pack import load_pack
from mutx_guardrail.pii.structured import structured_detector
from readings import document_of

DETECTOR = structured_detector()


def kinds(text: str, value: str, threshold: float = 0.5) -> set[str]:
    findings = DETECTOR.judge(document_of(text)).findings
    return {
        f.kind for f in findings if f.confidence >= threshold and text[f.span.start : f.span.end] == value
    }


# Kind; a number that is right; the same made wrong (None where nothing is checked); a text with it; found by itself.
CASES = [
    ("CREDIT_CARD", "4012-8888-8888-1881", "4012-8888-8888-1882", "my card {}", True),
    ("CREDIT_CARD", "378282246310005", "378282246310006", "amex {}", True),
    ("IBAN_CODE", "NL91ABNA0417164300", "NL91ABNA0417164301", "iban {}", True),
    ("SWIFT_CODE", "DEUTDEFF", None, "swift {}", False),
    ("ABA_ROUTING_NUMBER", "121000358", "121000359", "routing number {}", False),
    ("US_BANK_NUMBER", "945456787654", None, "bank account {}", False),
    ("US_SSN", "536-90-4399", "000-90-4399", "ssn {}", True),
    ("US_ITIN", "911-70-1234", "911-10-1234", "itin {}", True),
    ("PASSPORT", "912803456", None, "passport {}", False),
    ("DRIVER_LICENSE", "H12234567", None, "driver's license {}", False),
    ("MEDICAL_LICENSE", "BB1388568", "BB1388569", "DEA {}", True),
    ("US_NPI", "1234567893", "1234567894", "NPI {}", False),
    ("US_MBI", "1EG4-TE5-MK73", None, "medicare {}", True),
    ("UK_NHS", "401-023-2137", "401-023-2138", "NHS number {}", True),
    ("UK_NHS", "9434765919", "9434765918", "NHS number {}", False),
    ("UK_NINO", "AA 12 34 56 B", "BG 12 34 56 B", "national insurance {}", True),
    ("SG_NRIC_FIN", "S2740116C", "S2740116D", "NRIC {}", True),
    ("SG_NRIC_FIN", "G1122144R", "G1122144M", "FIN {}", True),
    ("SG_NRIC_FIN", "M1234567K", "M1234567L", "FIN {}", True),
    ("SG_UEN", "53125226D", "53125226E", "UEN {}", True),
    ("AU_ABN", "51 824 753 556", "51 824 753 557", "ABN {}", True),
    ("AU_ACN", "000 000 019", "000 000 018", "ACN {}", False),
    ("AU_TFN", "876 543 210", "876 543 211", "TFN {}", False),
    ("AU_MEDICARE", "2123 45670 1", "2123 45671 1", "medicare {}", False),
    ("IN_PAN", "AAAPL1234C", None, "PAN number {}", True),
    ("IN_AADHAAR", "2345 6789 0124", "2345 6789 0125", "aadhaar {}", True),
    ("IN_AADHAAR", "234567890124", "234567890125", "aadhaar {}", False),
    ("IN_GSTIN", "27AAPFU0939F1ZV", "27AAPFU0939F1ZA", "GSTIN {}", True),
    ("IN_VOTER", "WKH1186253", "WKH1186263", "voter id {}", False),
    ("KR_RRN", "971013-9019902", "971313-9019902", "RRN {}", True),
    ("KR_RRN", "960121-1234561", "960121-1234562", "RRN {}", True),
    ("TH_TNIN", "3-1006-00445-63-5", "3-1006-00445-63-6", "thai id {}", True),
    ("BR_CPF", "390.533.447-05", "390.533.447-06", "CPF {}", True),
    ("BR_CPF", "39053344705", "39053344706", "CPF {}", False),
    ("BR_CNPJ", "16.727.230/0001-97", "16.727.230/0001-98", "CNPJ {}", True),
    ("ES_NIF", "54362315K", "54362315J", "DNI {}", True),
    ("ES_NIE", "X-2482300W", "X-2482300A", "NIE {}", True),
    ("IT_FISCAL_CODE", "RCCMNL83S18D969H", "RCCMNL83S18D969L", "codice fiscale {}", True),
    ("IT_VAT_CODE", "00743110157", "00743110158", "partita iva {}", False),
    ("VAT_NUMBER", "DE136695976", "DE136695978", "VAT {}", False),
    ("PL_PESEL", "44051401359", "44051401358", "pesel {}", True),
    ("FI_PERSONAL_IDENTITY_CODE", "131052-308T", "131052-308U", "hetu {}", True),
    ("NATIONAL_ID", "811218-9876", "811218-9877", "personnummer {}", True),
    ("NATIONAL_ID", "11010519491231002X", "110105194912310021", "身份证 {}", True),
    ("NATIONAL_ID", "BOXW310820HNERXN09", "BOXW310820HNERXN08", "CURP {}", True),
    ("NATIONAL_ID", "12.531.909-2", "12.531.909-3", "RUT {}", True),
    ("NATIONAL_ID", "20-05536168-2", "20-05536168-3", "CUIT {}", True),
    ("NATIONAL_ID", "112-233-445 95", "112-233-445 96", "СНИЛС {}", True),
    ("NATIONAL_ID", "123-456-782", "123-456-783", "social insurance number {}", False),
    ("NATIONAL_ID", "8001015009087", "8001015009088", "identity number {}", False),
    ("NATIONAL_ID", "10000000146", "10000000149", "kimlik {}", False),
    ("IMEI", "490154203237518", "490154203237517", "IMEI {}", False),
    ("VIN", "1M8GDM9AXKP042788", "1M8GDM9A1KP042788", "VIN {}", True),
    ("LICENSE_PLATE", "AB12 CDE", None, "number plate {}", False),
    ("LICENSE_PLATE", "KA-01-HH-1234", None, "plate {}", True),
    ("LICENSE_PLATE", "B-MW 1234", None, "Kennzeichen {}", False),
    ("LEI", "213800KUD8LAJWSQ9D15", "213800KUD8LAJWSQ9D16", "LEI {}", False),
    ("CRYPTO", "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ", "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyY", "wallet {}", True),
    ("CRYPTO", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLz", "btc {}", True),
    (
        "CRYPTO",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
        "btc {}",
        True,
    ),
    (
        "CRYPTO",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed",
        "eth {}",
        True,
    ),
    ("CRYPTO", "0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359", None, "eth {}", True),
    ("IP_ADDRESS", "203.0.113.42", "203.0.113.256", "ip {}", True),
    ("IP_ADDRESS", "684d:1111:222:3333:4444:5555:6:77", "684d:1111:222:3333:4444:5555:6:77:8", "ip {}", True),
    ("MAC_ADDRESS", "00:1A:2B:3C:4D:5E", "00:1A:2B:3C:4D:5G", "mac {}", True),
    ("EMAIL_ADDRESS", "info@presidio.site", "info@presidio.", "mail {}", True),
    ("URL", "postgres://joe:hunter2@db.example.com", None, "see {}", True),
    ("DATE_OF_BIRTH", "12/05/1980", "52/05/1980", "date of birth {}", False),
    ("ZIP_CODE", "SW1A 1AA", None, "postcode {}", True),
]
IDS = [f"{kind} {value}" for kind, value, *_ in CASES]


@pytest.mark.parametrize(("kind", "value", "wrong", "around", "alone"), CASES, ids=IDS)
def test_a_number_is_found_with_a_word_near(kind, value, wrong, around, alone):
    assert kind in kinds(around.format(value), value)


@pytest.mark.parametrize(("kind", "value", "wrong", "around", "alone"), CASES, ids=IDS)
def test_a_number_alone_is_found_where_its_form_says_enough(kind, value, wrong, around, alone):
    assert (kind in kinds(f"see {value} there", value)) is alone


CHECKED = [case for case in CASES if case[2]]


@pytest.mark.parametrize(
    ("kind", "value", "wrong", "around", "alone"), CHECKED, ids=[f"{c[0]} {c[2]}" for c in CHECKED]
)
def test_a_number_with_a_wrong_check_digit_is_left(kind, value, wrong, around, alone):
    assert kind not in kinds(around.format(wrong), wrong)


@pytest.mark.parametrize("length", range(7, 20))
def test_few_numbers_without_a_word_near_are_taken_for_personal_ones(length):
    """Check digits let one in ten through; a kind that has one alone is not enough without a word near."""
    draw = random.Random(length)
    numbers = ["".join(draw.choices("0123456789", k=length)) for _ in range(300)]

    taken = [n for n in numbers if any(kinds(f"it has {n} in it", n))]

    assert len(taken) <= 0.03 * len(numbers)


def test_every_structured_kind_of_the_rules_has_a_case():
    wanted = {rule["kind"] for rule in load_pack("pii", "rules.yml").sections["rules"]}

    assert wanted - {case[0] for case in CASES} == {"UK_SORT_CODE", "COORDINATE", "KR_FRN"}


def test_numbers_of_companies_are_told_only_where_a_policy_names_them():
    assert {Kind.LEI, Kind.SG_UEN, Kind.AU_ACN} <= OFF_BY_DEFAULT
    assert not OFF_BY_DEFAULT & DEFAULT_KINDS


def test_an_alias_is_no_kind_of_its_own():
    assert not ALIASES.keys() & {kind.value for kind in Kind}


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
    ],
)
def test_keccak_gives_the_published_hashes(data, digest):
    assert keccak256(data).hex() == digest


def test_keccak_takes_one_block():
    with pytest.raises(ValueError, match="one block"):
        keccak256(bytes(136))
