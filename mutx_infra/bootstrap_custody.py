"""`bootstrap` for the platform's side of tenants' Vaults: chooses the adapters of its use cases."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from mutx_infra.access import tailnet_address
from mutx_infra.bootstrap import (
    Process,
    SystemClock,
    history_of,
    load_environment,
    ssh_files,
    vault_files,
)
from mutx_infra.bootstrap_tailnet import LateKeeper
from mutx_infra.environment import Environment
from mutx_infra.errors import SettingsError
from mutx_infra.inventory import InventoryHost
from mutx_infra.leases import Leases
from mutx_infra.settings import Settings

if TYPE_CHECKING:
    from mutx_infra.vault.custody import Custody

_OTHERS = 0o077


def make_custody(process: Process, settings: Settings) -> Custody:
    """Wire the use cases to SSH, the platform's authority and files, in the environment in force.

    Raises:
        SettingsError: its profile names no authority (code `vault-ca-missing`).
    """
    from mutx_infra.adapters.ansible_hosts import AnsibleHosts  # noqa: PLC0415 - vendors load only where needed
    from mutx_infra.adapters.aws_session import AwsSession  # noqa: PLC0415
    from mutx_infra.adapters.hvac_vault import HvacVault  # noqa: PLC0415
    from mutx_infra.adapters.process import current_owner, is_alive  # noqa: PLC0415
    from mutx_infra.adapters.sql_journal import SqlJournal  # noqa: PLC0415
    from mutx_infra.adapters.sql_registry import SqlRegistry  # noqa: PLC0415
    from mutx_infra.adapters.ssh_vault_hosts import SshVaultHosts  # noqa: PLC0415
    from mutx_infra.adapters.vault_templates import policy_texts  # noqa: PLC0415
    from mutx_infra.adapters.x509 import check_receipt, read_request  # noqa: PLC0415
    from mutx_infra.adapters.x509_platform import PlatformAuthority  # noqa: PLC0415
    from mutx_infra.adapters.x509_requests import is_for_request  # noqa: PLC0415
    from mutx_infra.chronicle import Chronicle  # noqa: PLC0415
    from mutx_infra.vault.custody import Custody  # noqa: PLC0415
    from mutx_infra.vault.custody_ports import Tools  # noqa: PLC0415

    environment = load_environment(settings.require_environment())
    if environment.vault is None:
        raise SettingsError(
            f"the environment {environment.name} names no authority for the platform's certificates to Vaults",
            code="vault-ca-missing",
            remedy="set `vault.ca_key_file` and `vault.ca_file` in its profile; "
            "docs/reference/environments.md says what they are",
        )
    clock, owner = SystemClock(), current_owner()
    url, ssh = environment.registry.url.get_secret_value(), ssh_files(settings, environment)
    registry = SqlRegistry(url, clock)
    workers = AnsibleHosts(ssh, process.variables, settings.state, environment.name, clock.sleep)
    tools = Tools(HvacVault, read_request, is_for_request, check_receipt, policy_texts, version("mutx-infra"))
    return Custody(
        registry,
        SqlJournal(url, clock),
        Leases(registry, workers, owner, is_alive),
        Chronicle(history_of(environment, AwsSession(environment.aws), registry), lambda _: None, clock),
        SshVaultHosts(ssh),
        PlatformAuthority(environment.vault),
        vault_files(settings, environment),
        tools,
        lambda host: _url_of(environment, host),
        clock,
        owner,
        LateKeeper(process, settings) if environment.tailnet.name else None,
    )


def require_token_file(path: Path) -> Path:
    """Return a file with the token for a key that seals, which nobody else may read.

    Raises:
        SettingsError: code `seal-token-unreadable`.
    """
    try:
        is_good = path.is_file() and not path.stat().st_mode & _OTHERS and path.stat().st_size > 0
    except OSError:
        is_good = False
    if not is_good:
        raise SettingsError(
            f"{path} is not there, is empty, or can be read by others than its owner",
            code="seal-token-unreadable",
            remedy="write the token that the tenant gave for its key into a file of mode 0600; remove it afterwards",
        )
    return path.absolute()


def _url_of(environment: Environment, host: InventoryHost) -> str:
    """Return where the tenant's administrators reach a Vault host, over the tailnet."""
    from mutx_infra.vault.server import API_PORT  # noqa: PLC0415

    network = environment.hosts.tailnet_network if environment.hosts else None
    address = tailnet_address(host.target, network) if network is not None else host.name
    return f"https://{address}:{API_PORT}"
