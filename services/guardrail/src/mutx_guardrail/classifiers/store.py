"""Load a model's folder, or refuse it: each file is the one that the manifest names, byte for byte."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mutx_guardrail.classifiers.calibration import Calibration, Fused
from mutx_guardrail.classifiers.encoder import (
    LAST_LAYER,
    WIDTH,
    Encoder,
    model_file,
    read_verified,
    tokenizer_file,
)
from mutx_guardrail.classifiers.head import TASKS, Head, assemble
from mutx_guardrail.layer import LayerUnavailable
from mutx_guardrail.verdict import Layer

BUILT_IN: Final = Path(__file__).resolve().parent.parent / "data" / "models" / "minilm-guard"
MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "weights.npz"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Kind = TypeVar("Kind", bound=BaseModel)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EncoderFiles(_Model):
    """Which encoder the head was trained on."""

    model: Sha256
    tokenizer: Sha256
    layers: tuple[Annotated[int, Field(ge=1, le=LAST_LAYER)], ...]


class Manifest(_Model):
    """What a model folder holds."""

    version: int
    name: str
    encoder: EncoderFiles
    files: Mapping[str, Sha256]
    calibration: Mapping[str, Calibration]
    fusion: Mapping[str, Fused]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to judge."""

    manifest: Manifest
    encoder: Encoder
    head: Head


def load(folder: Path) -> Loaded:
    """Return the model of a folder.

    Raises:
        LayerUnavailable: a file is missing, is another than the manifest says, or does not fit.
    """
    manifest = read_manifest(folder / MANIFEST, Manifest)
    if WEIGHTS not in manifest.files or not set(manifest.calibration) == set(manifest.fusion) == set(TASKS):
        raise LayerUnavailable(Layer.CLASSIFIER, f"{MANIFEST} names no weights or lacks a task's calibration")
    for name, sha256 in manifest.files.items():
        if Path(name).name != name:
            raise LayerUnavailable(Layer.CLASSIFIER, f"{MANIFEST} names a file outside of its folder")
        content = read_verified(folder / name, sha256)
        if name == WEIGHTS:
            weights = content
    layers = manifest.encoder.layers
    try:
        head = assemble(_arrays(weights), WIDTH * len(layers))
    except ValueError as error:
        raise LayerUnavailable(Layer.CLASSIFIER, f"{WEIGHTS} does not fit: {error}") from None
    encoder = Encoder(
        read_verified(model_file(), manifest.encoder.model),
        read_verified(tokenizer_file(), manifest.encoder.tokenizer),
        layers,
    )
    return Loaded(manifest, encoder, head)


def read_manifest(path: Path, kind: type[Kind]) -> Kind:
    """Return a folder's manifest.

    Raises:
        LayerUnavailable: it cannot be read, or is not of this kind.
    """
    try:
        return kind.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise LayerUnavailable(Layer.CLASSIFIER, f"{path.name} cannot be read ({error.strerror})") from None
    except (ValueError, ValidationError):
        raise LayerUnavailable(Layer.CLASSIFIER, f"{path.name} is no manifest of a model") from None


def _arrays(content: bytes) -> dict[str, NDArray[np.generic]]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"no arrays ({type(error).__name__})") from None
