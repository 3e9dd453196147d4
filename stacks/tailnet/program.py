"""The tailnet's program: one plan in, policy and settings out. `pulumi up` and the toolkit run this function.

The policy is imported, never created: a tailnet always has one, and the vendor's resource would write over it unseen.
`mutx-infra tailnet apply` puts the plan's policy in force on the condition that nobody else's is lost, then runs this.
"""

from __future__ import annotations

import pulumi
import pulumi_tailscale as tailscale

from mutx_infra.environment_tailnet import LogStream, TrustedIdentity, Webhook
from mutx_infra.tailnet.plan import TailnetPlan

POLICY = "policy"
"""Name of the policy's resource, and the id that it is imported by: Tailscale's own has none."""


def build(plan: TailnetPlan) -> None:
    """Register every resource of the tailnet.

    Exports `plan_digest`, `identities` (name → client id and audience) and `webhook_secrets` (name → secret, sealed).
    """
    policy = tailscale.Acl(
        POLICY,
        acl=plan.policy,
        opts=pulumi.ResourceOptions(import_=POLICY, protect=True, retain_on_delete=True),
    )
    settings = plan.settings
    tailscale.TailnetSettings(
        "settings",
        # Nobody edits in the admin console what the registry decides.
        acls_externally_managed_on=True,
        acls_external_link=settings.policy_link,
        devices_approval_on=settings.device_approval,
        # Hosts are updated with their images and by their own means.
        devices_auto_updates_on=False,
        devices_key_duration_days=settings.key_days,
        users_approval_on=settings.user_approval,
        users_role_allowed_to_join_external_tailnet="none",
        network_flow_logging_on=settings.flow_logs,
        # Certificates would publish the names of hosts, and with them those of tenants.
        https_enabled=False,
    )
    tailscale.DnsPreferences("dns", magic_dns=settings.magic_dns)
    for stream in plan.log_streams:
        _stream(stream)
    secrets = {hook.name: _webhook(hook).secret for hook in plan.webhooks}
    # Their tags have to be in the policy.
    identities = {each.name: _identity(each, policy) for each in plan.identities}
    pulumi.export("plan_digest", plan.digest)
    pulumi.export(
        "identities",
        {name: {"client_id": made.id, "audience": made.audience} for name, made in identities.items()},
    )
    pulumi.export("webhook_secrets", pulumi.Output.secret(secrets))


def _stream(stream: LogStream) -> None:
    tailscale.LogstreamConfiguration(
        f"log-{stream.log}",
        log_type=str(stream.log),
        destination_type="s3",
        s3_bucket=stream.bucket,
        s3_region=stream.region,
        s3_key_prefix=stream.prefix or None,
        s3_authentication_type="rolearn",
        s3_role_arn=stream.role_arn,
        s3_external_id=stream.external_id,
        compression_format="zstd",
    )


def _webhook(hook: Webhook) -> tailscale.Webhook:
    return tailscale.Webhook(
        f"webhook-{hook.name}",
        endpoint_url=hook.url,
        provider_type=None if hook.provider is None else str(hook.provider),
        subscriptions=list(hook.events),
    )


def _identity(identity: TrustedIdentity, policy: tailscale.Acl) -> tailscale.FederatedIdentity:
    return tailscale.FederatedIdentity(
        f"identity-{identity.name}",
        description=identity.name,
        issuer=identity.issuer,
        subject=identity.subject,
        audience=identity.audience,
        scopes=list(identity.scopes),
        tags=list(identity.tags),
        opts=pulumi.ResourceOptions(depends_on=[policy]),
    )
