"""Fit the parts of the head: the n-grams by logistic regression, the pooling over the encoder by gradient descent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from sklearn.linear_model import LogisticRegression
from windows_data import Data, weights

STRENGTH: Final = 8.0
INSIDE, HEADS, DENSE = 96, 4, 64
SIZES: Final = (16, 32, 64, 128)
EPOCHS: Final = 3
BATCH: Final = 96
Weights = dict[str, jax.Array]


@dataclass(frozen=True)
class Counted:
    """One weight a bucket, and the bias."""

    weight: NDArray[np.float64]
    bias: float

    def of(self, data: Data) -> NDArray[np.float64]:
        """Return what the n-grams say of each window: two columns, of the whole and of its worst sentence."""
        whole = data.ngrams @ self.weight + self.bias
        worst = np.full(len(data), -np.inf)
        np.maximum.at(worst, data.owner, data.sentences @ self.weight + self.bias)
        return np.stack([whole, np.where(np.isfinite(worst), worst, whole)], axis=1)


def fit_ngrams(data: Data, chosen: NDArray[np.bool_], column: int) -> Counted:
    """Fit to whole windows, then to their sentences as well.

    Which sentence of an attack is the attack is not told: the one that the first fit finds worst is taken for it, and
    the two worst of a benign window are benign too.
    """
    label, weight = data.labels[:, column] > 0.5, weights(data, column)
    use = chosen & (weight > 0)
    windows = np.flatnonzero(use)
    first = _logistic(data.ngrams[windows], label[windows], weight[windows])
    order = np.lexsort((-(data.sentences @ first.weight), data.owner))
    worst = np.r_[True, data.owner[order][1:] != data.owner[order][:-1]]
    second = np.r_[False, worst[:-1]] & ~worst
    sentences = np.concatenate([order[worst], order[second & ~label[data.owner[order]]]])
    sentences = sentences[use[data.owner[sentences]]]
    owner = data.owner[sentences]
    return _logistic(
        vstack([data.ngrams[windows], data.sentences[sentences]]),
        np.concatenate([label[windows], label[owner]]),
        np.concatenate([weight[windows], weight[owner] * np.where(label[owner], 1.0, 0.5)]),
    )


def _logistic(counted: csr_matrix, label: NDArray[np.bool_], weight: NDArray[np.float64]) -> Counted:
    model = LogisticRegression(C=STRENGTH, solver="liblinear", tol=5e-2, random_state=0)
    model.fit(counted, label, sample_weight=weight)
    return Counted(model.coef_[0], float(model.intercept_[0]))


def _start(width: int, styles: int, key: jax.Array) -> Weights:
    keys = jax.random.split(key, 4)
    whole = INSIDE * HEADS + INSIDE + styles
    return {
        "project": jax.random.normal(keys[0], (width, INSIDE)) / np.sqrt(width),
        "project_bias": jnp.zeros(INSIDE),
        "queries": jax.random.normal(keys[1], (INSIDE, HEADS)) * 0.3,
        "dense": jax.random.normal(keys[2], (whole, DENSE)) / np.sqrt(whole),
        "dense_bias": jnp.zeros(DENSE),
        "out": jax.random.normal(keys[3], (DENSE, 1)) / np.sqrt(DENSE),
        "out_bias": jnp.zeros(1),
    }


def forward(
    w: Weights, hidden: jax.Array, mask: jax.Array, style: jax.Array, key: jax.Array | None
) -> jax.Array:
    """Return the logits of a batch; with a key, with drop-out as in training."""
    if key is not None:
        first, second, third = jax.random.split(key, 3)
        hidden = hidden * jax.random.bernoulli(first, 0.9, (hidden.shape[0], 1, hidden.shape[2])) / 0.9
    pieces = jnp.tanh(hidden @ w["project"] + w["project_bias"])
    attention = jnp.where(mask[..., None], pieces @ w["queries"], -1e9)
    attention = jax.nn.softmax(attention, axis=1)
    pooled = jnp.einsum("bth,bti->bhi", attention, pieces).reshape(len(hidden), -1)
    mean = (pieces * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    whole = jnp.concatenate([pooled, mean, style], axis=1)
    if key is not None:
        whole = whole * jax.random.bernoulli(second, 0.8, whole.shape) / 0.8
    inside = jax.nn.relu(whole @ w["dense"] + w["dense_bias"])
    if key is not None:
        inside = inside * jax.random.bernoulli(third, 0.7, inside.shape) / 0.7
    return inside @ w["out"] + w["out_bias"]


def _loss(w: Weights, batch: tuple[jax.Array, ...], key: jax.Array) -> jax.Array:
    hidden, mask, style, label, weight = batch
    logits = forward(w, hidden, mask, style, key)
    label = jnp.nan_to_num(label) * 0.94 + 0.03
    loss = jnp.maximum(logits, 0) - logits * label + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    return (loss * weight).mean()


@jax.jit
def _step(
    w: Weights,
    moments: tuple[Weights, Weights],
    batch: tuple[jax.Array, ...],
    key: jax.Array,
    rate: jax.Array,
    count: jax.Array,
) -> tuple[Weights, tuple[Weights, Weights]]:
    """One step of Adam with decoupled weight decay."""
    slope = jax.grad(_loss)(w, batch, key)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], slope)
    second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, moments[1], slope)

    def move(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        return p - rate * (m / (1 - 0.9**count) / (jnp.sqrt(v / (1 - 0.99**count)) + 1e-8) + 0.02 * p)

    return jax.tree.map(move, w, first, second), (first, second)


def _batches(
    data: Data, use: NDArray[np.int64], draw: np.random.Generator | None
) -> Iterator[NDArray[np.int64]]:
    """Yield windows of like length together, in an order drawn anew each time."""
    sizes = np.searchsorted(SIZES, [len(data.hidden[i]) for i in use])
    found = []
    for size in range(len(SIZES)):
        same = use[sizes == size]
        if draw is not None:
            draw.shuffle(same)
        found += [same[at : at + BATCH] for at in range(0, len(same), BATCH)]
    order = draw.permutation(len(found)) if draw is not None else range(len(found))
    yield from (found[place] for place in order)


def _padded(data: Data, use: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    size = SIZES[int(np.searchsorted(SIZES, max(len(data.hidden[i]) for i in use)))]
    rows = BATCH if len(use) > BATCH // 2 else 16 * -(-len(use) // 16)
    hidden = np.zeros((rows, size, data.hidden[0].shape[1]), dtype=np.float32)
    mask = np.zeros((rows, size), dtype=np.bool_)
    mask[len(use) :, 0] = True
    for place, number in enumerate(use):
        hidden[place, : len(data.hidden[number])] = data.hidden[number]
        mask[place, : len(data.hidden[number])] = True
    return hidden, mask


def _filled(array: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    return np.concatenate([array, np.zeros((rows - len(array), array.shape[1]), dtype=np.float32)])


def fit_head(
    data: Data, chosen: NDArray[np.bool_], style: NDArray[np.float32], column: int, seed: int
) -> Weights:
    """Return the weights of one task's head."""
    label = data.labels[:, [column]]
    weight = weights(data, column)[:, None].astype(np.float32)
    use = np.flatnonzero(chosen & (weight[:, 0] > 0))
    draw, key = np.random.default_rng(seed), jax.random.key(seed)
    w = _start(data.hidden[0].shape[1], style.shape[1], key)
    moments = (jax.tree.map(jnp.zeros_like, w), jax.tree.map(jnp.zeros_like, w))
    count, total = 0, EPOCHS * sum(1 for _ in _batches(data, use, None))
    for _ in range(EPOCHS):
        for batch in _batches(data, use, draw):
            hidden, mask = _padded(data, batch)
            parts = tuple(_filled(each[batch], len(hidden)) for each in (style, label, weight))
            rate = 2e-3 * min(1, (count + 1) / 50) * 0.5 * (1 + np.cos(np.pi * count / total))
            count += 1
            w, moments = _step(
                w, moments, (hidden, mask, *parts), jax.random.fold_in(key, count), rate, count
            )
    return w


_forward = jax.jit(lambda w, hidden, mask, style: forward(w, hidden, mask, style, None))


def apply_head(
    w: Weights, data: Data, style: NDArray[np.float32], use: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the logits of some windows, in their order."""
    found = np.zeros(len(data), dtype=np.float32)
    for batch in _batches(data, use.copy(), None):
        hidden, mask = _padded(data, batch)
        logits = _forward(w, hidden, mask, _filled(style[batch], len(hidden)))
        found[batch] = np.asarray(logits)[: len(batch), 0]
    return found[use]
