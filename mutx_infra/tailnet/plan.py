"""The tailnet as a value: its policy, and what its stack sets besides."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from mutx_infra.canonical import canonical_json
from mutx_infra.environment_tailnet import LogStream, Tailnet, TailnetSettings, TrustedIdentity, Webhook
from mutx_infra.tailnet.policy import Policy

TAILNET_ID = "_tailnet"
"""What the tailnet's lease and runs are called, where those of tenants have a tenant's id. It is none."""


@dataclass(frozen=True, slots=True)
class TailnetPlan:
    """All that the tailnet's stack holds.

    Attributes:
        policy: the policy file, in JSON.
    """

    policy: str
    settings: TailnetSettings
    log_streams: tuple[LogStream, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    identities: tuple[TrustedIdentity, ...] = ()

    def content(self) -> dict[str, Any]:
        """Return the plan as JSON has it."""
        return {
            "policy": json.loads(self.policy),
            "settings": self.settings.model_dump(mode="json"),
            "log_streams": [each.model_dump(mode="json") for each in self.log_streams],
            "webhooks": [each.model_dump(mode="json") for each in self.webhooks],
            "identities": [each.model_dump(mode="json") for each in self.identities],
        }

    @property
    def digest(self) -> str:
        """What tells this plan from every other: `sha256:` and hex digits."""
        parts = (self.settings, *self.log_streams, *self.webhooks, *self.identities)
        content = [policy_digest(self.policy), *(part.model_dump(mode="json") for part in parts)]
        return f"sha256:{sha256(canonical_json(content)).hexdigest()}"


def plan_tailnet(policy: Policy, tailnet: Tailnet) -> TailnetPlan:
    """Return the plan of a tailnet with this policy, as the profile has the rest."""
    return TailnetPlan(
        policy.text(), tailnet.settings, tailnet.log_streams, tailnet.webhooks, tailnet.identities
    )


def policy_digest(text: str) -> str:
    """Return a digest of what a policy file says, however it is laid out: `sha256:` and hex digits."""
    try:
        content = canonical_json(json.loads(text))
    except ValueError:
        content = text.encode()
    return f"sha256:{sha256(content).hexdigest()}"
