"""Every field of the schema, broken in every way the schema can tell: refused with file, line, field and remedy.

The cases are generated from the JSON Schema, so a new field is covered on the day it appears.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mutx_infra.adapters.spec_file import load_spec, tenant_schema
from mutx_infra.errors import SpecError
from tests.support.specs import a_spec

SCHEMA = tenant_schema()
Location = tuple[str | int, ...]

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMAoCAQECAQECAQE=\n-----END CERTIFICATE-----\n"
SEALS: dict[str, dict[str, Any]] = {
    "transit": {
        "type": "transit",
        "address": "https://vault.acme.example:8200",
        "mount": "transit",
        "key": "mutx",
        "ca": CERTIFICATE,
    },
    "awskms": {"type": "awskms", "key_arn": "arn:aws:kms:eu-west-1:310987654321:key/1234abcd"},
    "static": {"type": "static"},
}
VALID: dict[str, Any] = {
    "id": "acme",
    "region": "eu-west-1",
    "tier": "starter",
    "name": "Acme Robotics",
    "account": "012345678901",
    "zones": ["eu-west-1a", "eu-west-1b"],
    "cidr": "10.0.4.0/22",
    "tags": {"team": "x"},
    "administrators": ["ann@example.com"],
    "clients": ["bob@example.com", "kim@example.com"],
    "contacts": [{"email": "ops@example.com", "role": "billing", "name": "Ada"}],
    "byok": {"admin_ca": CERTIFICATE, "seal": SEALS["transit"]},
    "guardrail": {
        "providers": ["openai"],
        "tunnels": ["*.example.com"],
        "judge": {
            "url": "http://127.0.0.1:8000/v1",
            "model": "Qwen/Qwen3Guard-Gen-4B",
            "family": "qwen3guard",
        },
        "without_judge": {
            "owner": "ann@example.com",
            "reason": "the node has no GPU yet",
            "expires": "2027-03-31",
        },
    },
}
PLATFORM: dict[str, Any] = {
    **{field: value for field, value in VALID.items() if field not in {"byok", "guardrail"}},
    "id": "platform",
    "tier": "platform",
    "archive": {"account": "310987654321"},
}
"""What only the platform's spec may say is said here."""
WRONG_TYPES: dict[str, list[object]] = {
    "string": [17, 1.5, True, ["x"], {"x": "y"}],
    "array": ["x", 17, True, {"x": "y"}],
    "object": ["x", 17, True, ["x"]],
}


@dataclass(frozen=True)
class Broken:
    """A spec with one thing wrong: where, and what stands there instead (`MISSING` for nothing at all).

    `seal` is the seal that the spec has, where that is not the usual one.
    """

    location: Location
    value: object
    why: str
    seal: str = "transit"

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.location))} {self.why}"


