"""Write each role's README.md from its argument specs and defaults, so that it cannot say something else.

`.venv/bin/python tools/make_role_pages.py` writes them; a unit test compares them with what is committed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parent.parent / "playbooks" / "roles"

_INLINE_WIDTH = 90
_MADE = (
    "Made from `meta/argument_specs.yml` and `defaults/main.yml` by `tools/make_role_pages.py`:"
    " edit those and run it again."
)


def main() -> int:
    """Write every page."""
    for path, text in pages(ROLES).items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROLES.parent.parent))
    return 0


def pages(roles: Path) -> dict[Path, str]:
    """Return the text of each role's page by its path."""
    found = sorted(spec.parent.parent for spec in roles.glob("*/meta/argument_specs.yml"))
    return {role / "README.md": render(role) for role in found}


def render(role: Path) -> str:
    """Return a role's page."""
    spec = _load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]
    defaults = _load(role / "defaults" / "main.yml")
    lines = [
        f"# Role `{role.name}`",
        "",
        _MADE,
        "",
        f"{spec['short_description']}.",
        "",
        *(f"{paragraph}\n" for paragraph in spec["description"]),
        "| variable | type | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name, option in spec["options"].items():
        lines.append(_row(name, option, _default(defaults, name)))
        lines += [_row(f"{name}[].{key}", inner, "") for key, inner in option.get("options", {}).items()]
    return "\n".join([*lines, "", *_long_defaults(spec["options"], defaults)]).rstrip() + "\n"


def _row(name: str, option: dict[str, Any], default: str) -> str:
    kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
    kind += ", required" if option.get("required") else ""
    choices = option.get("choices")
    meaning = option["description"] + (f" One of {', '.join(f'`{c}`' for c in choices)}." if choices else "")
    return f"| `{name}` | {kind} | {default} | {meaning} |".replace("  ", " ")


def _default(defaults: dict[str, Any], name: str) -> str:
    if name not in defaults:
        return ""
    text = _inline(defaults[name])
    return f"`{text}`" if len(text) <= _INLINE_WIDTH else "below"


def _long_defaults(options: dict[str, Any], defaults: dict[str, Any]) -> list[str]:
    long = {name: defaults[name] for name in options if _default(defaults, name) == "below"}
    if not long:
        return []
    dumped = yaml.safe_dump(long, sort_keys=False, default_flow_style=False, width=110)
    return ["```yaml", dumped.rstrip(), "```"]


def _inline(value: object) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6).strip()
    return text.removesuffix("...").strip().replace("|", "\\|")


def _load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


if __name__ == "__main__":
    sys.exit(main())
