"""Tenant specs and their lock files on disk."""

from __future__ import annotations

import difflib
import json
import os
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files as package_files
from ipaddress import AddressValueError, IPv4Interface
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mutx_infra.adapters.yaml_source import YamlSource, read_yaml
from mutx_infra.errors import SpecError
from mutx_infra.plan import Allocation, TenantPlan, make_plan
from mutx_infra.tenant import Contact, ContactRole, TenantSpec, Tier

LOCK_VERSION = 1
_LOCK_HEADER = "# Written by mutx-infra; commit it. It keeps the tenant's allocation for its life.\n"
SCHEMA_ID = "https://mutx.dev/schemas/tenant.json"


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A spec and the files it lives in."""

    spec: TenantSpec
    files: SpecFolder


@dataclass(frozen=True, slots=True)
class SpecFolder:
    """`SpecFiles` beside one spec: the lock file `<stem>.lock.yaml`."""

    spec_path: Path
    tenant: str

    @property
    def lock_path(self) -> Path:
        """Return the lock file's path."""
        return self.spec_path.with_name(f"{self.spec_path.stem}.lock.yaml")

    def lock(self, allocation: Allocation, spec: TenantSpec, plan_digest: str) -> None:
        """Write the lock file, atomically; unchanged content is not rewritten."""
        content = {
            "version": LOCK_VERSION,
            "tenant": spec.id,
            **allocation.model_dump(mode="json"),
            "plan": plan_digest,
        }
        text = _LOCK_HEADER + yaml.safe_dump(content, sort_keys=False)
        if self.lock_path.is_file() and self.lock_path.read_text(encoding="utf-8") == text:
            return
        temporary = self.lock_path.with_name(f".{self.lock_path.name}.{os.getpid()}")
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self.lock_path)

    def locked(self) -> Allocation | None:
        """Return the allocation of the lock file, or None where there is none.

        Raises:
            SpecError: the file is broken, of another version, or another tenant's.
        """
        if not self.lock_path.exists():
            return None
        source = read_yaml(self.lock_path, "the lock file")
        remedy = "restore it from version control, or delete it and run `mutx-infra tenant create` again"
        if source.data.get("version") != LOCK_VERSION or source.data.get("tenant") != self.tenant:
            raise SpecError(
                f"{self.lock_path.name} is not a lock file of {self.tenant}",
                code="lock-foreign",
                detail=source.where(("tenant",)),
                remedy=remedy,
            )
        fields = {key: source.data.get(key) for key in Allocation.model_fields}
        try:
            return Allocation.model_validate_json(json.dumps(fields))
        except ValidationError as exc:
            first = exc.errors()[0]
            raise SpecError(
                f"{self.lock_path.name}: `{first['loc'][0]}`: {first['msg']}",
                code="lock-broken",
                detail=source.where(first["loc"]),
                remedy=remedy,
            ) from exc


def load_spec(path: Path) -> LoadedSpec:
    """Read and check one tenant spec.

    Raises:
        SpecError: names file, line, field, reason and remedy; further errors are in the detail.
    """
    source = read_yaml(path, "the tenant spec")
    try:
        spec = TenantSpec.model_validate_json(json.dumps(source.data, allow_nan=False))
    except ValidationError as exc:
        raise _translated(source, exc) from exc
    return LoadedSpec(spec, SpecFolder(path, spec.id))


def load_plan(path: Path) -> TenantPlan:
    """Return the plan of a spec with its lock file, as `pulumi up` builds it.

    Raises:
        SpecError: the spec is invalid, or nothing was allocated yet.
    """
    loaded = load_spec(path)
    allocation = loaded.files.locked()
    if allocation is None:
        raise SpecError(
            f"{loaded.spec.id} has no allocation yet: {loaded.files.lock_path.name} is missing",
            code="lock-missing",
            detail=f"beside {path}",
            remedy=f"run `mutx-infra tenant create -f {path}` once, then commit the lock file",
        )
    return make_plan(loaded.spec, allocation)


