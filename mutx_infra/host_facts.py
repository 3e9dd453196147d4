"""What a tenant's hosts, keys, roles and logs must look like once the plan is in force, as comparable facts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from mutx_infra import naming
from mutx_infra.flows import Role
from mutx_infra.grants import (
    auditor_grants,
    auditor_trust,
    boundary_grants,
    bucket_policy,
    document,
    endpoint_policy,
    flow_log_grants,
    flow_log_trust,
    host_grants,
    host_trust,
    key_policy,
)
from mutx_infra.hosts import Purpose
from mutx_infra.plan import TenantPlan

BOUNDARY = "boundary"
"""Stands for the tenant's boundary policy, whatever its ARN."""


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True)


class HostFact(_Fact):
    """An instance in the tenant's VPC; `flaws` are what no host may have, e.g. a public address."""

    name: str
    instance_type: str
    subnet: str
    groups: tuple[str, ...]
    identity: str
    state: str
    flaws: tuple[str, ...] = ()

    def __str__(self) -> str:
        flaws = f", with {', '.join(self.flaws)}" if self.flaws else ""
        where = f"in {self.subnet}, {', '.join(self.groups)}, as {self.identity or 'nobody'}"
        return f"host {self.name} ({self.instance_type}) {where}, {self.state}{flaws}"


class VolumeFact(_Fact):
    """A data volume: under which key it lies, and whose it is."""

    name: str
    size_gib: int
    key: str
    host: str

    def __str__(self) -> str:
        return f"volume {self.name}, {self.size_gib} GiB, {self.key}, at {self.host or 'no host'}"


class KeyFact(_Fact):
    """A KMS key with an alias of the tenant; `elsewhere` is its account where that is not the tenant's."""

    purpose: str
    state: str
    rotates: bool
    policy: tuple[str, ...]
    elsewhere: str = ""

    def __str__(self) -> str:
        rotation = "rotated yearly" if self.rotates else "not rotated"
        return f"key {self.purpose}{_where(self.elsewhere)}, {self.state}, {rotation}, policy: {'; '.join(self.policy)}"


class EndpointFact(_Fact):
    """An interface endpoint in the tenant's VPC."""

    service: str
    subnets: tuple[str, ...]
    groups: tuple[str, ...]
    private_dns: bool
    policy: tuple[str, ...]

    def __str__(self) -> str:
        names = "private names" if self.private_dns else "no private names"
        where = f"in {', '.join(self.subnets)}, {', '.join(self.groups)}, {names}"
        return f"endpoint {self.service} {where}, policy: {'; '.join(self.policy)}"


class LogGroupFact(_Fact):
    """A log group of the tenant."""

    name: str
    retention_days: int
    key: str

    def __str__(self) -> str:
        kept = f"{self.retention_days} days" if self.retention_days else "for ever"
        return f"log group {self.name}, kept {kept}, {self.key}"


class RoleFact(_Fact):
    """A role, or the boundary, below the tenant's IAM path, and all that it may do.

    Attributes:
        trusts: statements of the trust policy.
        grants: statements of all its inline policies.
        attached: managed policies; the toolkit attaches none.
    """

    name: str
    trusts: tuple[str, ...]
    boundary: str
    grants: tuple[str, ...]
    attached: tuple[str, ...] = ()

    def __str__(self) -> str:
        also = f", attached {', '.join(self.attached)}" if self.attached else ""
        bound = f"bounded by {self.boundary}" if self.boundary else "not bounded"
        return f"role {self.name} for {'; '.join(self.trusts)}, {bound}{also}: {'; '.join(self.grants)}"


class BucketFact(_Fact):
    """A bucket of the platform; `elsewhere` is its account where that is not the platform's."""

    name: str
    versioning: str
    lock: str
    key: str
    expires_days: int
    closed: bool
    policy: tuple[str, ...]
    elsewhere: str = ""

    def __str__(self) -> str:
        life = f"expiring after {self.expires_days} days" if self.expires_days else "never expiring"
        public = "closed to the world" if self.closed else "open to the world"
        return (
            f"bucket {self.name}{_where(self.elsewhere)}, versioning {self.versioning or 'off'}, "
            f"{self.lock or 'not locked'}, {self.key}, "
            f"{life}, {public}, policy: {'; '.join(self.policy)}"
        )


def expected_buckets(plan: TenantPlan) -> Iterator[BucketFact]:
    """Yield the buckets of the plan."""
    for bucket in plan.buckets:
        yield BucketFact(
            name=bucket.name,
            versioning="Enabled",
            lock=f"COMPLIANCE {bucket.locked_days} days" if bucket.locked_days else "",
            key=key_name(bucket.purpose),
            expires_days=bucket.expire_days,
            closed=True,
            policy=statements(bucket_policy(plan, bucket)),
            elsewhere=elsewhere(plan, bucket.account),
        )


