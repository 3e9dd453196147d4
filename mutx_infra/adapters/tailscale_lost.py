"""What an engine that died has made in a tailnet and nobody recorded: it is deleted, and made anew.

A webhook's secret is said once, when it is made, and an identity's id is known to nobody yet: neither can be adopted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

from mutx_infra.adapters.tailscale_client import TailnetRequests, TailscaleClient
from mutx_infra.environment_tailnet import Tailnet

WEBHOOK = "tailscale:index/webhook:Webhook"
IDENTITY = "tailscale:index/federatedIdentity:FederatedIdentity"


class LostCreations:
    """Finds and deletes them. Every method raises as `TailscaleClient.requests`."""

    def __init__(self, tailnet: Tailnet, variables: Mapping[str, str]) -> None:
        self._client = TailscaleClient(tailnet, variables)

    def delete(self, kind: str, inputs: Mapping[str, Any], known: Collection[str]) -> int:
        """Delete what a create with these inputs has made; returns how many there were.

        Args:
            kind: the resource's type token; of other kinds there is one in a tailnet, which is nothing to lose.
            inputs: of the resource.
            known: ids that are recorded.
        """
        with self._client.requests() as tailnet:
            if kind == WEBHOOK:
                return _webhooks(tailnet, inputs, known)
            return _identities(tailnet, inputs, known) if kind == IDENTITY else 0


def _webhooks(tailnet: TailnetRequests, inputs: Mapping[str, Any], known: Collection[str]) -> int:
    lost = [
        str(hook["endpointId"])
        for hook in tailnet.list("webhooks", "webhooks:read")
        if hook.get("endpointUrl") == inputs.get("endpointUrl") and hook.get("endpointId") not in known
    ]
    for identity in lost:
        tailnet.delete(tailnet.webhook(identity), "webhooks", "webhooks")
    return len(lost)


def _identities(tailnet: TailnetRequests, inputs: Mapping[str, Any], known: Collection[str]) -> int:
    lost = [
        str(key["id"])
        for key in tailnet.list("keys", "federated_keys:read", "?all=true")
        if key.get("keyType") == "federated"
        and all(key.get(name) == inputs.get(name) for name in ("description", "issuer", "subject"))
        and key.get("id") not in known
    ]
    for identity in lost:
        tailnet.delete(tailnet.place(f"keys/{quote(identity, safe='')}"), "keys", "federated_keys")
    return len(lost)