MISSING = object()


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return dict(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    return schema


def _alternatives(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [_resolved(part) for part in schema.get("anyOf", schema.get("oneOf", [schema]))]


def _broken(schema: dict[str, Any], location: Location) -> Iterator[Broken]:
    """Yield every way to break what stands at a location, and all that is below it."""
    kinds = _alternatives(_resolved(schema))
    if not any(kind["type"] == "null" for kind in kinds) and location:
        yield Broken(location, None, "null")
    for kind in kinds:
        if kind["type"] == "null":
            continue
        yield from (
            Broken(location, value, f"wrong type {value!r}")
            for value in WRONG_TYPES[kind["type"]]
            if location
        )
        seal = kind.get("properties", {}).get("type", {}).get("const", "transit")
        found = (*_limits(kind, location), *_below(kind, location))
        yield from (
            replace(case, seal=seal) if seal in SEALS and seal != "transit" else case for case in found
        )


def _limits(kind: dict[str, Any], location: Location) -> Iterator[Broken]:
    if kind.get("minLength"):
        yield Broken(location, "", "too short")
    if "maxLength" in kind:
        yield Broken(location, "a" * (kind["maxLength"] + 1), "too long")
    if "pattern" in kind:
        for text in (
            "No Such Thing!",
            "ÄÖÜ",
            "\u0661\u0662\u0663",
            _valid_at(location) + "\n",
            " " + _valid_at(location),
        ):
            yield Broken(location, text, f"pattern {text!r}")
    if allowed := kind.get("enum", [kind["const"]] if "const" in kind else []):
        for text in ("", "other", allowed[0].upper(), allowed[0] + " "):
            yield Broken(location, text, f"enum {text!r}")
    if kind.get("minItems"):
        yield Broken(location, [], "too few")
    if "maxItems" in kind:
        yield Broken(location, [_valid_at((*location, 0))] * (kind["maxItems"] + 1), "too many")
    if kind.get("uniqueItems"):
        yield Broken(location, [_valid_at((*location, 0))] * 2, "twice the same")
    if "maxProperties" in kind:
        yield Broken(location, {f"k{n}": "x" for n in range(kind["maxProperties"] + 1)}, "too many")


def _below(kind: dict[str, Any], location: Location) -> Iterator[Broken]:
    for name, inner in kind.get("properties", {}).items():
        yield from _broken(inner, (*location, name))
        if name in kind.get("required", []):
            yield Broken((*location, name), MISSING, "missing")
    if kind.get("additionalProperties") is False:
        yield Broken((*location, "colour"), "red", "unknown field")
    if isinstance(kind.get("additionalProperties"), dict):
        yield from _broken(kind["additionalProperties"], (*location, "team"))
    if "propertyNames" in kind:
        long = "k" * (kind["propertyNames"]["maxLength"] + 1)
        yield from (
            Broken((*location, key), "x", f"key {key[:9]!r}") for key in ("", long, " k", "k\u200b", "k!")
        )
    if "items" in kind:
        yield from _broken(kind["items"], (*location, 0))


def _valid_at(location: Location) -> Any:
    if location[-1] == "key_arn":
        return SEALS["awskms"]["key_arn"]
    value: Any = _base(location)
    for part in location:
        value = value[part]
    return value


def _base(location: Location) -> dict[str, Any]:
    return VALID if location[0] in {*VALID, "colour"} else PLATFORM


def _with(broken: Broken) -> dict[str, Any]:
    spec = copy.deepcopy(_base(broken.location))
    if "byok" in spec:
        spec["byok"]["seal"] = copy.deepcopy(SEALS[broken.seal])
    place: Any = spec
    for part in broken.location[:-1]:
        place = place[part]
    if broken.value is MISSING:
        del place[broken.location[-1]]
    else:
        place[broken.location[-1]] = broken.value
    return spec


def _yaml(spec: dict[str, Any]) -> str:
    """Write a spec with one thing a line, so that each has a line of its own."""
    return "".join(f"{json.dumps(key)}:{_block(value)}\n" for key, value in spec.items())


def _block(value: object) -> str:
    if isinstance(value, dict) and value:
        return "".join(f"\n  {json.dumps(key)}: {json.dumps(inner)}" for key, inner in value.items())
    if isinstance(value, list) and value:
        return "".join(f"\n  - {_item(item)}" for item in value)
    return f" {json.dumps(value)}"


def _item(value: object) -> str:
    if isinstance(value, dict) and value:
        return "\n    ".join(f"{json.dumps(key)}: {json.dumps(inner)}" for key, inner in value.items())
    return json.dumps(value)


def _lines_of(text: str, broken: Broken) -> set[int]:
    """Where the error may point: the field's key; what is missing or wrong as a whole, its parent."""
    key = next((part for part in reversed(broken.location) if isinstance(part, str)), "")
    parent = next((part for part in reversed(broken.location[:-1]) if isinstance(part, str)), "")
    lines = text.splitlines()
    own = {number for number, line in enumerate(lines, 1) if json.dumps(key) + ":" in line}
    above = {number for number, line in enumerate(lines, 1) if parent and json.dumps(parent) + ":" in line}
    items = {number + 1 for number in (own if isinstance(broken.location[-1], int) else above)}
    return own | items if broken.value is not MISSING else (above | items or {1})


CASES = [*_broken(SCHEMA, ())]


def test_the_valid_spec_says_everything_that_can_be_said() -> None:
    assert {*VALID, *PLATFORM} == set(SCHEMA["properties"])
    for valid in (VALID, PLATFORM, *(_with(Broken(("name",), "Acme", "not at all", seal)) for seal in SEALS)):
        assert a_spec(valid["id"], **{k: v for k, v in valid.items() if k not in {"id", "region"}})
        jsonschema.validate(valid, SCHEMA)


def test_every_field_is_broken_in_several_ways() -> None:
    broken = {case.location[0] for case in CASES}

    assert broken == {*VALID, *PLATFORM, "colour"}
    assert len(CASES) > 100


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_broken_field_is_refused_with_file_line_field_reason_and_remedy(
    case: Broken, tmp_path: Path
) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(_yaml(_with(case)), encoding="utf-8")

    with pytest.raises(SpecError) as refused:
        load_spec(path)

    error = refused.value
    place = re.fullmatch(rf"in {re.escape(str(path))}, line (\d+)", error.detail.splitlines()[0])
    assert place
    assert int(place[1]) in _lines_of(path.read_text(encoding="utf-8"), case)
    assert error.message.startswith(f"`{case.location[0]}")
    assert len(error.message.partition("` ")[2]) > len("is x")
    assert re.fullmatch(r"spec(-[a-z0-9]+)+", error.code)
    assert error.remedy
    assert error.exit_status == 3


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_an_editor_would_mark_is_refused_and_the_schema_is_as_strict_as_it_can_be(
    case: Broken, tmp_path: Path
) -> None:
    """What the schema lets pass must be one of the few things that JSON Schema cannot say."""
    editor_complains = not jsonschema.Draft202012Validator(SCHEMA).is_valid(_with(case))
    beyond_json_schema = {"key ' k'", "key 'k\\u200b'", "key 'k!'"}

    assert editor_complains or case.why in beyond_json_schema or "\\n" in case.why
