"""What the registry and the journal remember about a tenant: frozen values that pass through the ports."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from mutx_infra.plan import Allocation
from mutx_infra.tenant import TenantSpec


class TenantState(StrEnum):
    """Where a tenant stands. A state changes only when a step has observed its cause."""

    RESERVED = "reserved"
    """A block is allocated; nothing exists in the cloud as far as this registry knows."""
    CREATING = "creating"
    READY = "ready"
    """The live network was compared with the plan and agreed; a Vault that was made has been claimed by its tenant."""
    AWAITING_CLAIM = "awaiting-claim"
    """The same, and the tenant's Vault is made and handed over: the tenant has not proved yet that it claimed it."""
    FAILED = "failed"
    DESTROYING = "destroying"


STANDING = frozenset({TenantState.READY, TenantState.AWAITING_CLAIM})
"""The states of a tenant whose live network agreed with its plan."""


class StepState(StrEnum):
    """Where one step of a run stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class RunKind(StrEnum):
    """What a run sets out to do."""

    CREATE = "create"
    ROLLBACK = "rollback"
    DESTROY = "destroy"
    HARDEN = "harden"
    VAULT = "vault"
    """The tenant's Vault is handed over, or its tenant's claim is taken down."""
    TAILNET = "tailnet"
    """Of no tenant: the tailnet is brought up to the registry."""
    ACCESS = "access"
    """Of no tenant: somebody is given leave, or loses it."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


VAULT_KIND = "mutx:vault:Vault"
"""How the history calls a tenant's Vault."""


class VaultRecord(_Record):
    """A tenant's Vault from the day on which it was made, as far as the platform knows it.

    Attributes:
        cluster: the id that the Vault gave itself: another life of the same tenant has another one.
        made_at: when it was looked at, complete and unclaimed.
        handed_over_at: when the tenant's signed claim was checked; None while that is awaited.
        shred_asked_at: when a destroy first asked for a receipt that nobody had; the notice runs from then on.
        attestation: what was shown for it that it was shredded, once a destroy went on; "" before.
    """

    cluster: str
    made_at: datetime
    handed_over_at: datetime | None = None
    shred_asked_at: datetime | None = None
    attestation: str = ""


class TenantRecord(_Record):
    """One tenant in the registry.

    Attributes:
        spec: the spec of the newest accepted run.
        plan_digest: digest of the plan that was last executed to its end, or None.
        outputs: the stack's outputs as last observed; never a secret.
        vault: None before it is made.
    """

    spec: TenantSpec
    allocation: Allocation
    state: TenantState
    plan_digest: str | None = None
    outputs: dict[str, object] = Field(default_factory=dict)
    vault: VaultRecord | None = None
    created_at: datetime
    updated_at: datetime

    @property
    def handed_over_at(self) -> datetime | None:
        """When the tenant's claim was checked; None before, and without a Vault."""
        return self.vault.handed_over_at if self.vault is not None else None

    @property
    def is_handed_over(self) -> bool:
        """True where the Vault is its tenant's, and the platform has no way into the tenant's hosts any more."""
        return self.handed_over_at is not None

    @property
    def standing(self) -> TenantState:
        """The state in which the tenant is once its live network agrees with its plan."""
        awaits = self.vault is not None and not self.is_handed_over
        return TenantState.AWAITING_CLAIM if awaits else TenantState.READY


class Tombstone(_Record):
    """What is left of a tenant on purpose, until AWS or a lock lets go of it.

    Attributes:
        kind: `KMS key`, `history object` or `archive object`.
        is_going: its end is scheduled, by a pending deletion or by a lock that will run out.
        goes_at: when it goes.
        retained_until: the day in its tag `mutx:retained-until`.
        is_locked: True where a lock holds it until then; None where its kind has none.
        tenant: the tenant in its tag `mutx:tenant`.
    """

    kind: str
    id: str
    purpose: str
    is_going: bool
    goes_at: datetime | None = None
    retained_until: str | None = None
    is_locked: bool | None = None
    tenant: str | None = None

    @property
    def flaw(self) -> str:
        """Say why this is no tombstone but something left over; "" where it is one."""
        if self.is_locked is False:
            return "not locked"
        if not self.is_going:
            return "its end is not scheduled"
        if self.tenant is None:
            return "without its tenant's tag"
        if self.retained_until is None:
            return "without the day on which it goes"
        if self.is_locked and (
            self.goes_at is None or self.goes_at.date().isoformat() != self.retained_until
        ):
            return f"tagged for {self.retained_until}, which is not its lock's day"
        return ""

    def __str__(self) -> str:
        until = self.flaw or f"until {self.retained_until}"
        return f"{self.kind} {self.id} ({self.purpose or 'no purpose'}), {until}"


class LogEvent(NamedTuple):
    """One event of a log group. Times are milliseconds since 1970; the order is CloudWatch Logs'."""

    timestamp: int
    ingestion_time: int
    stream: str
    message: str


class StoredObject(NamedTuple):
    """One name in an object store.

    Attributes:
        version: of the content that was written first, which a lock keeps whatever is put over it; "" where the
            store has no versions.
        is_covered: something was put over that version, or hides it.
    """

    name: str
    version: str
    is_covered: bool


class Owner(_Record):
    """Who holds a lease: enough to find the process and to tell it from a later one with the same pid.

    Attributes:
        started: start time of the process in clock ticks since boot (field 22 of /proc/PID/stat).
        boot_id: the kernel's boot id; a pid means nothing after a reboot.
    """

    user: str
    host: str
    pid: int
    started: int
    boot_id: str

    def __str__(self) -> str:
        return f"{self.user}@{self.host} (pid {self.pid})"


class Lease(_Record):
    """The right of one process to work on one tenant, until `expires_at` unless it is renewed."""

    tenant: str
    token: str
    owner: Owner
    purpose: str
    acquired_at: datetime
    expires_at: datetime


class ChainHead(_Record):
    """The newest entry of a tenant's history, as the registry knows it; sequence 0 before the first."""

    tenant: str
    sequence: int
    hash: str


class StepRecord(_Record):
    """One step of a run, with the result that a later run may rely on."""

    name: str
    state: StepState
    started_at: datetime
    ended_at: datetime | None = None
    detail: str = ""


class RunRecord(_Record):
    """One run of the workflow and its steps in order."""

    id: str
    tenant: str
    kind: RunKind
    plan_digest: str
    state: Literal["running", "done", "failed"]
    owner: Owner
    started_at: datetime
    ended_at: datetime | None = None
    steps: tuple[StepRecord, ...] = ()
