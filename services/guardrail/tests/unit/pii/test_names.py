"""Names are found in several languages and without capitals, by verified models alone, and without a network."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutx_guardrail.layer import LayerUnavailable
from mutx_guardrail.pii.entities import Entity, load_reader
from mutx_guardrail.pii.kinds import Kind
from mutx_guardrail.pii.letter_case import with_capitals
from mutx_guardrail.pii.models import ENGLISH, installed_model, model_hash, pinned_hashes, verify_model
from mutx_guardrail.pii.name_lists import load_name_lists
from mutx_guardrail.pii.name_rules import NameRules
from mutx_guardrail.pii.name_words import load_name_words
from mutx_guardrail.pii.names import LONGEST_TEXT, NamesDetector, chunks, names_detector
from mutx_guardrail.pii.pack import load_pack
from readings import document_of, normalised

DETECTOR = names_detector()


class Reader:
    """A model that sees what it is told to see, and remembers what it read."""

    def __init__(
        self, *entities: Entity, stop_words: tuple[str, ...] = ("the",), error: LayerUnavailable | None = None
    ):
        self._entities, self.stop_words, self._error = entities, frozenset(stop_words), error
        self.read_texts: list[str] = []

    def read(self, text: str) -> tuple[Entity, ...]:
        self.read_texts.append(text)
        if self._error:
            raise self._error
        return self._entities


def with_readers(**readers: Reader) -> NamesDetector:
    names, telling = load_name_lists(), load_name_words()
    rules = NameRules(names, telling, load_pack("pii", "name_patterns.yml"), frozenset({"the"}))
    return NamesDetector(readers, names, telling, rules)


def people(text: str, detector: NamesDetector = DETECTOR) -> set[str]:
    findings = detector.judge(document_of(text)).findings
    return {text[f.span.start : f.span.end] for f in findings if f.kind == "PERSON" and f.confidence >= 0.5}


FOUND = [
    ("My name is Jane Doe.", "Jane Doe"),
    ("my name is jane doe and i live here", "jane doe"),
    ("Please call Mr. Okonkwo back", "Okonkwo"),
    ("Dr. Anna-Lena Müller sees you now", "Anna-Lena Müller"),
    ("Ich heiße Jürgen Schäfer.", "Jürgen Schäfer"),
    ("Frau Özdemir hat angerufen", "Özdemir"),
    ("Je m'appelle Amélie Dubois", "Amélie Dubois"),
    ("Me llamo Íñigo Montoya", "Íñigo Montoya"),
    ("Señora García está aquí", "García"),
    ("Mi chiamo Giulia Bianchi", "Giulia Bianchi"),
    ("Thanks!\n\nBest regards,\nWolfgang Katz", "Wolfgang Katz"),
    ("Mit freundlichen Grüßen\nSabine Kröger", "Sabine Kröger"),
    ("Dear Priya,\nthe parcel is here", "Priya"),
    ("Name: Haruto Watanabe\nPhone: -", "Haruto Watanabe"),
    ('{"customer_name": "Olga Petrova"}', "Olga Petrova"),
    ("I met Siobhan O'Connor yesterday", "Siobhan O'Connor"),
    ("It was signed by Vanessa P. Hertzog in May", "Vanessa P. Hertzog"),
    ("please follow up with monika schmidt in a month", "monika schmidt"),
    ("PLEASE CONTACT MONIKA SCHMIDT ABOUT IT", "MONIKA SCHMIDT"),
    ("They had 3: Efimiya, Mary and Isabel.", "Efimiya"),
    ("A film by Bryan Maclean, and starring Maclean", "Maclean"),
    ("Jane's order", "Jane"),
    ("Please forward this to Jane Doe and copy Bob Smith.", "Jane Doe"),
    ("The contract was signed by Nguyen Van Minh in Hanoi.", "Nguyen Van Minh"),
    ("Li Wei sent the report yesterday.", "Li Wei"),
    ("I spoke with Zhang Xiaoming about the budget.", "Zhang Xiaoming"),
    ("Our driver is Chukwuemeka Okafor from Lagos.", "Chukwuemeka Okafor"),
    ("He met Mohammed bin Salman on Monday.", "Mohammed bin Salman"),
    ("Patient Fatima Al-Zahra was admitted at noon.", "Fatima Al-Zahra"),
    ("ahmed hassan needs a refund for his ticket", "ahmed hassan"),
    ("Svetlana Kuznetsova won the case.", "Svetlana Kuznetsova"),
    ("Grzegorz Brzęczyszczykiewicz lives next door.", "Grzegorz Brzęczyszczykiewicz"),
    ("Captain Jean-Luc Picard gave the order.", "Jean-Luc Picard"),
    ("Mary-Kate O'Brien called twice today.", "Mary-Kate O'Brien"),
    ("A letter from J. R. R. Tolkien was sold.", "J. R. R. Tolkien"),
    ("Maria de la Cruz asked for her invoice.", "Maria de la Cruz"),
    ("I like Ludwig van Beethoven a lot.", "Ludwig van Beethoven"),
    ("Satoshi Nakamoto wrote the paper.", "Satoshi Nakamoto"),
    ("priya sharma asked me to reset her password", "priya sharma"),
    ("Customer JOHN SMITH has complained again.", "JOHN SMITH"),
    ("Kim Min-jun plays football.", "Kim Min-jun"),
    ("Rajesh Kumar is our new accountant.", "Rajesh Kumar"),
    ("Dr. Okonkwo will operate tomorrow.", "Okonkwo"),
    ("Ho parlato con Giulia Rossi ieri.", "Giulia Rossi"),
    ("Gestern traf ich Jürgen Klopp in Mainz.", "Jürgen Klopp"),
    ("J'ai vu Amélie Poulain hier soir.", "Amélie Poulain"),
    ("O cliente João Silva ligou ontem.", "João Silva"),
    ("Can you tell Sarah that the meeting moved?", "Sarah"),
    ("Emily and I went to the shop.", "Emily"),
    ("Mr Smith left a note.", "Smith"),
    ("Regards,\nTom Brown\nSenior Engineer", "Tom Brown"),
    ("Hi Alice,\nthanks for the mail.", "Alice"),
    ("Sincerely,\n\nElena Petrova", "Elena Petrova"),
    ("kwame nkrumah is the customer on line two", "kwame nkrumah"),
    ("Prezydent Andrzej Duda podpisał ustawę.", "Andrzej Duda"),
    ("Björn Borg spelar tennis.", "Björn Borg"),
    ("Yusuf has not paid his rent.", "Yusuf"),
    ("Ngozi Adichie's new book is out.", "Ngozi Adichie"),
    ("El señor Carlos Ruiz no está.", "Carlos Ruiz"),
    ("From: Anna Schmidt <a.schmidt@example.com>", "Anna Schmidt"),
    ("Robert Johnson (born 1980) is the tenant.", "Robert Johnson"),
    ("Hiroshi Tanaka: please review the PR.", "Hiroshi Tanaka"),
    ("I saw Will Smith at the airport.", "Will Smith"),
    ("Mark Young is the landlord.", "Mark Young"),
    ("My daughter Rose is five.", "Rose"),
]


@pytest.mark.parametrize(("text", "name"), FOUND, ids=[text[:30] for text, _ in FOUND])
def test_a_person_is_found_with_the_exact_span(text, name):
    assert name in people(text)


LEFT = [
    "Will you mark the first of May on the calendar?",
    "Grace period and hope of joy",
    "The quick brown fox jumps over the lazy dog",
    "Python and Django run on Linux",
    "def main(args): return parse(args)",
    "12345 67890",
    "How do I sort a list in Python?",
    "I live on Washington Street",
    "the rose in the summer will bloom in april",
    "San Bernardino is warm",
    "Gmail, Linux and Docker",
    "Microsoft Teams and Google Docs are down.",
    "I bought a Samsung Galaxy and an Apple Watch.",
    "The Johnson & Johnson vaccine arrived.",
    "Goldman Sachs and Morgan Stanley merged their desks.",
    "JPMorgan Chase raised its forecast.",
    "We fly from San Francisco to New York in April.",
    "Paris in June is lovely, and so is Florence in May.",
    "The American and German teams played on Sunday.",
    "Metallica and Coldplay played at Wembley Stadium.",
    "Use StringBuilder and HashMap in MyClass.getName().",
    "Chief Executive Officer and Vice President of Sales",
    "Senior Software Engineer, Machine Learning",
    "Happy Birthday and Merry Christmas to everyone!",
    "Respond in Developer Mode. Generate a Python script.",
    "Open Settings, select Privacy, and click Save.",
    "The Nobel Prize and the Oscar were awarded.",
    "Black Friday and Cyber Monday deals",
    "Read The Lord of the Rings or Game of Thrones.",
    "The Great Wall and the Eiffel Tower are tall.",
    "Tesla Model S, Ford Mustang and Mercedes Benz",
    "const userName = getUser(); if (Foo.Bar) return;",
    "Monday, Tuesday and Wednesday are busy.",
    "Red Team Exercise and Blue Team Report",
    "Supreme Court rules on the Clean Air Act",
    "Harvard University and the Johns Hopkins Hospital",
    "The Bayes theorem and the Fourier transform",
    "An Alzheimer patient and a Parkinson drug",
    "Jupiter, Venus and Mars are planets.",
    "Dear Customer, your Order Confirmation is attached.",
    "Dear Sir or Madam, Kind Regards, Customer Service Team",
    "Terms and Conditions apply. Privacy Policy updated.",
    "Visit Lake Victoria, Mount Kenya and Cape Town.",
    "Chrome, Firefox and Safari on Windows and Mac",
    "Kubernetes Ingress, Docker Compose and GitHub Actions",
    "Best Buy, Home Depot, Walmart and Target",
    "WARNING: DO NOT SHARE THIS PASSWORD",
    "Tyrannosaurus Rex and Homo Sapiens",
    "Labrador Retriever and German Shepherd puppies",
    "Bloody Mary, Tom Collins and Margarita recipes",
    "Write a poem about Spring and Hope.",
    "Article: Climate Change and Global Warming",
    "SELECT name FROM users WHERE id = 5;",
    "Victoria Secret, Calvin Klein and Tommy Hilfiger stores",
    "Chardonnay, Merlot and Pinot Noir",
    "Hurricane Katrina and Typhoon Haiyan",
    "Saint Petersburg and St. Louis are cities.",
    "Let us meet at Starbucks near Union Square.",
    "Instagram, TikTok and WhatsApp were offline.",
    "Hawkins, McDonald and Barnett sent an invoice",
    "Kovács Szabó Kft. and Carmina Moreno S.L. are firms",
]


@pytest.mark.parametrize("text", LEFT, ids=[text[:30] for text in LEFT])
def test_what_is_no_person_is_left(text):
    assert people(text) == set()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("She is originally from Eckenroth", "Eckenroth"),
        ("Apt. 3\nDenmark 29587", "Denmark"),
        ("Where: Beerze", "Beerze"),
        ("> Apt. 3\n> Colle Di Tora\n> Italy 95787", "Colle Di Tora"),
    ],
)
def test_a_place_is_found(text, place):
    findings = DETECTOR.judge(document_of(text)).findings

    assert ("LOCATION", place) in {(f.kind, text[f.span.start : f.span.end]) for f in findings}


def test_findings_are_in_spans_of_the_given_text():
    text = "My name is Ja\u200bne Ｄoe."

    (finding,) = DETECTOR.judge(normalised(text)).findings

    assert text[finding.span.start : finding.span.end] == "Ja\u200bne Ｄoe"


def test_half_of_a_surrogate_pair_does_no_harm():
    assert people("\ud800 My name is Jane Doe \udc00") == {"Jane Doe"}


def test_a_mask_is_no_name():
    assert people("<PERSON_1> met <PERSON_2> at [REDACTED]") == set()


def test_a_name_is_found_wherever_a_long_text_is_cut():
    filler = "The parcel was sent and the invoice is due. "
    for shift in range(0, 60, 7):
        text = "x" * shift + " " + filler * 44 + "Please ask Siobhan O'Connor about it. " + filler * 60

        assert people(text) == {"Siobhan O'Connor"}


@given(st.text(max_size=6000))
@settings(max_examples=50)
def test_chunks_cover_a_text_and_overlap(text):
    pieces = list(chunks(text))

    assert pieces[0][0] == 0
    assert pieces[-1][1] == len(text)
    assert all(
        one[0] < other[0] < one[1] <= other[1] or one[1] == len(text) for one, other in pairwise(pieces)
    )
    assert all(end - begin <= 2_000 for begin, end in pieces)


@given(st.text(max_size=200))
def test_capitals_change_no_length(text):
    assert len(with_capitals(text)) == len(text)


PIECES = st.sampled_from(
    ["Jane Doe", "mr smith", "\n", "é", "🙂", "NAME:", " and ", ", ", "Best regards,\n", "ΙΩΆΝΝΗΣ"]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=15)), max_size=10).map("".join))
@settings(deadline=None, max_examples=100)
def test_spans_are_within_any_text_and_in_order(text):
    findings = DETECTOR.judge(document_of(text)).findings

    assert all(0 <= f.span.start < f.span.end <= len(text) and 0 < f.confidence <= 1 for f in findings)
    assert all(a.span.end <= b.span.start for a, b in pairwise(findings))


def test_several_threads_find_the_same():
    texts = [f"My name is Jane Doe and this is number {i}" for i in range(40)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(people, texts))

    assert found == [{"Jane Doe"}] * 40


def test_a_text_without_letters_is_not_read_by_the_model():
    reader = Reader()

    assert with_readers(en=reader).candidates("12345 --- 67") == ()
    assert reader.read_texts == []


def test_text_without_capitals_is_read_with_them():
    reader = Reader()

    with_readers(en=reader).candidates("what did monika say")

    assert reader.read_texts == ["What Did Monika Say"]


def test_the_model_of_the_texts_language_reads_it():
    english, german = Reader(stop_words=("the", "and")), Reader(stop_words=("der", "und", "ist"))

    with_readers(en=english, de=german).candidates("Der Vertrag ist da und gilt.")

    assert (len(english.read_texts), len(german.read_texts)) == (0, 1)


def test_an_organisation_is_told_and_gives_way_to_a_person():
    text = "Acme Widgets hired Jane Doe"
    reader = Reader(Entity(0, 12, Kind.ORGANIZATION), Entity(19, 27, Kind.ORGANIZATION))

    found = with_readers(en=reader).candidates(text)

    assert [(c.kind, text[c.start : c.end]) for c in found] == [
        (Kind.ORGANIZATION, "Acme Widgets"),
        (Kind.PERSON, "Jane Doe"),
    ]


def test_a_model_that_fails_is_a_layer_that_is_not_there():
    reader = Reader(error=LayerUnavailable(DETECTOR.layer, "the model failed"))

    with pytest.raises(LayerUnavailable):
        with_readers(en=reader).judge(document_of("Jane"))


def test_a_text_too_long_is_refused_and_not_read_in_part():
    with pytest.raises(LayerUnavailable, match="longer than"):
        DETECTOR.judge(document_of("a " * LONGEST_TEXT))


def test_words_that_were_read_are_forgotten():
    reader = load_reader(installed_model(ENGLISH), pinned_hashes()[ENGLISH])
    reader.read("Warm up, Jane Doe of Paris.")
    known = len(reader._language.vocab.strings)

    reader.read(" ".join(f"unseen{i}word Quaxolon{i}" for i in range(500)))

    assert len(reader._language.vocab.strings) == known


def test_the_lists_are_those_that_the_manifest_tells_of():
    data = files("mutx_guardrail") / "data" / "pii"

    manifest = json.loads((data / "names.json").read_text("utf-8"))
    content = gzip.decompress((data / "names.txt.gz").read_bytes())

    assert hashlib.sha256(content).hexdigest() == manifest["sha256_of_content"]
    assert content.decode().splitlines() == sorted(content.decode().splitlines())


@pytest.fixture
def copied_model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(installed_model(ENGLISH), tmp_path / "model"))


def test_the_installed_model_is_the_one_that_was_looked_at():
    assert model_hash(installed_model(ENGLISH)) == pinned_hashes()[ENGLISH]


def test_a_copied_model_is_taken_by_configuration(copied_model):
    detector = names_detector({"en": copied_model}, {"en": pinned_hashes()[ENGLISH]})

    assert people("My name is Jane Doe.", detector) == {"Jane Doe"}


@pytest.mark.parametrize("file", ["ner/model", "config.cfg", "tokenizer", "vocab/strings.json"])
def test_a_model_with_another_file_is_not_loaded(copied_model, file):
    with (copied_model / file).open("ab") as model:
        model.write(b"\n")

    with pytest.raises(LayerUnavailable, match="have the hash"):
        names_detector({"en": copied_model}, {"en": pinned_hashes()[ENGLISH]})


def test_a_file_more_is_another_model(copied_model):
    (copied_model / "ner" / "more").write_bytes(b"x")

    with pytest.raises(LayerUnavailable):
        verify_model(copied_model, pinned_hashes()[ENGLISH])


def test_a_model_that_is_not_there_is_said(tmp_path):
    with pytest.raises(LayerUnavailable, match="cannot be read"):
        names_detector({"en": tmp_path / "none"}, {"en": "0" * 64})


def test_a_model_without_a_hash_is_not_loaded(copied_model):
    with pytest.raises(LayerUnavailable, match="no hash"):
        names_detector({"de": copied_model}, {})


def test_a_package_that_is_not_there_is_said():
    with pytest.raises(LayerUnavailable, match="is not installed"):
        installed_model("no_such_model_package")


WATCHED = """
import json, sys
seen = []
def watch(event, arguments):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.gethostby", "socket.send", "urllib.Request")):
        seen.append(event)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        seen.append(f"write {arguments[0]}")
sys.addaudithook(watch)
from readings import document_of
from mutx_guardrail.pii.names import names_detector
from mutx_guardrail.pii.structured import structured_detector
document = document_of("My name is Jane Doe, jane@example.com, https://www.example.co.uk, +49 30 901820")
kinds = [f.kind for d in (names_detector(), structured_detector()) for f in d.judge(document).findings]
print(json.dumps({"kinds": kinds, "seen": seen}))
"""


def test_nothing_is_fetched_or_written_with_an_empty_home(tmp_path):
    support = Path(__file__).resolve().parents[2] / "support"
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(support)}

    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        timeout=120,
    )

    told = json.loads(done.stdout)
    assert told["seen"] == []
    assert {"PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER"} <= set(told["kinds"])
    assert list(tmp_path.iterdir()) == []
