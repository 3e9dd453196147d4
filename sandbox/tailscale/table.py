"""All resource types by token, as the vendor's Terraform provider describes them."""

from __future__ import annotations

from collections.abc import Mapping

from mutx_sandbox.bridge.properties import Kind, Output, Property, boolean, document, integer, string, strings
from mutx_sandbox.bridge.values import Properties
from mutx_sandbox.tailscale import hujson
from mutx_sandbox.tailscale.resource import Call, Listing, ResourceType
from mutx_sandbox.tailscale.rules import claim_rules, each_of, https_address, length, one_of, web_address

_POLICY = "tailnet/$tailnet/acl"
_SETTINGS = "tailnet/$tailnet/settings"
_PREFERENCES = "tailnet/$tailnet/dns/preferences"
_STREAM = "tailnet/$tailnet/logging/$id/stream"
_NOTHING: frozenset[str] = frozenset()
_EVENTS = (
    "categoryTailnetManagement", "nodeCreated", "nodeNeedsApproval", "nodeApproved", "nodeKeyExpiringInOneDay",
    "nodeKeyExpired", "nodeDeleted", "policyUpdate", "userCreated", "userNeedsApproval", "userSuspended",
    "userRestored", "userDeleted", "userApproved", "userRoleUpdated", "categoryDeviceMisconfigurations",
    "subnetIPForwardingNotEnabled", "exitNodeIPForwardingNotEnabled",
)  # fmt: skip
_OVERWRITING = (
    "You are trying to overwrite a non-default policy. Please import the ACL first or set "
    "overwrite_existing_content = true."
)


def _only_the_default(inputs: Properties) -> Mapping[str, str]:
    """Ask the API to refuse where somebody has written a policy already."""
    return {} if inputs.get("overwriteExistingContent") else {"If-Match": '"ts-default"'}


ACL = ResourceType(
    name="tailscale:index/acl:Acl",
    properties={
        "acl": string(required=True, normal=hujson.canonical, reason=hujson.problem),
        "overwriteExistingContent": boolean(api=None, item=None),
        "resetAclOnDestroy": boolean(api=None, item=None),
    },
    document="acl",
    verify=Call(method="POST", path=f"{_POLICY}/validate", title="Invalid ACL"),
    create=Call(
        method="POST",
        path=_POLICY,
        title="Failed to set ACL",
        headers=_only_the_default,
        refusals={412: f"Overwrite Protected: {_OVERWRITING}"},
    ),
    read=Call(method="GET", path=_POLICY, title="Failed to fetch ACL"),
    update=Call(method="POST", path=_POLICY, title="Failed to update ACL"),
    # A tailnet always has a policy: an empty text brings back the default one.
    delete=Call(
        method="POST",
        path=_POLICY,
        title="Failed to reset ACL",
        sends=_NOTHING,
        unless=lambda state: not state.get("resetAclOnDestroy"),
    ),
)

TAILNET_SETTINGS = ResourceType(
    name="tailscale:index/tailnetSettings:TailnetSettings",
    properties={
        "aclsExternallyManagedOn": boolean(computed=True),
        "aclsExternalLink": string(computed=True, reason=web_address),
        "devicesApprovalOn": boolean(computed=True),
        "devicesAutoUpdatesOn": boolean(computed=True),
        "devicesKeyDurationDays": integer(computed=True),
        "usersApprovalOn": boolean(computed=True),
        "usersRoleAllowedToJoinExternalTailnet": string(
            api="usersRoleAllowedToJoinExternalTailnets",
            computed=True,
            reason=one_of("none", "member", "admin"),
        ),
        "networkFlowLoggingOn": boolean(computed=True),
        "regionalRoutingOn": boolean(computed=True),
        "postureIdentityCollectionOn": boolean(computed=True),
        "httpsEnabled": boolean(computed=True),
    },
    create=Call(method="PATCH", path=_SETTINGS, title="Failed to update tailnet settings"),
    read=Call(method="GET", path=_SETTINGS, title="Failed to fetch tailnet settings"),
    update=Call(method="PATCH", path=_SETTINGS, title="Failed to update tailnet settings", changed_only=True),
    reads_back=True,
)

DNS_PREFERENCES = ResourceType(
    name="tailscale:index/dnsPreferences:DnsPreferences",
    properties={"magicDns": boolean(api="magicDNS", required=True)},
    create=Call(method="POST", path=_PREFERENCES, title="Failed to set DNS preferences"),
    read=Call(method="GET", path=_PREFERENCES, title="Failed to fetch DNS preferences"),
    update=Call(method="POST", path=_PREFERENCES, title="Failed to set DNS preferences"),
    delete=Call(
        method="POST",
        path=_PREFERENCES,
        title="Failed to set DNS preferences",
        sends=_NOTHING,
        constants={"magicDNS": False},
    ),
)

