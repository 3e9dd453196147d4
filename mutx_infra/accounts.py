"""Which AWS accounts a run may touch: those that the profile pins, and only where STS says that we are in them."""

from __future__ import annotations

from mutx_infra.environment import Environment
from mutx_infra.errors import RefusedError, SpecError
from mutx_infra.ports import Cloud
from mutx_infra.records import TenantRecord
from mutx_infra.tenant import Archive, TenantSpec


class Accounts:
    """Checks the accounts of one environment; asked before anything is reserved or made."""

    def __init__(self, environment: Environment, cloud: Cloud) -> None:
        self._environment, self._cloud = environment, cloud

    def require(self, account: str | None) -> None:
        """Refuse an account that the profile does not have, and credentials of another one than it names.

        Raises:
            RefusedError: code `account-mismatch`, or `role-denied` where the account cannot be entered.
        """
        pinned, pool = self._environment.aws.account_id, self._environment.aws.tenant_accounts
        if account is not None and account != pinned and account not in pool:
            raise RefusedError(
                f"account {account} is not one of environment {self._environment.name}, which is pinned to {pinned}",
                code="account-mismatch",
                remedy="use the environment profile of that account, add it to `aws.tenant_accounts`, or correct "
                "`account:` in the spec",
            )
        self._require_live(pinned, self._cloud)
        if account is not None and account != pinned:
            self._require_live(account, self._cloud.in_account(account))

    def require_archive(self, spec: TenantSpec) -> None:
        """Refuse an account for the log archive that the profile does not pin, or that cannot be entered.

        Raises:
            RefusedError: code `archive-mismatch`, or as `require`.
        """
        if spec.archive is None:
            return
        wanted, pinned = spec.archive.account, self._environment.aws.archive_account
        if wanted != pinned:
            raise RefusedError(
                f"the log archive's account {wanted} is not the one of environment {self._environment.name}, "
                + (f"which is pinned to {pinned}" if pinned else "which names none"),
                code="archive-mismatch",
                remedy="correct `archive.account` in the spec, or `aws.archive_account` in the environment profile",
            )
        self._require_live(wanted, self._cloud.in_account(wanted))

    def _require_live(self, wanted: str, cloud: Cloud) -> None:
        live = cloud.account_id()
        if live != wanted:
            raise RefusedError(
                f"the credentials belong to account {live}, environment {self._environment.name} says {wanted}",
                code="account-mismatch",
                remedy="sign in to the right account, or choose its environment profile",
            )


def check_archive_stays(spec: TenantSpec, record: TenantRecord) -> None:
    """Refuse to move a log archive that was made: its objects are locked where they are, for up to seven years.

    Raises:
        SpecError: code `spec-archive-fixed`.
    """
    before = record.spec.archive
    if record.plan_digest is not None and spec.archive != before:
        raise SpecError(
            f"{spec.id}: the log archive is in {_named(spec.archive)} in the spec, but it was made in {_named(before)}",
            code="spec-archive-fixed",
            remedy="put `archive:` back as it was: what the archive holds is locked and cannot be moved",
        )


def _named(archive: Archive | None) -> str:
    return f"account {archive.account}" if archive else "the platform's own account"
