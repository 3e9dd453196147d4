"""Tenant specs and their lock files on disk."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files as package_files
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mutx_infra.adapters.spec_errors import translate
from mutx_infra.adapters.yaml_source import YamlSource, read_yaml
from mutx_infra.errors import RefusedError, SpecError
from mutx_infra.plan import Allocation, TenantPlan, make_plan
from mutx_infra.tenant import AccountId, Region, TenantId, TenantSpec, Tier, Zones

LOCK_VERSION = 1
LOCK_SUFFIX = ".lock.yaml"
SCHEMA_ID = "https://mutx.dev/schemas/tenant.json"

_LOCK_HEADER = "# Written by mutx-infra; commit it. It keeps the tenant's allocation for its life.\n"
_LOCK_REMEDY = "restore it from version control, or delete it and run `mutx-infra tenant create` again"


class LockFile(BaseModel):
    """What the lock file holds: whose it is, the allocation, and the plan that was accepted with it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    tenant: TenantId
    account: AccountId
    region: Region
    block: IPv4Network
    zones: Zones
    plan: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class SpecFolder:
    """`SpecFiles` beside one spec: the lock file `<stem>.lock.yaml`."""

    spec_path: Path
    tenant: str

    @property
    def lock_path(self) -> Path:
        """Return the lock file's path."""
        return self.spec_path.with_name(f"{self.spec_path.stem}{LOCK_SUFFIX}")

    def lock(self, allocation: Allocation, spec: TenantSpec, plan_digest: str) -> None:
        """Write the lock file, atomically; unchanged content is not rewritten.

        Raises:
            RefusedError: the file cannot be written (code `lock-unwritable`).
        """
        text = _render_lock(allocation, spec, plan_digest)
        try:
            if not (self.lock_path.is_file() and self.lock_path.read_bytes() == text.encode()):
                _write_atomically(self.lock_path, text)
        except OSError as exc:
            raise RefusedError(
                f"the lock file {self.lock_path} cannot be written: {exc.strerror}",
                code="lock-unwritable",
                remedy="make its directory writable for you; the registry keeps the allocation meanwhile",
            ) from exc

    def write_spec(self, spec: TenantSpec, entry: int) -> None:
        """Write a spec that came out of the history into the spec's file, atomically.

        Raises:
            RefusedError: the file cannot be written (code `spec-unwritable`).
        """
        import yaml  # noqa: PLC0415 - only a rollback needs it

        content = spec.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        text = f"# As of entry {entry} of the tenant's history.\n" + yaml.safe_dump(
            content, sort_keys=False, allow_unicode=True
        )
        try:
            _write_atomically(self.spec_path, text)
        except OSError as exc:
            raise RefusedError(
                f"the tenant is as it was, but {self.spec_path} cannot be written: {exc.strerror}",
                code="spec-unwritable",
                remedy="make its directory writable for you, then run the same command again",
            ) from exc

    def blocks_beside(self) -> tuple[IPv4Network, ...]:
        """Return the blocks of the other lock files in the directory; a broken one is its own tenant's trouble."""
        found = []
        for path in sorted(self.spec_path.parent.glob(f"*{LOCK_SUFFIX}")):
            with suppress(SpecError):
                if path != self.lock_path:
                    found.append(_parse_lock(read_yaml(path, "the lock file")).block)
        return tuple(found)

    def locked(self) -> Allocation | None:
        """Return the allocation of the lock file, or None where there is none.

        Raises:
            SpecError: the file is broken (`lock-broken`), of a newer version (`lock-too-new`), or another
                tenant's (`lock-foreign`).
        """
        if not os.path.lexists(self.lock_path):
            return None
        source = read_yaml(self.lock_path, "the lock file")
        lock = _parse_lock(source)
        if lock.tenant != self.tenant:
            raise SpecError(
                f"{self.lock_path.name} is the lock file of {lock.tenant}, not of {self.tenant}",
                code="lock-foreign",
                detail=source.where(("tenant",)),
                remedy=_LOCK_REMEDY,
            )
        return Allocation(account=lock.account, region=lock.region, block=lock.block, zones=lock.zones)


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A spec, the files it lives in, and where in them each field stands."""

    spec: TenantSpec
    files: SpecFolder
    source: YamlSource

    def located(self, error: SpecError) -> SpecError:
        """Return the error with file and line, if the core raised it for a field of this spec."""
        field = error.code.removeprefix("spec-").partition("-")[0]
        if error.detail:
            return error
        return SpecError(
            error.message, code=error.code, remedy=error.remedy, detail=self.source.where((field,))
        )


def load_spec(path: Path) -> LoadedSpec:
    """Read and check one tenant spec.

    Raises:
        SpecError: names file, line, field, reason and remedy; further errors are in the detail.
    """
    if path.name.endswith(LOCK_SUFFIX):
        raise SpecError(
            f"{path.name} is a lock file, not a tenant spec",
            code="spec-is-lock",
            detail=f"in {path}",
            remedy=f"name the spec beside it: {path.name.removesuffix(LOCK_SUFFIX)}.yaml",
        )
    source = read_yaml(path, "the tenant spec")
    try:
        # By way of JSON, since strict validation then takes text for blocks and enumerations, and lists.
        spec = TenantSpec.model_validate_json(json.dumps(source.data, allow_nan=False))
    except ValidationError as exc:
        raise translate(source, exc) from exc
    return LoadedSpec(spec, SpecFolder(path, spec.id), source)


def load_plan(path: Path) -> TenantPlan:
    """Return the plan of a spec with its lock file, as `pulumi up` builds it.

    Raises:
        SpecError: the spec is invalid, contradicts the lock file, or nothing was allocated yet.
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
    try:
        return make_plan(loaded.spec, allocation)
    except SpecError as exc:
        raise loaded.located(exc) from exc


