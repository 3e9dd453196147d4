"""The one place that reads the process environment and chooses adapters."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import ValidationError

from mutx_infra.access import SshRoute
from mutx_infra.archive import LogArchive
from mutx_infra.chronicle import Chronicle
from mutx_infra.environment import Environment, HostAccess
from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.errors import SettingsError
from mutx_infra.hardening import HostCare
from mutx_infra.history import History
from mutx_infra.inventory import Inventory
from mutx_infra.joining import FixedTailnet, Joining, TailnetAdmission
from mutx_infra.leases import Leases
from mutx_infra.offboarding import Keeping
from mutx_infra.onboarding import Onboarding
from mutx_infra.platform_state import PlatformState
from mutx_infra.ports import ObjectStore
from mutx_infra.records import Owner, TenantRecord
from mutx_infra.settings import Settings, resolve_settings
from mutx_infra.vault.checks import VaultChecks, needs_token

if TYPE_CHECKING:
    from mutx_infra.adapters.aws_session import AwsSession
    from mutx_infra.adapters.pulumi_stacks import PulumiStacks
    from mutx_infra.adapters.sql_registry import SqlRegistry
    from mutx_infra.adapters.ssh_files import SshFileStore
    from mutx_infra.adapters.tailscale_api import TailscaleApi
    from mutx_infra.adapters.vault_files import VaultFiles
    from mutx_infra.tailnet_ports import TailnetKeeper
    from mutx_infra.vault.hosts import VaultTerms
    from mutx_infra.vault.receipt import Receipt, ReceiptKind


WAIVERS_FILE = "waivers.yml"


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Process:
    """What this process was given: variables and directory."""

    variables: Mapping[str, str]
    directory: Path


def this_process() -> Process:
    """Return the real process's environment."""
    return Process(dict(os.environ), Path.cwd())


def settings_of(process: Process, environment: str | None = None) -> Settings:
    """Resolve the settings once."""
    return resolve_settings(process.variables, process.directory, environment=environment)