def spec_skeleton(tenant: str, region: str, tier: Tier) -> str:
    """Return a commented spec with every field."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - 40 ms that only `spec init` pays

    text = package_files("mutx_infra.templates").joinpath("tenant.yaml.j2").read_text(encoding="utf-8")
    engine = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - YAML
    return engine.from_string(text).render(tenant=tenant, region=region, tier=str(tier))


def tenant_schema() -> dict[str, Any]:
    """Return the spec's JSON Schema (2020-12)."""
    schema = TenantSpec.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}


def _translated(source: YamlSource, exc: ValidationError) -> SpecError:
    first, *others = [_problem(source, error) for error in exc.errors()]
    more = [f"also: {message}, {where} ({remedy})" for message, where, remedy, _ in others]
    return SpecError(first[0], code=first[3], detail="\n".join([first[1], *more]), remedy=first[2])


def _problem(source: YamlSource, error: Any) -> tuple[str, str, str, str]:  # noqa: ANN401 - pydantic's ErrorDetails
    """Return message, place, remedy and code of one pydantic error."""
    location = tuple(part for part in error["loc"] if part != "[key]")
    field = ".".join(str(part) for part in location) or "spec"
    reason = error["msg"].removeprefix("Value error, ")
    message = f"`{field}`: {reason[:1].lower()}{reason[1:]}"
    code = f"spec-{str(location[0]).replace('_', '-')}-{error['type'].replace('_', '-')}" if location else "spec-invalid"
    if error["type"] == "extra_forbidden":
        message, code = f"`{field}` is not a field of a tenant spec", "spec-unknown-field"
    elif error["type"] == "missing":
        message = f"`{field}` is missing"
    remedy = _remedy(location, error)
    return message, source.where(location), remedy, re.sub(r"[^a-z0-9-]", "-", code.lower())


def _remedy(location: tuple[str | int, ...], error: Any) -> str:  # noqa: ANN401
    if error["type"] == "extra_forbidden":
        return _did_you_mean(str(location[-1]), list(_fields_at(location)))
    if error["type"] == "missing":
        return f"add `{location[-1]}:`; `mutx-infra spec init` makes an example"
    top = str(location[0]) if location else ""
    return _REMEDIES.get(top, lambda _: "see `mutx-infra spec schema` for what is allowed")(error.get("input"))


def _fields_at(location: tuple[str | int, ...]) -> list[str]:
    model = Contact if location[0] == "contacts" else TenantSpec
    return list(model.model_fields)


def _did_you_mean(given: str, known: list[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return f"did you mean `{close[0]}`?" if close else f"use one of: {', '.join(known)}"


def _id_remedy(given: object) -> str:
    ascii_text = unicodedata.normalize("NFKD", str(given)).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-").lstrip("0123456789-")[:63].strip("-")
    usable = re.fullmatch(r"[a-z](-?[a-z0-9])+", slug) is not None
    suggestion = f'; for example `id: {slug}`, with the full name in `name:`' if usable else ""
    return f"2 to 63 lower-case letters, digits and single dashes, starting with a letter{suggestion}"


def _cidr_remedy(given: object) -> str:
    try:
        interface = IPv4Interface(str(given))
    except (AddressValueError, ValueError):
        return "write a private block such as 10.0.1.0/24, or leave `cidr:` out and a free one is allocated"
    if interface.ip != interface.network.network_address:
        return f"did you mean {interface.network}? Or leave `cidr:` out and a free block is allocated"
    return "name a private block between /16 and /25, or leave `cidr:` out and a free one is allocated"


_REMEDIES: dict[str, Callable[[object], str]] = {
    "id": _id_remedy,
    "region": lambda _: "write an AWS region such as eu-west-1",
    "tier": lambda given: _did_you_mean(str(given), [str(tier) for tier in Tier]),
    "account": lambda _: 'write the 12 digits in quotes: account: "123456789012"',
    "cidr": _cidr_remedy,
    "zones": lambda _: "list 1 to 4 different zones of the region, as [eu-west-1a, eu-west-1b], or leave `zones:` out",
    "name": lambda _: "write 1 to 120 visible characters, in any script, or leave `name:` out",
    "tags": lambda _: "at most 40 pairs of text; letters, digits, spaces and _.:/=+-@; `mutx:`, `aws:` and Name are taken",
    "contacts": lambda _: f"list entries with `email:`, and `role:` one of {', '.join(ContactRole)}",
}
