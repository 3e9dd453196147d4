"""The join mailbox in SSM: one parameter for each host, outside every stack."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from mutx_infra import naming
from mutx_infra.access import HostTarget
from mutx_infra.adapters.aws_session import AwsSession, translated
from mutx_infra.errors import OutsideError
from mutx_infra.hosts import Purpose
from mutx_infra.joining import JoinDocument, JoinReport

SEALED, OPEN = "SecureString", "String"


class SsmMailbox:
    """`joining.JoinMailbox`: documents are SecureStrings under the tenant's key for parameters, reports plain ones."""

    def __init__(self, session: AwsSession) -> None:
        self._session = session

    def deliver(self, host: HostTarget, document: JoinDocument) -> None:
        """Write the parameter, sealed under the key that the host's role may open."""
        with translated(f"deliver {host.name}'s join document"):
            self._ssm(host).put_parameter(
                Name=_name(host),
                Value=document.reveal(),
                Type=SEALED,
                KeyId=naming.key_alias(host.tenant, Purpose.PARAMETERS),
                Overwrite=True,
            )

    def report(self, host: HostTarget) -> JoinReport | None:
        """Read the parameter without asking KMS to open it: a document stays sealed."""
        ssm = self._ssm(host)
        with translated(f"read {host.name}'s join report"):
            try:
                found = ssm.get_parameter(Name=_name(host), WithDecryption=False)["Parameter"]
            except ssm.exceptions.ParameterNotFound:
                return None
        if found["Type"] != OPEN:
            return None
        try:
            return JoinReport.model_validate_json(found["Value"])
        except ValidationError as exc:
            raise OutsideError(
                f"{_name(host)} holds no join report",
                code="join-report-invalid",
                remedy="delete the parameter, then run the same command again: the host is told to join anew",
                detail="; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors()),
            ) from exc

    def clear(self, host: HostTarget) -> None:
        """Delete the parameter."""
        ssm = self._ssm(host)
        with translated(f"clear {host.name}'s join parameter"):
            try:
                ssm.delete_parameter(Name=_name(host))
            except ssm.exceptions.ParameterNotFound:
                return

    def _ssm(self, host: HostTarget) -> Any:  # noqa: ANN401 - botocore builds its classes at run time
        return self._session.for_account(host.account).client("ssm", host.region)


def _name(host: HostTarget) -> str:
    return naming.join_parameter(host.tenant, host.key)
