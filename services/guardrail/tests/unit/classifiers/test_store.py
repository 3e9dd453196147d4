"""A model's folder is loaded whole and unaltered, or the layer says that it is not available."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mutx_guardrail.classifiers import load_classifiers
from mutx_guardrail.classifiers.store import BUILT_IN, MANIFEST, WEIGHTS
from mutx_guardrail.layer import LayerUnavailable
from mutx_guardrail.verdict import Layer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUILT_IN, tmp_path / "model"))


def change_manifest(folder: Path, **fields: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | fields))


def rewrite_weights(folder: Path, content: bytes) -> None:
    """Put other weights there, and let the manifest vouch for them."""
    (folder / WEIGHTS).write_bytes(content)
    change_manifest(folder, files={WEIGHTS: hashlib.sha256(content).hexdigest()})


def save(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(folder / WEIGHTS, **arrays)
    rewrite_weights(folder, (folder / WEIGHTS).read_bytes())


def refusal(folder: Path) -> str:
    with pytest.raises(LayerUnavailable) as caught:
        load_classifiers(folder)
    assert caught.value.layer is Layer.CLASSIFIER
    return caught.value.why


def test_the_built_in_model_and_a_copy_of_it_load(folder):
    assert load_classifiers(folder).name == load_classifiers().name


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()

    assert name in refusal(folder)


@pytest.mark.parametrize("keep", [0, 10, -1], ids=["empty", "cut off", "last byte gone"])
def test_weights_of_another_hash_are_refused(folder, keep):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:keep])

    assert "not the file that the manifest names" in refusal(folder)


def test_one_flipped_bit_is_refused(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / WEIGHTS).write_bytes(content)

    assert "not the file that the manifest names" in refusal(folder)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 no archive", b"\x80\x04K\x01."], ids=["empty", "no archive", "a pickle"]
)
def test_weights_that_the_manifest_vouches_for_but_are_no_arrays_are_refused(folder, content):
    rewrite_weights(folder, content)

    assert "does not fit" in refusal(folder)


def test_truncated_weights_that_the_manifest_vouches_for_are_refused(folder):
    rewrite_weights(folder, (folder / WEIGHTS).read_bytes()[:-200])

    assert "does not fit" in refusal(folder)


def test_an_array_of_objects_is_refused_unread(folder):
    with np.load(folder / WEIGHTS) as archive:
        arrays = dict(archive)
    np.savez(folder / WEIGHTS, **arrays | {"out": np.array([{"a": 1}], dtype=object)})
    rewrite_weights(folder, (folder / WEIGHTS).read_bytes())

    assert "does not fit" in refusal(folder)


@pytest.mark.parametrize("name", ["project", "ngram", "mix", "style_mean"])
def test_an_array_that_is_missing_or_of_another_shape_is_named(folder, name):
    with np.load(folder / WEIGHTS) as archive:
        arrays = dict(archive)

    save(folder, {key: value for key, value in arrays.items() if key != name})
    assert name in refusal(folder)

    save(folder, arrays | {name: arrays[name][:1]})
    assert "does not fit" in refusal(folder)


def test_weights_that_are_not_numbers_are_refused(folder):
    with np.load(folder / WEIGHTS) as archive:
        arrays = dict(archive)
    arrays["out_bias"] = np.full_like(arrays["out_bias"], np.nan)
    save(folder, arrays)

    assert "out_bias is not finite" in refusal(folder)


def test_another_encoder_than_the_head_was_trained_on_is_refused(folder):
    encoder = json.loads((folder / MANIFEST).read_text())["encoder"]
    change_manifest(folder, encoder=encoder | {"model": "0" * 64})

    assert "model.onnx is not the file" in refusal(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"files": {"../weights.npz": "0" * 64, WEIGHTS: "0" * 64}},
        {"files": {}},
        {"calibration": {}},
        {"surplus": 1},
    ],
    ids=["outside", "no weights", "no calibration", "unknown field"],
)
def test_a_manifest_that_does_not_say_what_it_must_is_refused(folder, fields):
    change_manifest(folder, **fields)

    assert MANIFEST in refusal(folder) or WEIGHTS in refusal(folder)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff\xfe", b"{"], ids=["empty", "a list", "no text", "cut off"]
)
def test_a_manifest_that_is_none_is_refused(folder, content):
    (folder / MANIFEST).write_bytes(content)

    assert "no manifest" in refusal(folder)
