"""The tailnet's part of an environment profile: where it is, who runs the platform, what its stack sets."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from mutx_infra.environment_part import Part, is_loopback_url
from mutx_infra.tenant import Email

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
"""What a part is called in the stack, and with an identity in the admin console."""

HttpsUrl = Annotated[str, Field(max_length=2048, pattern=r"^https://[^\s/]+(/\S*)?$")]


LinkLocal = Annotated[str, Field(pattern=r"^169\.254\.[0-9]{1,3}\.[0-9]{1,3}:[0-9]{1,5}$")]


class LogKind(StrEnum):
    """What Tailscale logs."""

    CONFIGURATION = "configuration"
    """Who changed what in the tailnet."""
    NETWORK = "network"
    """Who spoke with whom; not on every plan."""


class LogStream(Part):
    """Where one kind of log is kept: a bucket, entered by a role, so that no secret is stored.

    Attributes:
        external_id: what Tailscale says in the role's trust policy (`sts:ExternalId`), against confused deputies.
    """

    log: Annotated[LogKind, Field(strict=False)]
    bucket: Annotated[str, Field(min_length=3, max_length=63)]
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
    prefix: Annotated[str, Field(max_length=512)] = ""
    role_arn: Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/\S{1,576}$")]
    external_id: Annotated[str, Field(min_length=2, max_length=1224)]


class WebhookProvider(StrEnum):
    """Whose format messages have; without one they are JSON, signed."""

    SLACK = "slack"
    MATTERMOST = "mattermost"
    GOOGLE_CHAT = "googlechat"
    DISCORD = "discord"


WEBHOOK_EVENTS = (
    "nodeCreated", "nodeNeedsApproval", "nodeApproved", "nodeKeyExpiringInOneDay", "nodeKeyExpired", "nodeDeleted",
    "policyUpdate", "userCreated", "userNeedsApproval", "userSuspended", "userRestored", "userDeleted",
    "userApproved", "userRoleUpdated", "subnetIPForwardingNotEnabled", "exitNodeIPForwardingNotEnabled",
)  # fmt: skip
"""What Tailscale sends messages about (its documentation of webhooks)."""

WATCHED_EVENTS = (
    "nodeCreated", "nodeNeedsApproval", "nodeKeyExpired", "nodeDeleted", "policyUpdate", "userCreated",
    "userNeedsApproval", "userRoleUpdated",
)  # fmt: skip


class Webhook(Part):
    """Who is told what happens in the tailnet."""

    name: Name
    url: HttpsUrl
    provider: Annotated[WebhookProvider | None, Field(strict=False)] = None
    events: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = WATCHED_EVENTS

    @field_validator("events")
    @classmethod
    def _events_exist(cls, events: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(events) - set(WEBHOOK_EVENTS)):
            raise ValueError(f"{unknown[0]} is no event; there are {', '.join(WEBHOOK_EVENTS)}")
        return tuple(sorted(set(events)))


class TrustedIdentity(Part):
    """Whom Tailscale's API lets in without a stored secret: a pipeline, by its identity token (OIDC).

    Attributes:
        issuer: of the token.
        subject: of the token; `*` stands for any characters.
        audience: of the token; None lets Tailscale make one up.
        scopes: what it may do.
        tags: what its keys may be for; needed with `auth_keys` or `devices:core`.
    """

    name: Name
    issuer: HttpsUrl
    subject: Annotated[str, Field(min_length=1, max_length=512)]
    audience: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    scopes: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    tags: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _is_meant(self) -> TrustedIdentity:
        if set(self.subject) <= {"*"}:
            raise ValueError("subject lets everybody of that issuer in: name whom you mean")
        if {"auth_keys", "devices:core"} & set(self.scopes) and not self.tags:
            raise ValueError("tags are needed with the scopes auth_keys and devices:core")
        return self


class TailnetSettings(Part):
    """What the stack sets for the whole tailnet.

    Attributes:
        device_approval: a new device waits for an administrator; hosts come with keys that are approved.
        user_approval: a new person waits for an administrator.
        key_days: after how long a person's device has to log in anew.
        flow_logs: Tailscale records who spoke with whom; not on every plan.
        magic_dns: devices have names; our hosts do not use them.
        policy_link: where the admin console sends who wants to edit the policy.
    """

    device_approval: bool = True
    user_approval: bool = True
    key_days: Annotated[int, Field(ge=1, le=180)] = 90
    flow_logs: bool = True
    magic_dns: bool = True
    policy_link: HttpsUrl | None = None


class OperatorAccess(StrEnum):
    """When an operator reaches the hosts that the flow table opens to operators."""

    STANDING = "standing"
    BY_LEAVE = "by-leave"


class Tailnet(Part):
    """The tailnet, and who runs the platform, as its policy needs to know.

    Attributes:
        name: the tailnet's id or organisation name; no request goes to another. None where none is asked.
        api_url: of Tailscale's API; https, or a loopback address.
        api_key_file: file with an API token, for a tailnet on loopback; elsewhere the variables have the credential.
        login_server: the coordination server that hosts join, None for the vendor's.
        coordination: link-local addresses with ports at which hosts find that server and its relay, for a tailnet on
            loopback; elsewhere they go through the proxy.
        operators: the addresses that operators log in to the tailnet with.
        operator_posture: terms that an operator's device must meet, in Tailscale's words, e.g. `node:os IN ['linux']`.
        operator_access: whether operators reach hosts always, or only while a leave lasts (`tailnet grant`).
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.@_-]{0,253}$")] | None = None
    api_url: str = "https://api.tailscale.com"
    api_key_file: str | None = None
    login_server: Annotated[str, Field(pattern=r"^https?://[^\s/]+$")] | None = None
    coordination: Annotated[tuple[LinkLocal, ...], Field(strict=False)] = ()
    operators: Annotated[tuple[Email, ...], Field(strict=False)] = ()
    operator_posture: Annotated[tuple[str, ...], Field(strict=False)] = ()
    operator_access: Annotated[OperatorAccess, Field(strict=False)] = OperatorAccess.STANDING
    settings: TailnetSettings = TailnetSettings()
    log_streams: Annotated[tuple[LogStream, ...], Field(strict=False)] = ()
    webhooks: Annotated[tuple[Webhook, ...], Field(strict=False)] = ()
    identities: Annotated[tuple[TrustedIdentity, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _secrets_travel_sealed(self) -> Tailnet:
        is_local = self.api_url.startswith("http://") and is_loopback_url(self.api_url)
        if not (is_local or self.api_url.startswith("https://")):
            raise ValueError("api_url must be https unless it is a loopback address")
        if self.coordination and not is_loopback_url(self.api_url):
            raise ValueError(
                "coordination is for a tailnet on loopback; elsewhere hosts go through the proxy"
            )
        if self.api_key_file is not None and not is_loopback_url(self.api_url):
            raise ValueError(
                "api_key_file is for a tailnet on loopback; elsewhere use a federated identity or an OAuth client"
            )
        return self

    @model_validator(mode="after")
    def _parts_have_names_of_their_own(self) -> Tailnet:
        for field, names in (
            ("log_streams", [str(stream.log) for stream in self.log_streams]),
            ("webhooks", [hook.name for hook in self.webhooks]),
            ("identities", [identity.name for identity in self.identities]),
        ):
            if twice := [name for name, times in Counter(names).items() if times > 1]:
                raise ValueError(f"{field} has {twice[0]} twice")
        return self
