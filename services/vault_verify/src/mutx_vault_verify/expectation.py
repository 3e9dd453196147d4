"""What this tenant's Vault must be: the manifest, with what the hand-over file says put in; and in which state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from mutx_vault_verify.certificate import fingerprint
from mutx_vault_verify.handover import Handover, Machine
from mutx_vault_verify.manifest import Manifest
from mutx_vault_verify.matching import fill


class State(StrEnum):
    """Where the Vault is in its life."""

    UNCLAIMED = "unclaimed"
    HALFWAY = "claimed in part"
    CLAIMED = "claimed"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must be found.

    Attributes:
        marks: what the manifest's marks stand for.
        state: decides whether the platform's onboarder may still log in.
        at: the moment that ages are counted to.
        takes_trial_seal: a seal whose key lies on the Vault host is taken.
    """

    manifest: Manifest
    handover: Handover
    marks: Mapping[str, str]
    at: datetime
    state: State = State.UNCLAIMED
    takes_trial_seal: bool = False

    def filled(self, part: object, **more: str) -> Any:  # noqa: ANN401 - as the manifest has it
        """Return a part of the manifest with its marks replaced."""
        return fill(part, {**self.marks, **more})

    def knowing(self, **marks: str) -> Expectation:
        """Return the same, with more marks known."""
        return replace(self, marks={**self.marks, **marks})

    @property
    def roles(self) -> dict[str, Any]:
        """The certificate roles that are there in this state, machines' apart."""
        until_claim = self.manifest["until_claim"] if self.state is State.CLAIMED else []
        return {n: self.filled(role) for n, role in self.manifest["roles"].items() if n not in until_claim}

    @property
    def machines(self) -> dict[str, Machine]:
        """Hosts that may be enrolled, by name."""
        return {machine.name: machine for machine in self.handover.machines}

    def machine(self, machine: Machine) -> Any:  # noqa: ANN401 - as the manifest has it
        """Return all that the enrolment of a host makes."""
        kind = "agent" if machine.role == "agent" else "other"
        return self.filled(
            self.manifest["machines"][kind],
            host=machine.name,
            key=machine.key,
            address=str(machine.address),
        )


def expect(
    manifest: Manifest, handover: Handover, at: datetime, *, takes_trial_seal: bool = False
) -> Expectation:
    """Return what must be found, as far as the two files say.

    Raises:
        InputProblem: the manifest does not know the server (`manifest-product`).
    """
    marks = {
        "tenant": handover.tenant,
        "seal": handover.seal,
        "admin_ca": fingerprint(handover.admin_ca),
    }
    return Expectation(manifest.of(handover.product), handover, marks, at, takes_trial_seal=takes_trial_seal)
