"""Measure the detection of personal data: `measure_pii.py FILE.jsonl [--half tune|test] [--part names|presidio]`.

Each line has `text`, `spans` (`type`, `start`, `end`) and may have `template_id`; halves are drawn by its hash, so that
no template is in both. A span is found when one of the same kind shares at least half of their union (`--exact`: when
both ends agree). With `--joined`, neighbours of one kind with nothing but blanks, commas and marks of a quotation
between them are one, in labels and findings alike: some labels cut an address into house, street, flat and code.
`covered` is the share of spans that findings of their kind cover, however cut. Precision counts every finding of a
kind, at `--threshold` and above.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mutx_guardrail.document import Document, Origin, View
from mutx_guardrail.pii.find import find_pii
from mutx_guardrail.pii.kinds import ALIASES, Kind
from mutx_guardrail.pii.models import ENGLISH, installed_model
from mutx_guardrail.pii.structured import structured_detector
from mutx_guardrail.policy import Pii
from mutx_guardrail.verdict import Finding

STRUCTURED: Final = (
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "IBAN_CODE",
    "US_SSN",
    "IP_ADDRESS",
    "STREET_ADDRESS",
    "ZIP_CODE",
)
NAMES: Final = ("PERSON", "LOCATION", "ORGANIZATION", "NRP")
_HALF_OF_UNION: Final = 0.5
_NEARLY_ALL: Final = 0.9
_BETWEEN: Final = " ,;>?|*-\r\n\t"


@dataclass(frozen=True, slots=True)
class Marked:
    """A span with its kind."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Row:
    """A text with its labels."""

    text: str
    spans: tuple[Marked, ...]


def read_rows(path: Path, half: str) -> list[Row]:
    """Return the rows of a half (`tune`, `test`), or of all."""
    rows = []
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        if half in {"all", _half_of(str(row.get("template_id", row["text"])))}:
            spans = (
                Marked(str(ALIASES.get(s["type"], s["type"])), s["start"], s["end"]) for s in row["spans"]
            )
            rows.append(Row(row["text"], tuple(spans)))
    return rows


def document_of(text: str) -> Document:
    """Return a document whose plain reading is the text itself."""
    return Document(text, Origin.USER, (View.whole("plain", text),), ())


def count(
    rows: Iterable[Row], find: Callable[[str], Sequence[Marked]], *, exact: bool
) -> tuple[Mapping[str, Counter[str]], list[float]]:
    """Return hits, misses and false findings by kind, and how many milliseconds of the processor each text took."""
    counts: dict[str, Counter[str]] = {}
    times = []
    for row in rows:
        begin = time.thread_time()
        found = list(find(row.text))
        times.append((time.thread_time() - begin) * 1000)
        for wanted in row.spans:
            match = next((f for f in found if f.kind == wanted.kind and _agree(f, wanted, exact=exact)), None)
            counter = counts.setdefault(wanted.kind, Counter())
            counter["hit" if match else "missed"] += 1
            counter["covered"] += _is_covered(wanted, found)
        for one in found:
            if not any(one.kind == wanted.kind and _agree(one, wanted, exact=exact) for wanted in row.spans):
                counts.setdefault(one.kind, Counter())["false"] += 1
    return counts, times


def joined(text: str, spans: Sequence[Marked]) -> tuple[Marked, ...]:
    """Return the spans with neighbours of one kind made one."""
    whole: list[Marked] = []
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        last = whole[-1] if whole else None
        if last and last.kind == span.kind and not text[last.end : span.start].strip(_BETWEEN):
            whole[-1] = Marked(span.kind, last.start, max(last.end, span.end))
        else:
            whole.append(span)
    return tuple(whole)


