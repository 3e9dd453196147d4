"""A stand-in's package as the engine sees it: name, version and schema, made from its table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Generic, TypeVar

from mutx_sandbox.bridge.properties import Described, Kind

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

T = TypeVar("T", bound=Described)


@dataclass(frozen=True, slots=True)
class Package(Generic[T]):
    """What a stand-in knows.

    Attributes:
        name: the package's, `aws`.
        table: resource types by token.
        usual_version: said where the package's SDK is not installed.
    """

    name: str
    table: Mapping[str, T]
    usual_version: str

    def version(self) -> str:
        """Return the version of the SDK that programs use, so that the engine finds no mismatch."""
        try:
            return version(f"pulumi-{self.name}")
        except PackageNotFoundError:
            return self.usual_version

    def schema(self) -> str:
        """Return the package schema as JSON text: what this stand-in knows, and no more."""
        resources = {token: self.describe(kind) for token, kind in self.table.items()}
        return json.dumps({"name": self.name, "version": self.version(), "resources": resources})

    def describe(self, kind: T) -> dict[str, Any]:
        """Return the schema of one resource type."""
        inputs = {
            name: _typed(described.kind, secret=described.secret)
            for name, described in kind.properties.items()
        }
        outputs = {name: _typed(output.kind, secret=output.secret) for name, output in kind.outputs.items()}
        return {
            "inputProperties": inputs,
            "properties": {**inputs, **outputs},
            "requiredInputs": [name for name, described in kind.properties.items() if described.required],
        }

    def refusal(self, what: str) -> str:
        """Say that something of the official package is not there."""
        return (
            f"{what} is not supported by the sandbox's stand-in for the {self.name} provider; "
            "docs/reference/sandbox.md lists what is"
        )


def _typed(kind: Kind, *, secret: bool) -> dict[str, Any]:
    return {**_TYPES[kind], "secret": True} if secret else _TYPES[kind]
