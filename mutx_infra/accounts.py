"""Whose credentials are in use: compared with the profile before anything is done."""

from __future__ import annotations

from mutx_infra.environment import Environment
from mutx_infra.errors import RefusedError
from mutx_infra.ports import Cloud


def check_account(environment: Environment, cloud: Cloud, account: str | None) -> None:
    """Refuse an account that the profile does not have, and credentials of another one than it names.

    Args:
        environment: the profile in force.
        cloud: the profile's own account; others are entered from it.
        account: a tenant's; None where it is not known yet.

    Raises:
        RefusedError: code `account-mismatch`.
    """
    pinned, pool = environment.aws.account_id, environment.aws.tenant_accounts
    if account is not None and account != pinned and account not in pool:
        raise RefusedError(
            f"account {account} is not one of environment {environment.name}, which is pinned to {pinned}",
            code="account-mismatch",
            remedy="use the environment profile of that account, add it to `aws.tenant_accounts`, or correct "
            "`account:` in the spec",
        )
    expected = {pinned: cloud}
    if account is not None:
        expected[account] = cloud.in_account(account)
    for wanted, entered in expected.items():
        live = entered.account_id()
        if live != wanted:
            raise RefusedError(
                f"the credentials belong to account {live}, environment {environment.name} says {wanted}",
                code="account-mismatch",
                remedy="sign in to the right account, or choose its environment profile",
            )
