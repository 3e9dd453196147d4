"""Waivers, read from YAML: what is known to fail, why that is borne, by whom and how long."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from mutx_infra.errors import SettingsError
from mutx_infra.evidence import Waiver

_WAIVERS = TypeAdapter(tuple[Waiver, ...])


def load_waivers(path: Path) -> tuple[Waiver, ...]:
    """Return the waivers of a file; a file that is empty or does not exist has none.

    Raises:
        SettingsError: it is not readable YAML, or a waiver lacks a reason, an owner or an expiry.
    """
    remedy = (
        "correct the file; each waiver has `control`, `reason`, `owner` and `expires`, and may have `target`"
    )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
        return _WAIVERS.validate_python([] if content is None else content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise SettingsError(
            f"the waivers in {path} cannot be read",
            code="waivers-unreadable",
            remedy=remedy,
            detail=str(exc),
        ) from exc
    except ValidationError as exc:
        problems = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in exc.errors()]
        raise SettingsError(
            f"the waivers in {path} are not valid: {problems[0]}",
            code="waivers-invalid",
            remedy=remedy,
            detail="\n".join(problems[1:]),
        ) from exc
