"""Write docs/reference/guardrail.md from the guardrail's own models: verdicts, policy, settings, problems.

`.venv/bin/python tools/make_guardrail_page.py`; a unit test fails when the page is older than the models.
"""

from __future__ import annotations

import inspect
import json
from enum import StrEnum
from pathlib import Path
from typing import Any

from mutx_guardrail import policy
from mutx_guardrail.document import Origin
from mutx_guardrail.patterns.pack import load_pack
from mutx_guardrail.pii.kinds import ALIASES, DEFAULT_KINDS, Kind
from mutx_guardrail.pii.pack import load_pack as load_pii_pack
from mutx_guardrail.policy import Pii
from mutx_guardrail.service.problems import KINDS
from mutx_guardrail.service.settings import PREFIX, VARIABLES
from mutx_guardrail.verdict import Action, CheckName, Layer, Reason

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "guardrail.md"
_MODELS = (
    policy.Policy, policy.InputPolicy, policy.OutputPolicy, policy.Judged, policy.Foreign, policy.Pii, policy.Secrets,
    policy.Length, policy.Encoding, policy.Sink, policy.Anomaly, policy.Agent, policy.Allowance,
)  # fmt: skip
_BY_NAMES = frozenset({Kind.PERSON, Kind.LOCATION, Kind.ORGANIZATION, Kind.NRP, Kind.DATE_TIME})
_OTHERWISE = {
    Kind.PHONE_NUMBER: "alone in international and some national forms, else with a word; checked",
    Kind.STREET_ADDRESS: "alone by a street's sort and number, or by the place behind; else with a word",
}
_ENUMERATIONS: dict[str, type[StrEnum]] = {
    "Checks": CheckName, "Reasons": Reason, "Actions": Action, "Layers": Layer, "Origins": Origin,
}  # fmt: skip
_HEAD = """# The guardrail: verdicts, policy, settings

Made from the service's models by `tools/make_guardrail_page.py`. What it is and why:
[the guardrail](../explanation/guardrail.md).

## Verdicts

`POST /v1/guard/input` and `/v1/guard/output` answer 200 with one object, whether the text may pass or not. Spans are
code points of the text as it was given, `start` up to, not including, `end`. Nothing but `sanitized` and `spotlight`
holds a piece of the text.

```json
{"allowed": true,
 "checks": [{"name": "prompt_injection", "passed": true, "confidence": 0.95, "findings": [], "score": 0.05}],
 "latency_ms": 12.1, "model": "local-guard-v1", "policy": "built-in@296262e76610", "degraded": ["judge"],
 "sanitized": "…"}
{"allowed": false, "reason": "prompt_injection_detected", "details": "found by patterns: inj-override-earlier",
 "confidence": 0.93, "action": "block", "checks": ["…"], "latency_ms": 9.8, "model": "local-guard-v1",
 "policy": "…", "degraded": ["judge"]}
```

`score` is how likely the text is what the check looks for, on a scale where a half is the threshold; `confidence` is in
what the check says. A check that is not named in `checks` was not asked. One with `unavailable` was to be made by a
layer that could not: it has not passed, and the text is refused (`check_unavailable`, unless another check found an
attack). `degraded` names the layers that this node does without.
"""


def page() -> str:
    """Return the page."""
    packs = (load_pack(name) for name in ("injection", "toxicity"))
    told = [_HEAD]
    told += [f"{title}: {_names(kind)}.\n" for title, kind in _ENUMERATIONS.items()]
    told.append(
        f"`{Action.BLOCK}`, `{Action.RATE_LIMIT}` and `{Action.PAUSE}` refuse; the others let the text pass, "
        "changed or noted. "
        f"Pattern packs: {', '.join(f'`{each.check}` {each.version} ({len(each.rules)} rules)' for each in packs)}.\n"
    )
    told.append("## Policy\n\nOne YAML or JSON file. Every field has a default; an unknown one is refused.\n")
    told += [_table(model) for model in _MODELS]
    told.append(_kinds())
    told.append(f"## Settings of the service\n\nVariables begin with `{PREFIX}`. Unknown ones are refused.\n")
    told.append("| variable | meaning |\n| --- | --- |")
    told.append("\n".join(f"| `{name}` | {meaning} |" for name, meaning in VARIABLES.items()) + "\n")
    told.append("## Problems\n\nWhat is no verdict is RFC 9457's `application/problem+json`.\n")
    told.append("| code | status | title |\n| --- | --- | --- |")
    told.append(
        "\n".join(f"| `{code}` | {kind.status} | {kind.title} |" for code, kind in sorted(KINDS.items()))
        + "\n"
    )
    told.append(
        "## Exit statuses of `mutx-guardrail`\n\n0 the text may pass, or done; 1 a defect; 2 wrong usage; 3 settings, "
        "policy or a file are not valid; 5 a layer could not be loaded; 6 the text may not pass.\n"
    )
    return "\n".join(told)


