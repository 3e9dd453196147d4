"""The package schema, made from the table: what this stand-in knows, and no more."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mutx_sandbox.aws.resource import Kind, ResourceType
from mutx_sandbox.aws.table import TABLE

_TYPES: dict[Kind, dict[str, Any]] = {
    Kind.STRING: {"type": "string"},
    Kind.JSON: {"type": "string"},
    Kind.INTEGER: {"type": "integer"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.STRINGS: {"type": "array", "items": {"type": "string"}},
    Kind.MAP: {"type": "object", "additionalProperties": {"type": "string"}},
    Kind.OBJECT: {"$ref": "pulumi.json#/Any"},
    Kind.OBJECTS: {"type": "array", "items": {"$ref": "pulumi.json#/Any"}},
}


def provider_version() -> str:
    """Return the version of the SDK that programs use, so that the engine finds no mismatch."""
    try:
        return version("pulumi-aws")
    except PackageNotFoundError:
        return "7.51.1"


@lru_cache(maxsize=1)
def package_schema() -> str:
    """Return the schema as JSON text."""
    resources = {token: _resource(kind) for token, kind in TABLE.items()}
    return json.dumps({"name": "aws", "version": provider_version(), "resources": resources})


def _resource(kind: ResourceType) -> dict[str, Any]:
    inputs = {name: _TYPES[described.kind] for name, described in kind.properties.items()}
    outputs = {name: _TYPES[output.kind] for name, output in kind.outputs.items()}
    if kind.tagging is not None:
        outputs["tagsAll"] = _TYPES[Kind.MAP]
    return {
        "inputProperties": inputs,
        "properties": {**inputs, **outputs},
        "requiredInputs": [name for name, described in kind.properties.items() if described.required],
    }
