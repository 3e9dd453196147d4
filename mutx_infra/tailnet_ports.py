"""What the tailnet's use cases need of the world. Apart from them: tenants' use cases know these and load no more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from mutx_infra.changes import ChangeSet
from mutx_infra.ports import ProgressWatcher, Reporter, Workers
from mutx_infra.tenant import TenantSpec

if TYPE_CHECKING:
    from mutx_infra.tailnet.devices import LiveTailnet
    from mutx_infra.tailnet.difference import PolicyChange
    from mutx_infra.tailnet.plan import TailnetPlan


class TailnetDevices(Protocol):
    """Devices and keys of a tailnet, by the tags that a tenant's hosts join with. Raises as `TailnetReader`."""

    def left(self, tags: Collection[str]) -> tuple[str, ...]:
        """Return the devices that have one of the tags, and the keys that are good for one, as people read them."""

    def remove(self, tags: Collection[str]) -> int:
        """Delete those devices and revoke those keys; returns how many there were. May be repeated."""


class TailnetReader(Protocol):
    """Reads what is in force on a tailnet.

    Adapters raise `RefusedError` where the credentials are missing, not accepted or not enough, and `OutsideError`
    where the service fails or says what nobody understands.
    """

    def policy(self) -> str:
        """Return the policy file, as JSON."""

    def read(self) -> LiveTailnet:
        """Return the policy, every device, and every key that the credentials may see."""


@dataclass(frozen=True, slots=True)
class LivePolicy:
    """The policy file in force.

    Attributes:
        text: as it was written: JSON, maybe with comments and trailing commas.
        version: what tells it from every other (HTTP's entity tag).
    """

    text: str
    version: str


UNTOUCHED = "ts-default"
"""The version of the policy that every tailnet begins with."""


class PolicyFile(Protocol):
    """The one policy file of a tailnet. Raises as `TailnetReader`."""

    def live(self) -> LivePolicy:
        """Return what is in force."""

    def readable(self) -> str:
        """Return what is in force as plain JSON."""

    def validate(self, text: str) -> None:
        """Have the service run a policy's tests.

        Raises:
            VerificationError: one fails, or the policy is not understood (code `tailnet-tests-fail`).
        """

    def replace(self, text: str, seen: str) -> bool:
        """Put a policy in force in place of the version that was seen; False where another one is in force by now.

        Raises:
            VerificationError: as `validate`.
        """


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the stack did last: the policy that it knows of, and the digest of its plan."""

    policy: str
    plan_digest: str


class TailnetStack(Workers, Protocol):
    """The tailnet's stack, driven through the Pulumi engine."""

    def recorded(self) -> Recorded | None:
        """Return what the stack's state says; None before the first `apply`."""

    def state(self) -> bytes | None:
        """Return the stack's state as JSON, secrets sealed; None where there is no such stack."""

    def preview(self, plan: TailnetPlan) -> ChangeSet:
        """Return what `apply` would change, beside the policy. Leaves no trace."""

    def apply(self, plan: TailnetPlan, watch: ProgressWatcher) -> ChangeSet:
        """Make the tailnet equal to the plan; the plan's policy is in force already."""


@dataclass(frozen=True, slots=True)
class Leave:
    """What a device of a person has: an attribute that ends by itself.

    Attributes:
        device: its id.
        name: the device's.
        until: when Tailscale takes it away; None where it has no end.
    """

    device: str
    name: str
    login: str
    attribute: str
    until: datetime | None


class DeviceAttributes(Protocol):
    """Attributes of people's devices, by which postures are met. Raises as `TailnetReader`."""

    def give(self, login: str, attribute: str, until: datetime, comment: str) -> tuple[Leave, ...]:
        """Give an attribute to every device of a person, until then; returns what each has."""

    def take(self, login: str, attribute: str) -> int:
        """Take it from every device of a person; returns how many had it."""

    def held(self, prefix: str) -> tuple[Leave, ...]:
        """Return the attributes whose names begin so, of all people's devices."""


class TailnetKeeper(Protocol):
    """Keeps the tailnet as the registry asks for."""

    def foresee(self, spec: TenantSpec) -> PolicyChange:
        """Return what the registry's policy would change once it has this spec; asks nobody else."""

    def follow(self, report: Reporter) -> str:
        """Bring the tailnet up to the registry where it is not; waits for others who do so; says what was done."""