def _kinds() -> str:
    """Return what is said of each kind of personal data: whether it is looked for, and what it needs to be found."""
    rows = [f"| `{kind}` | {'yes' if kind in DEFAULT_KINDS else 'no'} | {_found_by(kind)} |" for kind in Kind]
    aliases = ", ".join(f"`{alias}` for `{kind}`" for alias, kind in ALIASES.items())
    return (
        "## Kinds of personal data\n\nWhat a policy's `kinds` may name. *Alone*: found by its form and check digits, "
        "with a confidence of a half or more; *with a word*: only where a word for it stands near, such as "
        "`passport` or `Steuer-ID`. Below a half, and so with a lower `threshold` alone, some more forms are told. "
        f"Presidio's other names are understood: {aliases}.\n\n| kind | on by default | found |\n| --- | --- | --- |\n"
        + "\n".join(rows)
        + "\n"
    )


def _found_by(kind: Kind) -> str:
    if kind in _BY_NAMES:
        return "by the names layer" + (
            ", told without being masked unless named" if kind is Kind.LOCATION else ""
        )
    if kind in _OTHERWISE:
        return _OTHERWISE[kind]
    rules = [rule for rule in load_pii_pack("pii", "rules.yml").sections["rules"] if rule["kind"] == kind]
    is_alone = any(rule["alone"] >= Pii().threshold for rule in rules)
    is_checked = any(rule.get("check", "anything") != "anything" for rule in rules)
    return ("alone" if is_alone else "with a word") + (", checked" if is_checked else "")


def _names(kind: type[StrEnum]) -> str:
    return ", ".join(f"`{each.value}`" for each in kind)


def _table(model: type[Any]) -> str:
    schema = model.model_json_schema()
    rows = []
    for name, field in schema["properties"].items():
        default = (
            "required" if name in schema.get("required", ()) else f"`{json.dumps(field.get('default'))}`"
        )
        rows.append(f"| `{name}` | {_type(field)} | {_shown(default)} |")
    words = " ".join((inspect.getdoc(model) or "").split())
    return (
        f"### {model.__name__}\n\n{words}\n\n| field | type | default |\n| --- | --- | --- |\n"
        + "\n".join(rows)
        + "\n"
    )


def _shown(default: str) -> str:
    return "its defaults" if default.startswith("`{") and default != "`{}`" else default


def _type(field: dict[str, Any]) -> str:  # noqa: PLR0911 - one for each kind of a schema
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})" if name in {model.__name__ for model in _MODELS} else name
    if "anyOf" in field:
        return " or ".join(_type(each) for each in field["anyOf"] if each.get("type") != "null")
    if "allOf" in field:
        return _type(field["allOf"][0])
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if field.get("type") == "object":
        return (
            f"by name: {_type(field['additionalProperties'])}"
            if isinstance(field.get("additionalProperties"), dict)
            else "object"
        )
    low, high = (
        field.get("minimum", field.get("exclusiveMinimum")),
        field.get("maximum", field.get("exclusiveMaximum")),
    )
    bounds = f" {low} to {high}" if low is not None and high is not None else ""
    return {"integer": "whole number", "number": "number", "string": "text", "boolean": "yes or no"}[
        field["type"]
    ] + bounds


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
