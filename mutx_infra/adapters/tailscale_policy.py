"""`PolicyFile` by Tailscale's API v2: GET and POST `acl` with entity tags, POST `acl/validate`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from mutx_infra.adapters.tailscale_client import TailnetRequests, TailscaleClient, an_object, not_understood
from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.errors import VerificationError
from mutx_infra.tailnet_ports import LivePolicy

_SCOPE = "policy_file"
_SHOWN = 20


class TailscalePolicyFile:
    """The policy file of one tailnet. Every method raises as `TailscaleClient.requests`."""

    def __init__(self, tailnet: Tailnet, variables: Mapping[str, str]) -> None:
        self._client = TailscaleClient(tailnet, variables)

    def live(self) -> LivePolicy:
        """Return what is in force."""
        with self._client.requests() as tailnet:
            response = _get(tailnet, {"Accept": "application/hujson"})
        if not (version := response.headers.get("ETag")):
            raise not_understood("the policy", "there is no ETag, by which one policy is told from another")
        return LivePolicy(response.text, version)

    def readable(self) -> str:
        """Return what is in force as plain JSON."""
        with self._client.requests() as tailnet:
            return str(_get(tailnet, {}).text)

    def validate(self, text: str) -> None:
        """Have the service run a policy's tests.

        Raises:
            VerificationError: one fails, or the policy is not understood (code `tailnet-tests-fail`).
        """
        with self._client.requests() as tailnet:
            place = tailnet.place("acl/validate")
            response = _send(tailnet, place, text, f"{_SCOPE}:read", fine=(HTTPStatus.BAD_REQUEST,))
            if response.content.strip() and (found := an_object(response, "the policy's tests")).get(
                "message"
            ):
                raise _failed(found)

    def replace(self, text: str, seen: str) -> bool:
        """Put a policy in force in place of the version that was seen; False where another one is in force by now."""
        condition = seen if seen.endswith('"') else f'"{seen}"'
        with self._client.requests() as tailnet:
            response = _send(
                tailnet, tailnet.place("acl"), text, _SCOPE, headers={"If-Match": condition},
                fine=(HTTPStatus.PRECONDITION_FAILED, HTTPStatus.BAD_REQUEST),
            )  # fmt: skip
        if response.status_code == HTTPStatus.BAD_REQUEST:
            raise _failed(an_object(response, "the policy"))
        return bool(response.status_code == HTTPStatus.OK)


def _get(tailnet: TailnetRequests, headers: Mapping[str, str]) -> Any:  # noqa: ANN401 - requests' Response
    return tailnet.ask("GET", tailnet.place("acl"), "the policy", f"{_SCOPE}:read", headers=headers)


def _send(tailnet: TailnetRequests, url: str, text: str, scope: str, **more: Any) -> Any:  # noqa: ANN401 - requests' Response
    headers = {"Content-Type": "application/json", **more.pop("headers", {})}
    return tailnet.ask("POST", url, "the policy", scope, text=text, headers=headers, **more)


def _failed(said: Mapping[str, Any]) -> VerificationError:
    """Return the error for a policy that the service refuses: `{message, data: [{user, errors}]}`."""
    failures = [
        f"{failure.get('user') or 'policy'}: {error}"
        for failure in said.get("data") or ()
        for error in failure.get("errors") or ()
    ]
    return VerificationError(
        f"Tailscale refuses the policy: {said.get('message') or json.dumps(said)[:200]}",
        code="tailnet-tests-fail",
        remedy="nothing was written; correct the spec or profile that it comes from (`mutx-infra tailnet policy`)",
        detail="\n".join(failures[:_SHOWN]),
    )