def elsewhere(plan: TenantPlan, account: str) -> str:
    """Return an account where it is not the plan's own, else nothing."""
    return account if account != plan.account else ""


def _where(account: str) -> str:
    return f" in account {account}" if account else ""


def key_name(purpose: str) -> str:
    """Return the logical name of a key."""
    return f"key-{purpose}"


def expected_hosts(plan: TenantPlan) -> Iterator[HostFact]:
    """Yield the hosts of the plan, as they must be seen."""
    for host in plan.hosts:
        yield HostFact(
            name=host.key,
            instance_type=host.instance_type,
            subnet=host.subnet,
            groups=(f"sg-{host.role}",),
            identity=naming.host_identity(plan.tenant, host.key),
            state="running",
        )


def expected_volumes(plan: TenantPlan) -> Iterator[VolumeFact]:
    """Yield the data volumes of the plan."""
    for host in plan.hosts:
        if host.data_key is not None:
            yield VolumeFact(
                name=f"data-{host.key}", size_gib=host.data_gib, key=key_name(host.data_key), host=host.key
            )


def expected_keys(plan: TenantPlan) -> Iterator[KeyFact]:
    """Yield the keys of the plan."""
    for key in plan.keys:
        yield KeyFact(
            purpose=key.purpose,
            state="Enabled",
            rotates=key.usage == "encrypt",
            policy=statements(key_policy(plan, key.purpose)),
            elsewhere=elsewhere(plan, plan.account_of(key.purpose)),
        )


def expected_endpoints(plan: TenantPlan) -> Iterator[EndpointFact]:
    """Yield the interface endpoints of the plan."""
    for endpoint in plan.endpoints:
        yield EndpointFact(
            service=endpoint.service,
            subnets=tuple(sorted(endpoint.subnets)),
            groups=(f"sg-{Role.ENDPOINT}",),
            private_dns=True,
            policy=statements(endpoint_policy(plan, endpoint.service)),
        )


def expected_log_groups(plan: TenantPlan) -> Iterator[LogGroupFact]:
    """Yield the log groups of the plan."""
    for group in plan.log_groups:
        yield LogGroupFact(name=group.name, retention_days=group.retention_days, key=key_name(Purpose.LOGS))


def expected_roles(plan: TenantPlan) -> Iterator[RoleFact]:
    """Yield every role of the plan with all it may do, and the policy that bounds them."""
    for host in plan.hosts:
        yield RoleFact(
            name=naming.host_identity(plan.tenant, host.key),
            trusts=statements(host_trust()),
            boundary=BOUNDARY,
            grants=statements(document(host_grants(plan, host, key_name))),
        )
    yield RoleFact(
        name=naming.flow_log_role(plan.tenant),
        trusts=statements(flow_log_trust(plan)),
        boundary=BOUNDARY,
        grants=statements(document(flow_log_grants(plan))),
    )
    if plan.buckets:
        yield RoleFact(
            name=naming.auditor_role(plan.tenant),
            trusts=statements(auditor_trust(plan)),
            boundary=BOUNDARY,
            grants=statements(document(auditor_grants(key_name))),
        )
    yield RoleFact(
        name=naming.boundary_name(plan.tenant),
        trusts=(),
        boundary="",
        grants=statements(document(boundary_grants(plan, key_name))),
    )


def statements(policy: str | Mapping[str, Any], names: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return a policy document's statements as text, one form for each meaning.

    Args:
        policy: the document, as text or parsed.
        names: what to write for an ARN, e.g. a key's logical name.
    """
    parsed = json.loads(policy) if isinstance(policy, str) else policy
    found = parsed.get("Statement") or []
    listed = [found] if isinstance(found, Mapping) else found
    return tuple(sorted(_statement(one, names or {}) for one in listed))


def _statement(statement: Mapping[str, Any], names: Mapping[str, str]) -> str:
    parts = [str(statement.get("Effect", "?")).lower()]
    members = ("Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource")
    parts += [f"{name.lower()} {_values(statement[name], names)}" for name in members if name in statement]
    if statement.get("Condition"):
        parts.append(f"if {json.dumps(statement['Condition'], sort_keys=True)}")
    return " ".join(parts)


def _values(value: object, names: Mapping[str, str]) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{kind}:{_values(inner, names)}" for kind, inner in sorted(value.items()))
    texts: Iterable[object] = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    return ",".join(sorted(names.get(str(text), str(text)) for text in texts))
