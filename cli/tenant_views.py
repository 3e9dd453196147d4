"""Tenants, plans and runs as rows for tables and as JSON; no rules here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from mutx_infra.cli.policy_views import policy_json

from mutx_infra.building import Built
from mutx_infra.changes import ChangeSet
from mutx_infra.hosts import HostPlan
from mutx_infra.offboarding import Destruction
from mutx_infra.onboarding import Preview
from mutx_infra.plan import TenantPlan
from mutx_infra.prices import Estimate, as_json, estimate
from mutx_infra.profile_fields import archive_text
from mutx_infra.records import Lease, RunRecord, TenantRecord, Tombstone

Rows = list[tuple[str, ...]]
SHOWN_CREATES = 20
"""A change with more steps than this shows its creations summed up by type."""


def plan_rows(plan: TenantPlan) -> Rows:
    """Return what a plan decides, one line each."""
    rows: Rows = [
        ("tenant", plan.tenant),
        ("digest", plan.digest),
        ("account, region", f"{plan.account}, {plan.region}"),
        ("zones", ", ".join(plan.zones)),
        ("block", plan.block),
    ]
    rows += [(f"subnet {subnet.key}", f"{subnet.cidr} in {subnet.zone}") for subnet in plan.subnets]
    rows += [
        ("NAT gateways", str(len(plan.nat_gateways))),
        ("security groups", ", ".join(f"sg-{role}" for role in plan.roles)),
        ("security group rules", str(len(plan.group_rules))),
        ("network ACL entries", str(len(plan.acl_entries))),
        ("interface endpoints", ", ".join(endpoint.service for endpoint in plan.endpoints) or "none"),
        ("keys", ", ".join(key.purpose for key in plan.keys)),
    ]
    rows += [
        (f"host {host.key}", f"{host.instance_type} in {host.subnet}" + _data_of(host)) for host in plan.hosts
    ]
    rows += [
        (f"logs {group.key}", f"{group.retention_days} days ({group.control})") for group in plan.log_groups
    ]
    rows += [
        (f"bucket {bucket.key}", f"{bucket.name} in account {bucket.account}") for bucket in plan.buckets
    ]
    if plan.buckets:
        rows.append(("log archive", archive_text(plan.account, plan.archive_account)))
    return rows


def _data_of(host: HostPlan) -> str:
    return f", {host.data_gib} GiB of data under key {host.data_key}" if host.data_gib else ""


def estimate_rows(found: Estimate) -> Rows:
    """Return a month's costs, the sum first, with where the prices are from and how old they are."""
    total = f"{found.total:,.2f} {found.currency}" if found.total is not None else "no prices for this region"
    rows: Rows = [("total", total)]
    rows += [
        (f"{item.number:g} × {item.what}", "-" if item.monthly is None else f"{item.monthly:,.2f}")
        for item in found.items
    ]
    return [
        *rows,
        ("prices", f"{found.source}, {found.as_of}, {found.age_days} days old"),
        ("without", found.excluded),
    ]


def change_rows(changes: ChangeSet) -> Rows:
    """Return the changes; a create of many resources is summed up by type."""
    shown: Rows = [
        (change.operation, change.name, change.kind.split(":")[-1], ", ".join(change.fields))
        for change in changes.changes
        if change.operation != "create" or len(changes.changes) <= SHOWN_CREATES
    ]
    if len(changes.changes) > SHOWN_CREATES:
        counted = Counter(
            change.kind.split(":")[-1] for change in changes.changes if change.operation == "create"
        )
        shown += [("create", f"{number} ×", kind, "") for kind, number in sorted(counted.items())]
    return shown


def allocation_rows(record: TenantRecord) -> Rows:
    """Return a tenant's facts."""
    spec, outputs = record.spec, record.outputs
    rows: Rows = [
        ("state", str(record.state)),
        ("name", spec.name or "-"),
        ("tier", str(spec.tier)),
        ("account, region", f"{record.allocation.account}, {record.allocation.region}"),
        ("zones", ", ".join(record.allocation.zones)),
        ("block", str(record.allocation.block)),
        ("plan", record.plan_digest or "-"),
        ("vpc", str(outputs.get("vpc_id", "-"))),
        ("vault", _vault_of(record)),
    ]
    hosts = outputs.get("hosts")
    for name, host in sorted(hosts.items()) if isinstance(hosts, dict) else ():
        rows.append((f"host {name}", f"{host['instance_id']}, {host['private_ip']}"))
    for key, title in (("subnet_ids", "subnet"), ("security_group_ids", "security group")):
        found = outputs.get(key)
        for name, identity in sorted(found.items()) if isinstance(found, dict) else ():
            rows.append(
                (
                    f"{title} {name}",
                    ", ".join(identity.values()) if isinstance(identity, dict) else str(identity),
                )
            )
    return rows