def load_environment(path: Path) -> Environment:
    """Read an environment profile.

    Raises:
        SettingsError: it is not readable YAML, or not a valid profile; names the field.
    """
    remedy = "correct the profile; docs/reference/environments.md lists its fields"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Environment.model_validate(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise SettingsError(
            f"the environment profile {path} cannot be read",
            code="environment-unreadable",
            remedy=remedy,
            detail=str(exc),
        ) from exc
    except ValidationError as exc:
        # The input is left out of the message: it may hold the registry's password.
        problems = [f"{'.'.join(map(str, e['loc'])) or 'profile'}: {e['msg']}" for e in exc.errors()]
        raise SettingsError(
            f"the environment profile {path} is not valid: {problems[0]}",
            code="environment-invalid",
            remedy=remedy,
            detail="\n".join(problems[1:]),
        ) from exc


def make_onboarding(process: Process, settings: Settings, keeper: TailnetKeeper) -> Onboarding:
    """Wire the use cases to Pulumi, AWS and the SQL registry of the environment in force.

    `keeper` is asked where the environment names a tailnet.
    """
    from mutx_infra.adapters.aws_cloud import AwsCloud  # noqa: PLC0415 - vendors load only for commands that need them
    from mutx_infra.adapters.aws_session import AwsSession  # noqa: PLC0415
    from mutx_infra.adapters.process import current_owner, is_alive  # noqa: PLC0415
    from mutx_infra.adapters.sql_journal import SqlJournal  # noqa: PLC0415
    from mutx_infra.adapters.sql_registry import SqlRegistry  # noqa: PLC0415

    environment = load_environment(settings.require_environment())
    clock, owner = SystemClock(), current_owner()
    session = AwsSession(environment.aws)
    registry = SqlRegistry(environment.registry.url.get_secret_value(), clock)
    stacks = _stacks(process, settings, environment, session, owner)
    journal = SqlJournal(environment.registry.url.get_secret_value(), clock)
    history = history_of(environment, session, registry)
    settle = timedelta(minutes=environment.archive.settle_minutes if environment.archive else 0)
    keeping = Keeping(history, _archive(environment, session), settle, clock)
    chronicle = Chronicle(history, stacks.state, clock)
    joins = environment.hosts is not None and environment.hosts.tailnet_network is None
    tailnet = tailscale_of(environment.tailnet, process) if joins and environment.tailnet.name else None
    return Onboarding(
        environment,
        registry,
        journal,
        AwsCloud(session),
        stacks,
        owner,
        is_alive,
        chronicle,
        keeping,
        tailnet,
        keeper if environment.tailnet.name else None,
        vault_checks(),
    )


def vault_checks() -> VaultChecks:
    """Wire what looks at tenants' authorities and receipts; it loads when something is looked at."""

    def check_authority(certificate: str) -> None:
        from mutx_infra.adapters.x509_authority import check_authority as check  # noqa: PLC0415

        check(certificate, datetime.now(UTC))

    def check_receipt(text: str, admin_ca: str, tenant: str, kind: ReceiptKind) -> Receipt:
        from mutx_infra.adapters.x509 import check_receipt as check  # noqa: PLC0415

        return check(text, admin_ca, tenant, kind)

    return VaultChecks(check_authority, check_receipt)


def make_platform_state(process: Process, settings: Settings) -> PlatformState:
    """Wire what moves the platform's state away from the backend of the environment in force."""
    from mutx_infra.adapters.aws_session import AwsSession  # noqa: PLC0415
    from mutx_infra.adapters.process import current_owner, is_alive  # noqa: PLC0415
    from mutx_infra.adapters.sql_registry import SqlRegistry  # noqa: PLC0415

    environment, owner = load_environment(settings.require_environment()), current_owner()
    registry = SqlRegistry(environment.registry.url.get_secret_value(), SystemClock())
    stacks = _stacks(process, settings, environment, AwsSession(environment.aws), owner)
    leases = Leases(registry, stacks, owner, is_alive)
    return PlatformState(environment, registry, leases, stacks.backend)


def _stacks(
    process: Process, settings: Settings, environment: Environment, session: AwsSession, owner: Owner
) -> PulumiStacks:
    from mutx_infra.adapters.process import is_running  # noqa: PLC0415
    from mutx_infra.adapters.pulumi_engine import find_engine  # noqa: PLC0415
    from mutx_infra.adapters.pulumi_stacks import PulumiStacks  # noqa: PLC0415

    return PulumiStacks(
        engine=find_engine(settings.cache, process.variables.get("PATH", os.defpath)),
        environment=environment,
        variables=process.variables,
        state=settings.state,
        session=session,
        owner=owner,
        is_running=is_running,
        sleep=time.sleep,
    )


def make_host_care(process: Process, settings: Settings, seal_token: Path | None = None) -> HostCare:
    """Wire the use cases of hosts to ansible-runner and testinfra, in the environment in force.

    Args:
        process: this one.
        settings: of this invocation.
        seal_token: a file with the token for the key that seals a tenant's Vault, where its host is to be given it.
    """
    from mutx_infra.adapters.ansible_hosts import AnsibleHosts  # noqa: PLC0415
    from mutx_infra.adapters.aws_session import AwsSession  # noqa: PLC0415
    from mutx_infra.adapters.evidence_files import EvidenceFiles  # noqa: PLC0415
    from mutx_infra.adapters.process import current_owner, is_alive  # noqa: PLC0415
    from mutx_infra.adapters.sql_journal import SqlJournal  # noqa: PLC0415
    from mutx_infra.adapters.sql_registry import SqlRegistry  # noqa: PLC0415
    from mutx_infra.adapters.testinfra_checks import TestinfraAuditor  # noqa: PLC0415
    from mutx_infra.adapters.waiver_file import load_waivers  # noqa: PLC0415

    environment = load_environment(settings.require_environment())
    clock, owner = SystemClock(), current_owner()
    url = environment.registry.url.get_secret_value()
    registry, ports = SqlRegistry(url, clock), make_host_ports(settings)
    return HostCare(
        environment,
        registry,
        SqlJournal(url, clock),
        ports.joining,
        AnsibleHosts(
            ports.ssh,
            process.variables,
            settings.state,
            environment.name,
            clock.sleep,
            _told(environment),
        ),
        TestinfraAuditor(ports.ssh, process.variables),
        # A host's configuration is in no stack's state.
        Chronicle(history_of(environment, AwsSession(environment.aws), registry), lambda _: None, clock),
        EvidenceFiles(settings.state / "evidence"),
        load_waivers(_waivers_file(settings)),
        clock,
        owner,
        is_alive,
        partial(vault_terms, settings, environment, seal_token),
    )


def _told(environment: Environment) -> Path | None:
    """Return where an operator's variables of roles are."""
    access = environment.hosts
    return Path(access.variables).expanduser() if access and access.variables else None


def vault_terms(
    settings: Settings, environment: Environment, seal_token: Path | None, record: TenantRecord
) -> VaultTerms | None:
    """Return what a tenant's hosts are told of its Vault; None where it has none, or none can come up yet."""
    byok = record.spec.byok
    if byok is None or environment.vault is None:
        return None
    if seal_token is None and needs_token(record):
        return None
    from mutx_infra.adapters.vault_templates import policy_texts  # noqa: PLC0415
    from mutx_infra.adapters.x509_platform import PlatformAuthority  # noqa: PLC0415
    from mutx_infra.vault.hosts import VaultTerms  # noqa: PLC0415
    from mutx_infra.vault.layout import make_layout  # noqa: PLC0415
    from mutx_infra.vault.server import LOOPBACK  # noqa: PLC0415

    tenant, files = record.spec.id, vault_files(settings, environment)
    platform_ca = PlatformAuthority(environment.vault).certificate()
    return VaultTerms(
        make_layout(tenant, policy_texts(), byok.admin_ca, platform_ca, LOOPBACK),
        byok.seal,
        files.authorities(tenant),
        files.certificates(tenant),
        str(seal_token.absolute()) if seal_token else "",
        byok.server,
        environment.vault.awskms_plugin_sha256 or "",
    )


def vault_files(settings: Settings, environment: Environment) -> VaultFiles:
    """Return where the platform keeps what it has of tenants' Vaults."""
    from mutx_infra.adapters.vault_files import VaultFiles  # noqa: PLC0415

    return VaultFiles(settings.state / "vault" / environment.name)


def render_inventory(settings: Settings, inventory: Inventory) -> str:
    """Return an inventory as Ansible reads it, once SSH has what it takes to reach its hosts."""
    from mutx_infra.adapters.ansible_inventory import render_inventory as render  # noqa: PLC0415

    return render(inventory, make_host_ports(settings).ssh.prepare(inventory.tenant, inventory.ways).config)


def make_history(settings: Settings) -> History:
    """Wire the history of the environment in force.

    Raises:
        SettingsError: its profile keeps none (code `history-missing`).
    """
    from mutx_infra.adapters.aws_session import AwsSession  # noqa: PLC0415
    from mutx_infra.adapters.sql_registry import SqlRegistry  # noqa: PLC0415

    environment = load_environment(settings.require_environment())
    registry = SqlRegistry(environment.registry.url.get_secret_value(), SystemClock())
    history = history_of(environment, AwsSession(environment.aws), registry)
    if history is None:
        raise SettingsError(
            f"the environment {environment.name} keeps no history",
            code="history-missing",
            remedy="set `history.url` in its profile",
        )
    return history


def _waivers_file(settings: Settings) -> Path:
    """Return the project's waivers, or those that came with the playbooks where there is no project."""
    own = (settings.project or Path()) / "playbooks" / WAIVERS_FILE
    return own if own.is_file() else Path(str(files("mutx_infra.playbooks").joinpath(WAIVERS_FILE)))


@dataclass(frozen=True, slots=True)
class HostPorts:
    """What brings hosts in and reaches them."""

    joining: Joining
    ssh: SshFileStore


def make_host_ports(settings: Settings) -> HostPorts:
    """Wire joining to SSM and SSH to files, as the environment in force says.

    Raises:
        SettingsError: its profile does not say how hosts are reached (code `hosts-missing`).
    """
    from mutx_infra.adapters.aws_session import AwsSession  # noqa: PLC0415
    from mutx_infra.adapters.ssm_join import SsmMailbox  # noqa: PLC0415

    environment = load_environment(settings.require_environment())
    access = require_host_access(environment)
    ssh = ssh_files(settings, environment)
    mailbox = SsmMailbox(AwsSession(environment.aws))
    joining = Joining(mailbox, _admission(environment, access), ssh, ssh.authorities(), SystemClock())
    return HostPorts(joining, ssh)


def require_host_access(environment: Environment) -> HostAccess:
    """Return how hosts are brought in and reached.

    Raises:
        SettingsError: the profile does not say (code `hosts-missing`).
    """
    access = environment.hosts
    if access is None or (access.tailnet_network is None and environment.tailnet.name is None):
        raise SettingsError(
            f"the environment {environment.name} does not say how hosts are brought in",
            code="hosts-missing",
            remedy="set `hosts.ca_key_file`, and `tailnet.name` or `hosts.tailnet_network`, in its profile",
        )
    return access


def ssh_files(settings: Settings, environment: Environment) -> SshFileStore:
    """Wire SSH to files; nothing is read before a host is to be reached."""
    from mutx_infra.adapters.ssh_files import SshFileStore  # noqa: PLC0415

    access = require_host_access(environment)
    route = SshRoute(
        proxy_command=access.proxy_command,
        passes_descriptor=access.proxy_passes_descriptor,
        tailnet_network=access.tailnet_network,
    )
    return SshFileStore(settings.state / "hosts" / environment.name, Path(access.ca_key_file), route)


def _admission(environment: Environment, access: HostAccess) -> TailnetAdmission:
    """Return what lets hosts in."""
    if access.tailnet_network is not None:
        return FixedTailnet(access.tailnet_network)
    from mutx_infra.adapters.tailscale_admission import TailscaleAdmission  # noqa: PLC0415

    tailnet = environment.tailnet
    return TailscaleAdmission(tailscale_of(tailnet, this_process()), SystemClock(), tailnet.login_server)


def tailscale_of(tailnet: Tailnet, process: Process) -> TailscaleApi:
    """Wire what asks a tailnet to Tailscale's API."""
    from mutx_infra.adapters.tailscale_api import TailscaleApi  # noqa: PLC0415
    from mutx_infra.adapters.tailscale_login import credentials_of  # noqa: PLC0415

    return TailscaleApi(tailnet, credentials_of(tailnet, process.variables))


def make_archive(settings: Settings) -> LogArchive:
    """Wire the log archive of the environment in force.

    Raises:
        SettingsError: its profile has none (code `archive-missing`).
    """
    from mutx_infra.adapters.aws_session import AwsSession  # noqa: PLC0415

    environment = load_environment(settings.require_environment())
    archive = _archive(environment, AwsSession(environment.aws))
    if archive is None:
        raise SettingsError(
            f"the environment {environment.name} has no log archive",
            code="archive-missing",
            remedy="set `archive.url` in its profile",
        )
    return archive


def history_of(environment: Environment, session: AwsSession, registry: SqlRegistry) -> History | None:
    """Wire the history of an environment; None where it keeps none."""
    if environment.history is None:
        return None
    return History(_store(session, environment.history.url, "history"), registry)


def _archive(environment: Environment, session: AwsSession) -> LogArchive | None:
    where = environment.archive
    if where is None:
        return None
    account = where.account or environment.aws.account_id
    return LogArchive(_store(session.for_account(account), where.url, "archive", account))


def _store(session: AwsSession, url: str, what: str, owner: str | None = None) -> ObjectStore:
    if url.startswith("s3://"):
        from mutx_infra.adapters.object_s3 import S3Objects  # noqa: PLC0415

        return S3Objects(session, url, what, owner)
    from mutx_infra.adapters.object_files import FileObjects  # noqa: PLC0415

    return FileObjects(url, what)