def report(counts: Mapping[str, Counter[str]], kinds: Sequence[str], title: str) -> None:
    """Print recall and precision by kind and of all together."""
    total: Counter[str] = Counter()
    print(f"{title:24} {'n':>5} {'recall':>7} {'precision':>10} {'false':>6} {'covered':>8}")
    for kind in kinds:
        if kind in counts:
            _line(kind, counts[kind])
            total += counts[kind]
    _line("all of these", total)


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    options = _parser().parse_args(arguments)
    rows = read_rows(options.file, options.half)
    find = finder(options.part, options.threshold)
    for row in rows[:20]:
        find(row.text)
    if options.joined:
        rows = [Row(row.text, joined(row.text, row.spans)) for row in rows]
        found, find = find, lambda text: joined(text, found(text))
    counts, times = count(rows, find, exact=options.exact)
    print(f"{len(rows)} texts, half: {options.half}, threshold {options.threshold}")
    if options.part in {"names", "presidio"}:
        report(counts, NAMES, options.part)
    else:
        report(counts, [kind for kind in STRUCTURED if kind != "STREET_ADDRESS"], "structured")
        report(counts, STRUCTURED, "with street addresses")
        other = sorted(set(counts) - set(STRUCTURED) - set(NAMES))
        report(counts, other, "other kinds")
    quantiles = statistics.quantiles(times, n=100)
    print(
        f"CPU ms: p50 {quantiles[49]:.3f}, p95 {quantiles[94]:.3f}, p99 {quantiles[98]:.3f}, max {max(times):.3f}"
    )


def finder(part: str, threshold: float = 0.5) -> Callable[[str], Sequence[Marked]]:
    """Return what finds with one part (`structured`, `names`, `presidio`): a text's findings, as sure as is wanted."""
    return _PARTS[part](threshold)


def _structured(threshold: float) -> Callable[[str], Sequence[Marked]]:
    detector = structured_detector()
    return lambda text: _marked(detector.judge(document_of(text)).findings, threshold)


def _names(threshold: float) -> Callable[[str], Sequence[Marked]]:
    # spaCy takes seconds to import, and is not needed for the other part.
    from mutx_guardrail.pii.names import names_detector  # noqa: PLC0415

    structured, names = structured_detector(), names_detector()
    policy = Pii(kinds=tuple(Kind), threshold=threshold)
    return lambda text: _marked(find_pii(document_of(text), structured, names, policy), threshold)


def _presidio(threshold: float) -> Callable[[str], Sequence[Marked]]:
    """Return Presidio alone: the whole pipeline of the same model, and its recogniser for names."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry  # noqa: PLC0415
    from presidio_analyzer.nlp_engine import SpacyNlpEngine  # noqa: PLC0415
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer  # noqa: PLC0415

    registry = RecognizerRegistry([SpacyRecognizer(supported_language="en")])
    models = [{"lang_code": "en", "model_name": str(installed_model(ENGLISH))}]
    engine = AnalyzerEngine(
        registry=registry, nlp_engine=SpacyNlpEngine(models=models), supported_languages=["en"]
    )
    return lambda text: [
        Marked(result.entity_type, result.start, result.end)
        for result in engine.analyze(text, language="en")
        if result.score >= threshold
    ]


def _marked(findings: Iterable[Finding], threshold: float) -> list[Marked]:
    return [Marked(f.kind, f.span.start, f.span.end) for f in findings if f.confidence >= threshold]


_PARTS: Final = {"structured": _structured, "names": _names, "presidio": _presidio}


def _agree(one: Marked, other: Marked, *, exact: bool) -> bool:
    shared = min(one.end, other.end) - max(one.start, other.start)
    if exact:
        return (one.start, one.end) == (other.start, other.end)
    return shared > 0 and shared / (max(one.end, other.end) - min(one.start, other.start)) >= _HALF_OF_UNION


def _line(name: str, counts: Counter[str]) -> None:
    wanted, found = counts["hit"] + counts["missed"], counts["hit"] + counts["false"]
    recall = counts["hit"] / wanted if wanted else float("nan")
    precision = counts["hit"] / found if found else float("nan")
    covered = counts["covered"] / wanted if wanted else float("nan")
    print(f"{name:24} {wanted:5} {recall:7.3f} {precision:10.3f} {counts['false']:6} {covered:8.3f}")


def _is_covered(wanted: Marked, found: Iterable[Marked]) -> bool:
    """Say whether every letter of the span, but for one in ten, is in findings of its kind, however these are cut."""
    inside = (
        min(one.end, wanted.end) - max(one.start, wanted.start) for one in found if one.kind == wanted.kind
    )
    return sum(max(0, each) for each in inside) >= _NEARLY_ALL * (wanted.end - wanted.start)


def _half_of(template: str) -> str:
    return "tune" if hashlib.sha256(template.encode()).digest()[0] % 2 else "test"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--half", choices=("all", "tune", "test"), default="all")
    parser.add_argument("--part", choices=_PARTS, default="structured", help="names: both parts together")
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--joined", action="store_true")
    parser.add_argument("--threshold", type=float, default=0.5)
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
