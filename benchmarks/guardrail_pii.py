"""Measure how well the guardrail finds personal data in labelled texts: by kind, beside Presidio with the same model.

`.venv/bin/python benchmarks/guardrail_pii.py FILE.jsonl` prints Markdown; `--write` puts it into
docs/reference/accuracy-pii.md. Lines have `text`, `spans` (`type`, `start`, `end`) and `template_id`. The counting is
services/guardrail/training/measure_pii.py's. The texts are other people's, and are not in the repository.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from page import paragraph, publish
from subjects import ROOT, commit

sys.path.append(str(ROOT / "services" / "guardrail" / "training"))

import measure_pii as measure  # type: ignore[import-not-found]  # training is a folder of scripts, no package

PAGE = ROOT / "docs" / "reference" / "accuracy-pii.md"
HALVES = {"tune": "looked at", "test": "never looked at"}
PARTS = {
    "structured": ("Structured kinds", measure.STRUCTURED),
    "names": ("Names, beside the structured kinds", measure.NAMES),
    "presidio": ("Presidio's names, the same spaCy model", measure.NAMES),
}
Find = Callable[[str], Sequence[measure.Marked]]


def main(arguments: Sequence[str]) -> int:
    """Count, and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    told = [
        "# Accuracy of finding personal data\n",
        paragraph(
            f"Measured by `benchmarks/guardrail_pii.py` on {datetime.now(UTC):%Y-%m-%d} at commit {commit()}, at the "
            "usual threshold of a half, on the sentences that Presidio's makers publish (synthetic, of templates). "
            "Templates are halved by the hash of their number: one half was read while rules were written, the other "
            "never. A span is found when a finding of its kind shares at least half of their union; precision counts "
            "every finding. *Joined*: neighbours of one kind are one, in labels and findings alike, for these labels "
            "cut many an address into house, street, flat and code. *Covered* is the share of labelled spans of which "
            "nine tenths are in findings of their kind, however cut."
        ),
        "",
    ]
    for part, (title, kinds) in PARTS.items():
        find = measure.finder(part)
        told.append(f"## {title}\n")
        for half, name in HALVES.items():
            told += _table(options.file, half, name, find, kinds)
    publish(PAGE, "\n".join(told) + "\n", write=options.write)
    return 0


def _table(file: Path, half: str, name: str, find: Find, kinds: Sequence[str]) -> list[str]:
    rows = measure.read_rows(file, half)
    whole = [measure.Row(row.text, measure.joined(row.text, row.spans)) for row in rows]
    plain, _ = measure.count(rows, find, exact=False)
    joined, _ = measure.count(whole, lambda text: measure.joined(text, find(text)), exact=False)
    present = [kind for kind in kinds if kind in plain]
    return [
        f"The half {name}, {len(rows)} texts:\n",
        "| kind | spans | recall | precision | covered | joined: recall | precision |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_row(f"`{kind}`", plain[kind], joined[kind]) for kind in present),
        _row("all of these", _sum(plain, present), _sum(joined, present)),
        "",
    ]


def _row(name: str, plain: Counter[str], joined: Counter[str]) -> str:
    spans = plain["hit"] + plain["missed"]
    shares = (*_shares(plain), plain["covered"] / spans if spans else None, *_shares(joined))
    return f"| {name} | {spans} | {' | '.join('-' if each is None else f'{each:.2f}' for each in shares)} |"


def _shares(counts: Counter[str]) -> tuple[float | None, float | None]:
    wanted, found = counts["hit"] + counts["missed"], counts["hit"] + counts["false"]
    return counts["hit"] / wanted if wanted else None, counts["hit"] / found if found else None


def _sum(counts: Mapping[str, Counter[str]], kinds: Sequence[str]) -> Counter[str]:
    return sum((counts[kind] for kind in kinds), Counter())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
