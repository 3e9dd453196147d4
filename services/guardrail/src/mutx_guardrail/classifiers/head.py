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
    """Weights, each of float32 once loaded; the two tasks share all but the last of each part.

    Every word piece's vector is projected, four trained queries choose which of them count, and a small layer over
    what they chose and over the style gives one number a task. The n-grams give two others, of the whole and of the
    worst sentence; `mix` joins the three.
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
        style = (styles(text, ids, inner) - self.style_mean) / self.style_scale
        read = self.read(hidden, style)
        parts = sentences(text)
        counted = self.counted(text)
        worst = np.max([self.counted(part) for part in parts], axis=0) if len(parts) > 1 else counted
        mixed = read * self.mix[0] + counted * self.mix[1] + worst * self.mix[2] + self.mix_bias
        return np.asarray(mixed, dtype=np.float32)

    def read(self, hidden: Floats, style: Floats) -> Floats:
        """Return what the encoder's vectors and the style say."""
        pieces = np.tanh(_product(hidden, self.project) + self.project_bias)
        attention = pieces @ self.queries
        attention = np.exp(attention - attention.max(axis=0))
        attention /= attention.sum(axis=0)
        pooled = (attention.T @ pieces).ravel()
        whole = np.concatenate([pooled, pieces.mean(axis=0), style])
        return np.asarray(np.maximum(whole @ self.dense + self.dense_bias, 0) @ self.out + self.out_bias)

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
    tasks, (inside, heads) = len(TASKS), _two(found["queries"])
    dense = _two(found["dense"])[1]
    wanted = {
        "project": (width, inside), "project_bias": (inside,), "queries": (inside, heads),
        "style_mean": (len(STYLES),), "style_scale": (len(STYLES),),
        "dense": (inside * heads + inside + len(STYLES), dense), "dense_bias": (dense,),
        "out": (dense, tasks), "out_bias": (tasks,),
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


def _two(array: NDArray[np.generic]) -> tuple[int, int]:
    rows, columns = array.shape
    return rows, columns
