"""The sandbox's other accounts: one for tenants, one for the archive, each entered by a role that asks who comes."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

Moto: TypeAlias = Any
"""Something of moto's, which has no types for its backends."""

TENANT_ACCOUNT = "210987654321"
ARCHIVE_ACCOUNT = "310987654321"
ROLE = "mutx-deploy"
EXTERNAL_ID = "mutx-sandbox"


def open_accounts(home: str) -> None:
    """Have the accounts hold the role from their beginning, and check who assumes one, as AWS does.

    Args:
        home: the account whose principals may enter.
    """
    _make_roles(home)
    _ask_who_comes()


def _make_roles(home: str) -> None:
    from moto.iam.models import IAMBackend  # noqa: PLC0415

    init = IAMBackend.__init__

    def init_with_role(self: Moto, region_name: str, account_id: str, **more: Moto) -> None:
        init(self, region_name, account_id, **more)
        if account_id in {TENANT_ACCOUNT, ARCHIVE_ACCOUNT}:
            self.create_role(
                role_name=ROLE,
                assume_role_policy_document=_trust(home),
                path="/",
                permissions_boundary=None,
                description="entered by the toolkit",
                tags=[],
                max_session_duration="3600",
            )

    setattr(IAMBackend, "__init__", init_with_role)  # noqa: B010 - mypy knows the class


def _trust(home: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{home}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _ask_who_comes() -> None:
    """AWS refuses a role that does not exist, and one whose trust asks for another external id; moto neither."""
    from moto.sts.models import STSBackend  # noqa: PLC0415

    assume = STSBackend.assume_role

    def assume_checked(self: Moto, *args: Moto, **kwargs: Moto) -> Moto:
        _require_trust(str(kwargs["role_arn"]), kwargs.get("external_id"))
        return assume(self, *args, **kwargs)

    setattr(STSBackend, "assume_role", assume_checked)  # noqa: B010


def _require_trust(arn: str, external_id: str | None) -> None:
    from moto.backends import get_backend  # noqa: PLC0415
    from moto.core.exceptions import ServiceException  # noqa: PLC0415
    from moto.iam.exceptions import NotFoundException  # noqa: PLC0415

    class AccessDeniedError(ServiceException):
        code = "AccessDenied"

    refused = AccessDeniedError(f"User is not authorized to perform: sts:AssumeRole on resource: {arn}")
    partition, account, name = arn.split(":")[1], arn.split(":")[4], arn.rsplit("/", 1)[-1]
    try:
        role = get_backend("iam")[account][partition].get_role(name)
    except NotFoundException:
        raise refused from None
    for statement in json.loads(role.assume_role_policy_document)["Statement"]:
        wanted = statement.get("Condition", {}).get("StringEquals", {}).get("sts:ExternalId")
        if wanted is not None and wanted != external_id:
            raise refused
