"""From camelCase properties to botocore's shapes and back; the models decide names and types, not this table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType

import jmespath
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from mutx_sandbox.bridge.failures import OperationError
from mutx_sandbox.bridge.values import Properties, Value

_REFERENCE = re.compile(r"\$(\w+)")


class ShapeError(OperationError, ValueError):
    """A value does not fit the API's input shape; the message names where."""


def fit(operation: OperationModel, parameters: Mapping[str, Value]) -> Properties:
    """Coerce request parameters to the operation's input shape, leaving out what is None.

    Raises:
        ShapeError: a member the API does not have, or a value of another type.
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    fitted = _fit(shape, dict(parameters), operation.name)
    return dict(fitted)


def upper_camel(name: str) -> str:
    """Return the member name that most APIs use for a property: `vpcId` becomes `VpcId`."""
    return name[:1].upper() + name[1:]


def to_api(value: Value, odd: Mapping[str, str] = MappingProxyType({})) -> Value:
    """Turn property names into the API's, deeply (`httpTokens`: `HttpTokens`); `odd` holds those spelt otherwise."""
    if isinstance(value, dict):
        return {odd.get(key, upper_camel(key)): to_api(item, odd) for key, item in value.items()}
    return [to_api(item, odd) for item in value] if isinstance(value, list) else value


def lower_camel(value: Value) -> Value:
    """Turn the member names of an API value into property names, deeply (`DnsName`: `dnsName`), and times to text."""
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: lower_camel(item) for key, item in value.items()}
    if isinstance(value, list):
        return [lower_camel(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def search(path: str, item: Value) -> Value:
    """Evaluate a JMESPath expression; expressions are compiled once."""
    return _compiled(path).search(item)


def fill(template: Value, values: Mapping[str, Value]) -> Value:
    """Replace `$name` in a request template.

    A string that is one reference takes the value as it is, of whatever type; None leaves the member out. Inside a
    longer string the text is inserted, and absent values are empty.
    """
    if isinstance(template, Mapping):
        filled = {key: fill(item, values) for key, item in template.items()}
        return {key: item for key, item in filled.items() if item is not None}
    if isinstance(template, list | tuple):
        return [item for item in (fill(item, values) for item in template) if item is not None]
    if not isinstance(template, str) or "$" not in template:
        return template
    if (whole := _REFERENCE.fullmatch(template)) is not None:
        return values.get(whole[1])
    return _REFERENCE.sub(lambda match: _text(values.get(match[1])), template)


def put(target: Properties, path: str, value: Value) -> None:
    """Set a dotted path, `PortRange.From`, making the dictionaries on the way."""
    *parents, last = path.split(".")
    for name in parents:
        target = target.setdefault(name, {})
    target[last] = value


@lru_cache(maxsize=1024)
def _compiled(path: str) -> Value:
    return jmespath.compile(path)


def _text(value: Value) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fit(shape: Shape, value: Value, where: str) -> Value:
    if isinstance(shape, StructureShape):
        return _fit_structure(shape, value, where)
    if isinstance(shape, MapShape):
        if not isinstance(value, dict):
            raise ShapeError(f"{where}: expected a map, got {type(value).__name__}")
        return {str(key): _fit(shape.value, item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(shape, ListShape):
        if not isinstance(value, list | tuple):
            raise ShapeError(f"{where}: expected a list, got {type(value).__name__}")
        return [_fit(shape.member, item, where) for item in value if item is not None]
    return _fit_scalar(shape, value, where)


def _fit_structure(shape: StructureShape, value: Value, where: str) -> Properties:
    if not isinstance(value, dict):
        raise ShapeError(f"{where}: expected a structure, got {type(value).__name__}")
    fitted = {}
    for key, item in value.items():
        if item is None:
            continue
        member = shape.members.get(key)
        if member is None:
            raise ShapeError(f"{where}: the API has no member {key}")
        fitted[key] = _fit(member, item, f"{where}.{key}")
    return fitted


def _fit_scalar(shape: Shape, value: Value, where: str) -> Value:
    try:
        if shape.type_name in {"integer", "long"}:
            return int(value)
        if shape.type_name in {"float", "double"}:
            return float(value)
    except (TypeError, ValueError) as exc:
        raise ShapeError(f"{where}: expected a number") from exc
    if shape.type_name == "boolean":
        return value in {True, "true"}
    if shape.type_name == "string":
        return _text(value)
    return value
