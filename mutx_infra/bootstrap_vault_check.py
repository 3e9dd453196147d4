"""`bootstrap` for the auditor's look at a tenant's Vault: chooses its adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from mutx_infra.bootstrap import Process, SystemClock, load_environment, settings_of
from mutx_infra.bootstrap_vault import find_vault, load_handover, url_of
from mutx_infra.errors import MutxInfraError

if TYPE_CHECKING:
    from mutx_infra.vault.checking import VaultCheck, Volumes
    from mutx_infra.vault.handover import Handover
    from mutx_infra.vault.parties import Who
    from mutx_infra.vault_ports import ClientCertificate

_VAULT_HOST = "vault"


@contextmanager
def vault_check(
    process: Process,
    tenant: str,
    handover_file: Path,
    address: str | None,
    certificates: Mapping[Who, ClientCertificate],
    environment: str | None,
) -> Iterator[VaultCheck]:
    """Yield the look at one tenant's Vault, wired to hvac; its own certificates are gone afterwards.

    Raises:
        SettingsError: the hand-over file is not there (`handover-missing`), none (`handover-invalid`), or another
            tenant's (`handover-tenant`).
    """
    from mutx_infra.adapters.evidence_files import EvidenceFiles  # noqa: PLC0415
    from mutx_infra.adapters.strangers import strangers  # noqa: PLC0415
    from mutx_infra.vault.checking import Shown, VaultCheck  # noqa: PLC0415 - one command needs it
    from mutx_infra.vault.layout import ONBOARDER, OPERATOR, platform_common_name  # noqa: PLC0415

    handover = load_handover(handover_file, tenant)
    settings = settings_of(process, environment)
    url, vault = url_of(handover, address), find_vault(process, handover, address)
    names = (*(platform_common_name(role, tenant) for role in (ONBOARDER, OPERATOR)), *_hosts(handover))
    with strangers(handover.admin_ca, names) as unknown:
        yield VaultCheck(
            handover, url, vault, Shown(certificates, unknown), partial(volumes_of, process, tenant, environment),
            EvidenceFiles(settings.state / "evidence"), SystemClock(), {"mutx-infra": version("mutx-infra")},
        )  # fmt: skip


def _hosts(handover: Handover) -> tuple[str, ...]:
    return tuple(machine.name for machine in handover.machines[:1])


def volumes_of(process: Process, tenant: str, environment: str | None) -> Volumes:
    """Look at the Vault hosts' volumes in the cloud, where the auditor has a profile that leads there.

    They must be those of the plan, under its keys; where nothing could be seen `is_met` is None, with a reason.
    """
    from mutx_infra.adapters.aws_cloud import AwsCloud  # noqa: PLC0415
    from mutx_infra.adapters.aws_session import AwsSession  # noqa: PLC0415
    from mutx_infra.adapters.sql_registry import SqlRegistry  # noqa: PLC0415
    from mutx_infra.host_facts import expected_volumes  # noqa: PLC0415
    from mutx_infra.plan import make_plan  # noqa: PLC0415
    from mutx_infra.vault.checking import Volumes  # noqa: PLC0415

    without = "no environment profile that leads to the tenant's account is at hand: `--environment`"
    try:
        profile = load_environment(settings_of(process, environment).require_environment())
        record = SqlRegistry(profile.registry.url.get_secret_value(), SystemClock()).tenant(tenant)
        if record is None:
            return Volumes("nothing", None, f"the registry of {profile.name} knows no {tenant}")
        plan = make_plan(record.spec, record.allocation)
        live = AwsCloud(AwsSession(profile.aws)).observe(plan).volumes
    except MutxInfraError as exc:
        return Volumes("nothing", None, f"{without} ({exc.message})")
    planned = {volume for volume in expected_volumes(plan) if volume.host.startswith(_VAULT_HOST)}
    seen = {volume for volume in live if volume.host.startswith(_VAULT_HOST)}
    if not planned:
        return Volumes("nothing", None, f"the plan of {tenant} has no Vault host with a volume of its own")
    return Volumes("; ".join(sorted(map(str, seen))) or "none", seen == planned)
