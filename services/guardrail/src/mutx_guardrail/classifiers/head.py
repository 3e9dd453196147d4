"""The trained part: what is made of the encoder's vectors, the n-grams and the measures of style of one window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mutx_guardrail.classifiers.encoder import Floats
from mutx_guardrail.classifiers.features import BUCKETS, STYLES, ngrams, sentences, styles

_ALONE: Final = 1 << 18

TASKS: Final = ("prompt_injection", "toxic_content")


@dataclass(frozen=True, slots=True)
class Head:
    """Weights, each of float32 once loaded. Each task has its own, so that one is trained without moving the other.

    Every word piece's vector is projected, four trained queries choose which of them count, and a small layer over
    what they chose and over the style gives one number; the first axis of those weights is the task. The n-grams give
    two others, of the whole and of the worst sentence; `mix` joins the three.
    """

    project: Floats
    project_bias: Floats
    queries: Floats
    style_mean: Floats
    style_scale: Floats
    dense: Floats
    dense_bias: Floats
    out: Floats
    out_bias: Floats
    ngram: NDArray[np.int8]
    ngram_scale: Floats
    ngram_bias: Floats
    mix: Floats
    mix_bias: Floats

    def logits(self, text: str, ids: NDArray[np.int64], inner: NDArray[np.bool_], hidden: Floats) -> Floats:
        """Return one number a task: above 0 is more likely than not, on balanced data."""
        read = self.read(hidden, styles(text, ids, inner))
        counted = self.counted(text)
        parts = sentences(text)
        worst = np.max([self.counted(part) for part in parts], axis=0) if len(parts) > 1 else counted
        mixed = read * self.mix[0] + counted * self.mix[1] + worst * self.mix[2] + self.mix_bias
        return np.asarray(mixed, dtype=np.float32)

    def read(self, hidden: Floats, style: Floats) -> Floats:
        """Return what the encoder's vectors and the style say."""
        return np.array([self._read(task, hidden, style) for task in range(len(TASKS))], dtype=np.float32)

    def _read(self, task: int, hidden: Floats, style: Floats) -> float:
        pieces = np.tanh(_product(hidden, self.project[task]) + self.project_bias[task])
        attention = pieces @ self.queries[task]
        attention = np.exp(attention - attention.max(axis=0))
        attention /= attention.sum(axis=0)
        pooled = (attention.T @ pieces).ravel()
        measured = (style - self.style_mean[task]) / self.style_scale[task]
        whole = np.concatenate([pooled, pieces.mean(axis=0), measured])
        inside = np.maximum(whole @ self.dense[task] + self.dense_bias[task], 0)
        return float(inside @ self.out[task] + self.out_bias[task])

    def counted(self, text: str) -> Floats:
        """Return what the n-grams say."""
        buckets, weights = ngrams(text)
        return np.asarray(
            weights @ self.ngram[buckets] * self.ngram_scale + self.ngram_bias, dtype=np.float32
        )


def _product(left: Floats, right: Floats) -> Floats:
    """Return the matrix product, some rows at a time.

    OpenBLAS shares a product of more than 2^18 multiplications among threads, which wait for each other by spinning: on
    a core that is not alone that costs more than the product.
    """
    step = max(1, _ALONE // right.size)
    return np.concatenate([left[at : at + step] @ right for at in range(0, len(left), step)])


def assemble(arrays: Mapping[str, NDArray[np.generic]], width: int) -> Head:
    """Return the head of these arrays; `width` is that of the encoder's vectors.

    Raises:
        ValueError: one is missing, or does not fit the others.
    """
    names = [field.name for field in fields(Head)]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"no {', '.join(missing)}")
    found = {name: np.asarray(arrays[name]) for name in names}
    tasks, (_, inside, heads) = len(TASKS), _three(found["queries"])
    dense = _three(found["dense"])[2]
    wanted = {
        "project": (tasks, width, inside), "project_bias": (tasks, inside), "queries": (tasks, inside, heads),
        "style_mean": (tasks, len(STYLES)), "style_scale": (tasks, len(STYLES)),
        "dense": (tasks, inside * heads + inside + len(STYLES), dense), "dense_bias": (tasks, dense),
        "out": (tasks, dense), "out_bias": (tasks,),
        "ngram": (BUCKETS, tasks), "ngram_scale": (tasks,), "ngram_bias": (tasks,),
        "mix": (3, tasks), "mix_bias": (tasks,),
    }  # fmt: skip
    for name, shape in wanted.items():
        if found[name].shape != shape:
            raise ValueError(f"{name} is {found[name].shape}, not {shape}")
        if found[name].dtype != np.int8 and not np.isfinite(found[name].astype(np.float32)).all():
            raise ValueError(f"{name} is not finite")
    if found["ngram"].dtype != np.int8:
        raise ValueError("ngram is not int8")
    ngram = found.pop("ngram").astype(np.int8)
    return Head(ngram=ngram, **{name: array.astype(np.float32) for name, array in found.items()})


def _three(array: NDArray[np.generic]) -> tuple[int, int, int]:
    tasks, rows, columns = array.shape
    return tasks, rows, columns
