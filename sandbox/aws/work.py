"""One operation on one resource: what table functions are given to work with, and how it can fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mutx_sandbox.aws.resource import Call, ResourceType, Step
from mutx_sandbox.aws.sessions import Session
from mutx_sandbox.aws.shapes import fill
from mutx_sandbox.bridge.failures import OperationError
from mutx_sandbox.bridge.patience import Patience
from mutx_sandbox.bridge.values import Properties, Value


class ResourceError(OperationError):
    """AWS answered, but not with what the operation needs; the message says what it said."""


@dataclass(slots=True)
class Work:
    """One operation on one resource, as table functions see it.

    Attributes:
        type: the resource's type.
        session: the configured provider.
        patience: bounds waiting and retries.
        inputs: what the program wants.
        state: what is known from before.
        id: the resource's id in AWS, "" while it has none.
    """

    type: ResourceType
    session: Session
    patience: Patience
    inputs: Properties
    state: Properties = field(default_factory=dict)
    id: str = ""

    @property
    def region(self) -> str:
        """The region of this resource: its own, else the provider's."""
        own = self.inputs.get("region") or self.state.get("region")
        return str(own) if own else self.session.region

    @property
    def known(self) -> Properties:
        """Everything a template may name: state, overlaid by inputs, and the surroundings."""
        return {
            **self.state,
            **self.inputs,
            "id": self.id or None,
            "region": self.region,
            "account": self.session.account_id,
            "partition": self.session.partition,
        }

    def call(
        self, operation: str, parameters: Mapping[str, Value], settled_by: frozenset[str] = frozenset()
    ) -> Properties:
        """Make an idempotent call in the resource's region."""
        return self.session.caller.call(
            self.type.service, operation, parameters, self.patience, region=self.region, settled_by=settled_by
        )

    def call_once(self, operation: str, parameters: Mapping[str, Value]) -> Properties:
        """Make a call that must not be repeated blindly."""
        return self.session.caller.call_once(
            self.type.service, operation, parameters, self.patience, region=self.region
        )

    def do(self, step: Step) -> None:
        """Run one step of the table."""
        if isinstance(step, Call):
            self.call(step.operation, fill(step.parameters, self.known), step.settled_by)
        else:
            step(self)
