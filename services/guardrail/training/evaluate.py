"""Judge a file of labelled texts with the built-in model, and tell by source how it fares.

    python training/evaluate.py FILE.jsonl [--task prompt_injection] [--by source|lang|kind|length]

Lines are `{"text": …, "label": 0|1, "source": …}`. Thresholds are those stored in the model; besides them recall is
told at 1 % and 5 % of false positives on the file's own benign texts, as others publish it (optimistic: chosen on it).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import metrics
import numpy as np
from mutx_guardrail.classifiers import load_classifiers
from mutx_guardrail.classifiers.head import TASKS
from mutx_guardrail.classifiers.store import BUILT_IN
from mutx_guardrail.document import PLAIN, Document, Origin, View


def document_of(text: str) -> Document:
    """Return a text with its plain reading alone: what layer 0 would add is measured elsewhere."""
    return Document(text, Origin.USER, (View.whole(PLAIN, text),), ())


def _group(row: dict[str, object], by: str) -> str:
    if by == "length":
        size = len(str(row["text"]))
        return next(
            name
            for name, most in (("to 100", 100), ("to 500", 500), ("to 2000", 2000), ("more", 1 << 30))
            if size <= most
        )
    return str(row.get(by) or "not told")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--task", choices=TASKS, default=TASKS[0])
    parser.add_argument("--by", default="source")
    parser.add_argument("--model", type=Path, default=BUILT_IN)
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.file.open(encoding="utf-8")]
    classifiers = load_classifiers(options.model)
    detector = classifiers.injection if options.task == TASKS[0] else classifiers.toxicity
    scores, took = [], []
    for row in rows:
        began = time.perf_counter()
        scores.append(detector.judge(document_of(row["text"])).score)
        took.append(time.perf_counter() - began)
    score = np.array(scores)
    label = np.array([int(row["label"]) for row in rows])
    group = np.array([_group(row, options.by) for row in rows])
    calibration = json.loads((options.model / "manifest.json").read_text())["calibration"][options.task]
    good, bad = score[label == 0], score[label == 1]
    cuts = {"default": calibration["threshold"]} | calibration["thresholds"]
    if len(good) and len(bad):
        own = {f"own {rate:g}": metrics.cut_at(good, rate) for rate in (0.01, 0.05)}
        cuts |= own
        print(
            f"AUC {metrics.auc(bad, good):.4f}; "
            + ", ".join(
                f"{name} ({cut:.4f}): recall {(bad >= cut).mean():.3f}, over-block {(good >= cut).mean():.4f}"
                for name, cut in cuts.items()
            )
        )
    print("\n".join(metrics.table(score, label, group, cuts)))
    print(
        f"{len(rows)} texts, {1e3 * np.median(took):.1f} ms in the median, {1e3 * np.quantile(took, 0.99):.1f} at 99 %"
    )


if __name__ == "__main__":
    main()
