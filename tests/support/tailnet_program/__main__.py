"""A tailnet's stack whose shape follows the config; run by the engine in the tests of the stand-in for tailscale."""

import pulumi
import pulumi_tailscale as tailscale

config = pulumi.Config()


def options(name: str) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(import_=config.get(f"import-{name}"))


acl = tailscale.Acl(
    "policy",
    acl=config.require("policy"),
    reset_acl_on_destroy=config.get_bool("reset"),
    opts=options("policy"),
)
if not config.get_bool("policy-only"):
    settings = tailscale.TailnetSettings(
        "settings", acls_externally_managed_on=True, devices_key_duration_days=config.get_int("days") or 30
    )
    tailscale.DnsPreferences("dns", magic_dns=True)
    account = tailscale.AwsExternalId("account")
    tailscale.LogstreamConfiguration(
        "audit",
        log_type="configuration",
        destination_type="s3",
        s3_bucket="logs",
        s3_region="eu-west-1",
        s3_authentication_type="rolearn",
        s3_role_arn="arn:aws:iam::123456789012:role/logs",
        s3_external_id=account.external_id,
    )
    tailscale.LogstreamConfiguration(
        "flows",
        log_type="network",
        destination_type="splunk",
        url="https://logs.example.com",
        token=config.require_secret("token"),
    )
    webhook = tailscale.Webhook(
        "alerts", endpoint_url="https://alerts.example.com", subscriptions=["policyUpdate", "nodeCreated"]
    )
    identity = tailscale.FederatedIdentity(
        "ci", issuer="https://ci.example.com", subject="repo:mutx/*", scopes=["policy_file"]
    )
    pulumi.export("webhook", webhook.id)
    pulumi.export("secret", webhook.secret)
    pulumi.export("audience", identity.audience)
    pulumi.export("https", settings.https_enabled)
