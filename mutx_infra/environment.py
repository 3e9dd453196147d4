"""The environment profile: which endpoints, account, state backend and registry a run talks to.

A profile holds standard knobs only. Production code reads it and never learns whether the endpoints are
AWS or a local stand-in; what differs for loopback profiles is what is *allowed*, and that is said here.
"""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from mutx_infra.environment_part import Part, is_loopback_url
from mutx_infra.environment_tailnet import Tailnet

AccountId = Annotated[str, Field(pattern=r"^[0-9]{12}$")]
SHRED_NOTICE_DAYS = 30
StoreUrl = Annotated[str, Field(pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|file:///)")]


class TenantRole(Part):
    """The role by which the tenants' accounts are entered; it has one name in all of them.

    Attributes:
        external_id: must be in the role's trust policy (`sts:ExternalId`), against confused deputies.
    """

    name: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_+=,.@-]+$")]
    external_id: Annotated[str, Field(min_length=2, max_length=1224, pattern=r"^[A-Za-z0-9_+=,.@:/-]+$")]


class AwsEndpoint(Part):
    """How AWS is reached.

    Attributes:
        account_id: the account this profile is pinned to; compared with STS before anything is done.
        tenant_role: how the accounts of tenants are entered.
        tenant_accounts: the pool: accounts that tenants may have. Empty: all share `account_id`.
        archive_account: the account of the platform's log archive; no tenant may have it.
        endpoint_url: replaces every service's endpoint; None means AWS itself.
        profile: name of a profile in the shared AWS configuration.
        credentials_file: shared credentials file (AWS_SHARED_CREDENTIALS_FILE).
    """

    account_id: AccountId
    tenant_role: TenantRole | None = None
    tenant_accounts: Annotated[tuple[AccountId, ...], Field(strict=False)] = ()
    archive_account: AccountId | None = None
    endpoint_url: str | None = None
    profile: str | None = None
    credentials_file: str | None = None


class PulumiBackend(Part):
    """Where stack state lives and how its secrets are sealed.

    Attributes:
        backend_url: `s3://…`, `file://…`, `https://api.pulumi.com`, …
        secrets_provider: `passphrase`, or a key URL such as `awskms://alias/mutx-state?region=eu-west-1`.
        passphrase_file: file with the passphrase (mode 0600), for `passphrase` only.
        attached_providers: running provider servers by package, as `{"aws": "127.0.0.1:1234"}`
            (PULUMI_DEBUG_PROVIDERS); loopback profiles only.
    """

    backend_url: str
    secrets_provider: str = "passphrase"
    passphrase_file: str | None = None
    attached_providers: dict[str, str] = Field(default_factory=dict)


class RegistryStore(Part):
    """Where tenants, blocks, leases and the journal are kept; may hold a password, so it is a secret."""

    url: SecretStr


class AddressPool(Part):
    """The block that tenants' blocks are cut from."""

    network: Annotated[IPv4Network, Field(strict=False)] = IPv4Network("10.0.0.0/8")


class HistoryStore(Part):
    """Where the history of configuration changes is kept.

    Attributes:
        url: `s3://BUCKET[/PREFIX][?region=REGION]` of a bucket with Object Lock, or `file:///DIRECTORY` in a
            loopback profile.
    """

    url: StoreUrl


class ArchiveStore(Part):
    """Where a tenant's logs are kept once the tenant is gone.

    Attributes:
        url: as `history.url`; the lock's default retention is a year at least.
        account: the bucket's, entered by `aws.tenant_role`; None for the profile's own.
        settle_minutes: how long after the last host's end the logs are read: AWS delivers flow logs late.
    """

    url: StoreUrl
    account: AccountId | None = None
    settle_minutes: Annotated[int, Field(ge=0, le=60)] = 10


class HostAccess(Part):
    """How hosts are brought in and reached by SSH.

    Attributes:
        ca_key_file: private key of the SSH authority that signs the converge account's certificates (mode 0600).
        proxy_command: how SSH reaches tailnet addresses from here, as ssh_config's `ProxyCommand` takes it (for a
            tailscaled in userspace mode: `tailscale nc %h %p`); None where this machine is in the tailnet itself.
        proxy_passes_descriptor: `proxy_command` hands over a connected descriptor (`ProxyUseFdpass`).
        tailnet_network: where the tailnet has fixed addresses instead of a coordination server, the block that
            they are from.
        variables: a directory with `group_vars` and `host_vars`, as Ansible has them: what the operator tells roles,
            such as which release of the guardrail hosts install. What the toolkit tells a host wins over `group_vars`.
        on_create: `tenant create` ends with hardening the hosts; False where only `hosts harden` does it.
    """

    ca_key_file: str
    proxy_command: str | None = None
    proxy_passes_descriptor: bool = False
    tailnet_network: Annotated[IPv4Network | None, Field(strict=False)] = None
    on_create: bool = True
    variables: str | None = None


class VaultAccess(Part):
    """How the platform brings up tenants' Vaults and hands them over.

    Attributes:
        ca_key_file: private key of the X.509 authority that signs the platform's client certificates, of half an hour
            each (mode 0600). Every Vault that is made trusts it for looking at its configuration, and for no more.
        ca_file: that authority's certificate in PEM.
        awskms_plugin_sha256: digest of OpenBao's plugin for AWS KMS on the Vault's hosts, 64 hex digits. The server has
            no AWS KMS of its own, and starts no program of another digest; None where no tenant seals so.
        shred_notice_days: how long `tenant destroy` waits for a tenant that does not say that it shredded its Vault.
    """

    ca_key_file: str
    ca_file: str
    awskms_plugin_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    shred_notice_days: Annotated[int, Field(ge=1, le=365)] = SHRED_NOTICE_DAYS


class Environment(Part):
    """One environment profile, as read from YAML.

    Raises:
        pydantic.ValidationError: an unknown field, a bad value, or a combination that is not allowed: SQLite,
            attached providers, no locked history or archive, or plain http where endpoints are not all loopback.
    """

    version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    aws: AwsEndpoint
    pulumi: PulumiBackend
    registry: RegistryStore
    pool: AddressPool = AddressPool()
    history: HistoryStore | None = None
    hosts: HostAccess | None = None
    vault: VaultAccess | None = None
    archive: ArchiveStore | None = None
    tailnet: Tailnet = Tailnet()

    @property
    def is_loopback(self) -> bool:
        """True when AWS, the state backend and the registry are all on this machine."""
        return (
            self.aws.endpoint_url is not None
            and is_loopback_url(self.aws.endpoint_url)
            and is_loopback_url(self.pulumi.backend_url)
            and is_loopback_url(self.registry.url.get_secret_value())
        )

    @property
    def shred_notice(self) -> timedelta:
        """How long a destroy waits for a tenant's word."""
        return timedelta(days=self.vault.shred_notice_days if self.vault else SHRED_NOTICE_DAYS)

    @model_validator(mode="after")
    def _other_accounts_need_a_role(self) -> Environment:
        if self.aws.tenant_role is not None:
            return self
        if set(self.aws.tenant_accounts) - {self.aws.account_id}:
            raise ValueError(
                "aws.tenant_role is required with aws.tenant_accounts: it says how they are entered"
            )
        if self.archive is not None and self.archive.account not in {None, self.aws.account_id}:
            raise ValueError("aws.tenant_role is required with archive.account: it says how that is entered")
        if self.aws.archive_account is not None:
            raise ValueError(
                "aws.tenant_role is required with aws.archive_account: it says how it is entered"
            )
        return self

    @model_validator(mode="after")
    def _the_archive_is_apart(self) -> Environment:
        if self.aws.archive_account in {self.aws.account_id, *self.aws.tenant_accounts}:
            raise ValueError(
                "aws.archive_account must hold the archive alone: it is neither aws.account_id nor a tenant's account"
            )
        named = self.archive.account if self.archive is not None else None
        if named is not None and self.aws.archive_account not in {None, named}:
            raise ValueError(
                "archive.account and aws.archive_account name two accounts: there is one for the archive"
            )
        return self

    @model_validator(mode="after")
    def _only_loopback_may_use_local_means(self) -> Environment:
        url = self.aws.endpoint_url
        aws_is_local = url is not None and is_loopback_url(url)
        if url is not None and not aws_is_local and not url.startswith("https://"):
            raise ValueError("aws.endpoint_url must be https unless it is a loopback address")
        if not aws_is_local:
            if self.registry.url.get_secret_value().startswith("sqlite"):
                raise ValueError(
                    "registry.url is SQLite, which one machine alone can see; a shared environment needs postgresql://"
                )
            if self.pulumi.attached_providers:
                raise ValueError("pulumi.attached_providers is for loopback endpoints only")
            if self.history is None or not self.history.url.startswith("s3://"):
                raise ValueError(
                    "history.url must be an s3:// bucket with Object Lock: changes are kept for seven years"
                )
            if self.archive is None or not self.archive.url.startswith("s3://"):
                raise ValueError(
                    "archive.url must be an s3:// bucket with Object Lock: a tenant's logs are kept for a year"
                )
        for package, address in self.pulumi.attached_providers.items():
            if not is_loopback_url(f"tcp://{address}"):
                raise ValueError(f"pulumi.attached_providers.{package} must be a loopback address")
        if self.pulumi.secrets_provider == "passphrase" and self.pulumi.passphrase_file is None:
            raise ValueError("pulumi.passphrase_file is required with secrets_provider: passphrase")
        return self