LOGSTREAM_CONFIGURATION = ResourceType(
    name="tailscale:index/logstreamConfiguration:LogstreamConfiguration",
    properties={
        "logType": string(
            api=None, item="logType", required=True, replaces=True, reason=one_of("configuration", "network")
        ),
        "destinationType": string(
            required=True,
            reason=one_of("axiom", "datadog", "cribl", "elastic", "panther", "splunk", "s3", "gcs"),
        ),
        "url": string(default=""),
        "user": string(default="user"),
        "token": string(item=None, secret=True),
        "uploadPeriodMinutes": integer(default=0),
        "compressionFormat": string(default="none", reason=one_of("none", "zstd", "gzip")),
        "s3Bucket": string(default=""),
        "s3Region": string(default=""),
        "s3KeyPrefix": string(default=""),
        "s3AuthenticationType": string(reason=one_of("accesskey", "rolearn")),
        "s3AccessKeyId": string(default=""),
        "s3SecretAccessKey": string(item=None, secret=True),
        "s3RoleArn": string(default=""),
        "s3ExternalId": string(default=""),
        "gcsCredentials": document(default=""),
        "gcsBucket": string(default=""),
        "gcsScopes": strings(default=[]),
        "gcsKeyPrefix": string(default=""),
    },
    identity="logType",
    create=Call(method="PUT", path=_STREAM, title="Failed to set logstream configuration"),
    read=Call(method="GET", path=_STREAM, title="Failed to fetch logstream configuration"),
    update=Call(method="PUT", path=_STREAM, title="Failed to set logstream configuration"),
    delete=Call(
        method="DELETE", path=_STREAM, title="Failed to delete logstream configuration", sends=_NOTHING
    ),
    may_vanish=True,
    leaves_out=True,
)

WEBHOOK = ResourceType(
    name="tailscale:index/webhook:Webhook",
    properties={
        "endpointUrl": string(required=True, replaces=True),
        "providerType": string(
            replaces=True, reason=one_of("", "slack", "mattermost", "googlechat", "discord")
        ),
        "subscriptions": strings(required=True, reason=each_of(*_EVENTS)),
    },
    outputs={"secret": Output(item="secret", secret=True)},
    identity="endpointId",
    is_told=True,
    create=Call(
        method="POST",
        path="tailnet/$tailnet/webhooks",
        title="Failed to create webhook",
        is_repeatable=False,
    ),
    read=Call(method="GET", path="webhooks/$id", title="Error fetching webhook"),
    update=Call(
        method="PATCH",
        path="webhooks/$id",
        title="Failed to update webhook",
        sends=frozenset({"subscriptions"}),
    ),
    delete=Call(method="DELETE", path="webhooks/$id", title="Failed to delete webhook", sends=_NOTHING),
    may_vanish=True,
    listing=Listing(
        call=Call(method="GET", path="tailnet/$tailnet/webhooks", title="Failed to list webhooks"),
        items="webhooks",
        identity="endpointId",
        renew=Call(
            method="POST", path="webhooks/$id/rotate", title="Failed to get webhook secret", sends=_NOTHING
        ),
    ),
)

FEDERATED_IDENTITY = ResourceType(
    name="tailscale:index/federatedIdentity:FederatedIdentity",
    properties={
        "description": string(default="", reason=length(0, 50)),
        "scopes": strings(required=True),
        "tags": strings(default=[]),
        "audience": string(computed=True, reason=length(1, 1 << 16)),
        "subject": string(required=True),
        "issuer": string(required=True, reason=https_address),
        "customClaimRules": Property(kind=Kind.MAP, default={}, reason=claim_rules),
    },
    outputs={
        "createdAt": Output(item="created"),
        "updatedAt": Output(item="updated"),
        "userId": Output(item="userId"),
    },
    changing=frozenset({"updatedAt"}),
    identity="id",
    is_told=True,
    create=Call(
        method="POST",
        path="tailnet/$tailnet/keys",
        title="Failed to create federated identity",
        constants={"keyType": "federated"},
        is_repeatable=False,
    ),
    read=Call(method="GET", path="tailnet/$tailnet/keys/$id", title="Failed to fetch federated identity"),
    update=Call(
        method="PUT",
        path="tailnet/$tailnet/keys/$id",
        title="Failed to update federated identity",
        constants={"keyType": "federated"},
    ),
    delete=Call(
        method="DELETE",
        path="tailnet/$tailnet/keys/$id",
        title="Failed to delete federated identity",
        sends=_NOTHING,
    ),
    may_vanish=True,
    listing=Listing(
        call=Call(
            method="GET", path="tailnet/$tailnet/keys?all=true", title="Failed to list federated identities"
        ),
        items="keys",
        identity="id",
    ),
)

AWS_EXTERNAL_ID = ResourceType(
    name="tailscale:index/awsExternalId:AwsExternalId",
    properties={},
    outputs={
        "externalId": Output(item="externalId"),
        "tailscaleAwsAccountId": Output(item="tailscaleAwsAccountId"),
    },
    identity="externalId",
    is_told=True,
    # An id that nobody uses costs nothing, so a creation that went unanswered is simply made again.
    create=Call(
        method="POST",
        path="tailnet/$tailnet/aws-external-id",
        title="Error creating AWS External ID",
        constants={"reusable": False},
    ),
)

TABLE: dict[str, ResourceType] = {
    kind.name: kind
    for kind in (
        ACL,
        TAILNET_SETTINGS,
        DNS_PREFERENCES,
        LOGSTREAM_CONFIGURATION,
        WEBHOOK,
        FEDERATED_IDENTITY,
        AWS_EXTERNAL_ID,
    )
}