def spec_skeleton(tenant: str, region: str, tier: Tier) -> str:
    """Return a commented spec with every field."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - 40 ms that only `spec init` pays

    text = package_files("mutx_infra.templates").joinpath("tenant.yaml.j2").read_text(encoding="utf-8")
    engine = Environment(undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701 - not HTML
    # As JSON, which is YAML: an id such as `no: x` stays one value, and is then refused for what it is.
    engine.filters["value"] = lambda given: (
        given if _is_plain(given) else json.dumps(given, ensure_ascii=False)
    )
    return engine.from_string(text).render(tenant=tenant, region=region, tier=str(tier))


def tenant_schema() -> dict[str, Any]:
    """Return the spec's JSON Schema (2020-12)."""
    schema = TenantSpec.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}


def _is_plain(text: str) -> bool:
    return text.isascii() and text.replace("-", "").isalnum() and text[:1].isalpha()


def _parse_lock(source: YamlSource) -> LockFile:
    version = source.data.get("version")
    if isinstance(version, int) and version > LOCK_VERSION:
        raise SpecError(
            f"{source.path.name} has version {version}, this mutx-infra knows {LOCK_VERSION}",
            code="lock-too-new",
            detail=source.where(("version",)),
            remedy="update mutx-infra on this machine to the version that wrote it",
        )
    try:
        return LockFile.model_validate_json(json.dumps(source.data, allow_nan=False))
    except ValidationError as exc:
        first = exc.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        raise SpecError(
            f"{source.path.name} is damaged: `{'.'.join(map(str, first['loc']))}`: {reason}",
            code="lock-broken",
            detail=source.where(first["loc"]),
            remedy=_LOCK_REMEDY,
        ) from exc


def _render_lock(allocation: Allocation, spec: TenantSpec, plan_digest: str) -> str:
    """Write every value as JSON, which is YAML too: text stays text for every reader."""
    fields = {
        "version": LOCK_VERSION,
        "tenant": spec.id,
        **allocation.model_dump(mode="json"),
        "plan": plan_digest,
    }
    return _LOCK_HEADER + "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
