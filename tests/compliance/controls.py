"""The table of controls that the suites look at, as the playbooks publish it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from mutx_infra.evidence import Control


@cache
def controls() -> dict[str, Control]:
    """Return every control by its id."""
    text = files("mutx_infra.playbooks").joinpath("controls.yml").read_text(encoding="utf-8")
    rows: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return {name: Control.model_validate({"id": name, **row}) for name, row in rows.items()}
