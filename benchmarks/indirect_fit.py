"""Fit the weights of the guardrail's layer `intent` to the half of the measurement that may be looked at.

`.venv/bin/python benchmarks/indirect_fit.py --packages FOLDER` writes data/intent/weights.yaml. Each weight of a
logistic function is drawn towards the value set by hand below; what a sign of an attack weighs is never below nothing.
Sentences of planted instructions are attacks, all sentences of ordinary texts are none.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from indirect_cases import Text, agentdojo, attacked, ordinary
from mutx_guardrail.document import Origin
from mutx_guardrail.intent.detector import IntentDetector
from mutx_guardrail.normalise.reading import read_text
from subjects import ROOT

WEIGHTS = ROOT / "services/guardrail/src/mutx_guardrail/data/intent/weights.yaml"
PRIOR = Path(__file__).parent / "corpora" / "indirect_prior.yaml"
STRENGTH, STRENGTH_OF_BASE = 5.0, 0.05
"""How strongly a weight is drawn to its prior: the inverse of a variance."""
RAREST = 8
"""Sentences in which a fact has to be so for it to weigh."""
PLANTED, AUTHORED, OTHER = 0.7, 4.0, 0.6
"""How much a sentence counts. Descriptions and licences are many and much alike; authored texts are few and hard."""
FIXED = {"covered:purpose": -1.0, "covered:task": -4.0}
"""Decisions, not measurements: the measurement has no task, and its purposes are one line each."""
NO_EVIDENCE = frozenset({"sign:call"})
_HEAD = """# What each fact of a sentence weighs, in log-odds: written by benchmarks/indirect_fit.py, not by hand.
"""


def main(arguments: Sequence[str]) -> int:
    """Fit, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--packages", type=Path, required=True, help="a folder with AgentDojo's wheel")
    options = parser.parse_args(arguments)
    texts = [*ordinary("tune"), *attacked("tune"), *agentdojo("tune", options.packages)]
    rows = [row for text in texts for row in _rows(text)]
    prior = yaml.safe_load(PRIOR.read_text("utf-8"))
    weights = _fit(rows, {str(name): float(value) for name, value in prior.items()})
    WEIGHTS.write_text(_HEAD + yaml.safe_dump({"weights": weights}, sort_keys=False), "utf-8")
    return 0


Row = tuple[frozenset[str], bool, float]


def _rows(text: Text, detector: IntentDetector = IntentDetector()) -> list[Row]:  # noqa: B008 - built once
    assessed = list(detector.assess(read_text(text.text, Origin.RETRIEVED), text.purpose))
    if not text.planted:
        counts = AUTHORED if text.source == "authored" else OTHER
        return [(each.facts, False, counts) for each in assessed]
    start = text.text.find(text.planted_as)
    end = start + len(text.planted_as)
    plain = [each for each in assessed if each.view.name == "plain"]
    spans = [(each, each.view.original(each.sentence.start, each.sentence.end)) for each in plain]
    return [(each.facts, True, PLANTED) for each, span in spans if span.start < end and span.end > start]


def _fit(rows: Sequence[Row], prior: dict[str, float]) -> dict[str, float]:
    """Return the weights at the greatest likelihood under the prior, by Newton's steps."""
    counts = Counter(fact for found, _, _ in rows for fact in found)
    names = sorted(
        name
        for name in {*prior, *(fact for fact, count in counts.items() if count >= RAREST)}
        if name not in {"base", "place:open"} and not name.startswith("covered:")
    )
    place = {name: at for at, name in enumerate(names)}
    facts = np.zeros((len(rows), len(names) + 1))
    facts[:, -1] = 1
    for row, (found, _, _) in enumerate(rows):
        for fact in found & place.keys():
            facts[row, place[fact]] = 1
    wanted = np.array([planted for _, planted, _ in rows], dtype=float)
    counted = np.array([counts_as for _, _, counts_as in rows])
    means = np.array([*(prior.get(name, 0.0) for name in names), prior["base"]])
    pull = np.full(len(means), STRENGTH)
    pull[-1] = STRENGTH_OF_BASE
    fitted = means.copy()
    for _ in range(40):
        likely = 1 / (1 + np.exp(-facts @ fitted))
        slope = facts.T @ (counted * (wanted - likely)) - pull * (fitted - means)
        bend = (facts * (counted * likely * (1 - likely))[:, None]).T @ facts + np.diag(pull)
        step = np.linalg.solve(bend, slope)
        fitted += step
        if np.abs(step).max() < 1e-4:
            break
    weights = {"base": round(float(fitted[-1]), 2)}
    for name, value in zip(names, fitted, strict=False):
        is_evidence = name.startswith(("sign:", "joint:")) and name not in NO_EVIDENCE
        weights[name] = round(max(0.0, float(value)) if is_evidence else float(value), 2)
    return weights | FIXED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