def _vault_of(record: TenantRecord) -> str:
    vault = record.vault
    if vault is None:
        return "not made yet" if record.spec.byok else "none: the spec has no byok"
    if vault.handed_over_at is None:
        return f"made {vault.made_at:%Y-%m-%d %H:%M} UTC, its tenant's claim is awaited"
    asked = f"; shredding asked for on {vault.shred_asked_at:%Y-%m-%d}" if vault.shred_asked_at else ""
    return f"its tenant's since {vault.handed_over_at:%Y-%m-%d %H:%M} UTC{asked}"


def record_json(record: TenantRecord) -> dict[str, object]:
    """Return a tenant for programs."""
    return {
        "tenant": record.spec.id,
        "state": str(record.state),
        "spec": record.spec.model_dump(mode="json", exclude_none=True),
        "allocation": record.allocation.model_dump(mode="json"),
        "plan_digest": record.plan_digest,
        "vault": record.vault.model_dump(mode="json") if record.vault else None,
        "outputs": record.outputs,
        "created_at": record.created_at.isoformat(),
        "updated_at": record.updated_at.isoformat(),
    }


def destruction_json(tenant: str, done: Destruction) -> dict[str, object]:
    """Return what a destroy did, for programs."""
    return {
        "tenant": tenant,
        "state": "destroyed",
        "deleted": len(done.changes.changes),
        "tombstones": [tombstone.model_dump(mode="json") for tombstone in done.tombstones],
        "logs": None
        if done.logs is None
        else [kept.model_dump(mode="json", exclude={"chunks"}) for kept in done.logs],
    }


def tombstone_rows(tombstones: Sequence[Tombstone]) -> Rows:
    """Return what is left on purpose by kind: how many there are, and until when."""
    days: dict[str, list[str]] = {}
    for tombstone in tombstones:
        days.setdefault(tombstone.kind, []).append(tombstone.retained_until or "-")
    return [
        (kind, str(len(found)), " to ".join(sorted({min(found), max(found)})))
        for kind, found in sorted(days.items())
    ]


def built_json(built: Built) -> dict[str, object]:
    """Return what a create did, for programs; `hosts` is null where they were left alone."""
    return {
        **record_json(built.outcome.record),
        "changes": changes_json(built.outcome.changes),
        "facts_checked": built.outcome.facts_checked,
        "hosts": built.configured.model_dump(mode="json") if built.configured else None,
        "vault_handover": built.handed.path if built.handed else None,
    }


def changes_json(changes: ChangeSet) -> dict[str, object]:
    """Return changes for programs."""
    return {"resources": [c.model_dump(mode="json") for c in changes.changes], "unchanged": changes.unchanged}


def preview_json(preview: Preview) -> dict[str, object]:
    """Return a preview for programs: the whole plan, its digest, and the changes."""
    return {
        "tenant": preview.plan.tenant,
        "digest": preview.plan.digest,
        "is_new": preview.is_new,
        "plan": preview.plan.model_dump(mode="json"),
        "changes": changes_json(preview.changes),
        "estimate": as_json(estimate(preview.plan, datetime.now(UTC).date())),
        "shortages": [shortage.model_dump(mode="json") for shortage in preview.shortages],
        "access": None if preview.access is None else policy_json(preview.access),
    }


def status_json(
    tenant: str, record: TenantRecord | None, run: RunRecord | None, lease: Lease | None
) -> dict[str, object]:
    """Return where a tenant stands, for programs."""
    return {
        "tenant": tenant,
        "state": str(record.state) if record else "destroyed",
        "handed_over_at": record.handed_over_at.isoformat() if record and record.handed_over_at else None,
        "last_run": run.model_dump(mode="json") if run else None,
        "locked_by": lease.owner.model_dump(mode="json") if lease else None,
    }


def status_rows(record: TenantRecord | None, run: RunRecord | None, lease: Lease | None) -> Rows:
    """Return where a tenant stands, for people."""
    rows: Rows = [("state", str(record.state) if record else "destroyed")]
    if record is not None:
        rows.append(("vault", _vault_of(record)))
    if run is not None:
        rows.append(
            ("last run", f"{run.kind} by {run.owner} at {run.started_at:%Y-%m-%d %H:%M:%S} UTC: {run.state}")
        )
        rows += [(f"step {step.name}", f"{step.state}: {step.detail}".rstrip(": ")) for step in run.steps]
    rows.append(("lock", f"held by {lease.owner} for {lease.purpose}" if lease else "free"))
    return rows
