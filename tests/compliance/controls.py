"""The table of controls that the suites look at, as the playbooks publish it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from mutx_infra.evidence import Control

REMEDY = "run `mutx-infra hosts harden TENANT`, or the playbook `provision.yml`"
"""What mends a control unless its row says otherwise."""
_BASELINES = ("cis", "anssi")


@cache
def controls() -> dict[str, Control]:
    """Return every control by its id."""
    text = files("mutx_infra.playbooks").joinpath("controls.yml").read_text(encoding="utf-8")
    rows: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return {name: _control(name, row) for name, row in rows.items()}


def _control(name: str, row: dict[str, Any]) -> Control:
    return Control(
        id=name,
        title=row["title"],
        requirements=(row["requirement"],),
        references={base: ", ".join(map(str, row[base])) for base in _BASELINES if row.get(base)},
        remedy=row.get("remedy", REMEDY),
    )
