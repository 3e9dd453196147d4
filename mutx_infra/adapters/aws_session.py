"""AWS clients that obey the environment profile and nothing else.

A stray AWS_ENDPOINT_URL, AWS_REGION or credential in the caller's shell must not redirect a run, so endpoint
and credential source come from the profile; only where it names none do the standard sources apply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from mutx_infra.environment import AwsEndpoint
from mutx_infra.errors import OutsideError, RefusedError
from mutx_infra.naming import SESSION_NAME, role_arn

if TYPE_CHECKING:
    from botocore.session import Session

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
_STS_REGION = "us-east-1"
_NOT_ACCEPTED = {
    "AuthFailure", "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId",
    "InvalidToken", "RequestExpired", "UnrecognizedClientException",
}  # fmt: skip
"""How the services say that they do not take the credentials, or not any more."""
ATTEMPTS = 5


class AwsSession:
    """Makes clients for one profile; clients are cached per service and region and may be shared by threads.

    Args:
        endpoint: the profile's part about AWS.
        account: entered by the profile's role; None for the profile's own.
        source: the session whose credentials assume the role.
    """

    def __init__(
        self, endpoint: AwsEndpoint, account: str | None = None, source: AwsSession | None = None
    ) -> None:
        self._endpoint, self._account, self._source = endpoint, account, source
        self._others: dict[str, AwsSession] = {}
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = Lock()

    def for_account(self, account: str) -> AwsSession:
        """Return a session in an account: the profile's own, or another, entered from there by the profile's role.

        Raises:
            RefusedError: the profile has no role for it (code `account-mismatch`). Whether the role lets us in shows
                at the first call.
        """
        home = self._source or self
        if account == self._endpoint.account_id:
            return home
        if home is not self:
            return home.for_account(account)
        role = self._endpoint.tenant_role
        if role is None:
            raise RefusedError(
                f"account {account} is not the profile's own, and it says no role to enter it by",
                code="account-mismatch",
                remedy="set `aws.tenant_role`, and `aws.tenant_accounts` or `aws.archive_account`, in the profile",
            )
        with self._lock:
            if account not in self._others:
                self._others[account] = AwsSession(self._endpoint, account, self)
            return self._others[account]

    def client(self, service: str, region: str) -> Any:  # noqa: ANN401 - botocore builds its classes at run time
        """Return a client; the first one of a service costs about 0.1 s of model loading."""
        from botocore.config import Config  # noqa: PLC0415 - 60 ms that `--help` need not pay

        with self._lock:
            if (service, region) not in self._clients:
                self._clients[service, region] = self._session.create_client(
                    service,
                    region_name=region,
                    endpoint_url=self._endpoint.endpoint_url,
                    config=Config(
                        connect_timeout=CONNECT_TIMEOUT_S,
                        read_timeout=READ_TIMEOUT_S,
                        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                        ignore_configured_endpoint_urls=True,  # type: ignore[call-arg] # in botocore since 1.31, not in its stubs
                        max_pool_connections=16,
                    ),
                )
            return self._clients[service, region]

    @cached_property
    def _session(self) -> Session:
        from botocore.session import Session  # noqa: PLC0415

        if self._source is not None:
            return self._assumed(Session())
        # An explicit profile also keeps botocore from preferring AWS_ACCESS_KEY_ID of the caller's shell.
        named = self._endpoint.profile or ("default" if self._endpoint.credentials_file else None)
        session = Session(profile=named)
        if self._endpoint.credentials_file:
            session.set_config_variable("credentials_file", self._endpoint.credentials_file)
        return session

    def _assumed(self, session: Session) -> Session:
        """Give a session credentials that assume the role when they are first used, and again before they expire."""
        from botocore.credentials import (  # noqa: PLC0415
            AssumeRoleCredentialFetcher,
            DeferredRefreshableCredentials,
        )

        assert self._source is not None  # noqa: S101 - asked only where there is one
        assert self._account is not None  # noqa: S101
        assert self._endpoint.tenant_role is not None  # noqa: S101
        role, source = self._endpoint.tenant_role, self._source
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=lambda *_, **__: source.client("sts", _STS_REGION),
            source_credentials=source._session.get_credentials(),
            role_arn=role_arn(self._account, role.name, _STS_REGION),
            extra_args={"ExternalId": role.external_id, "RoleSessionName": SESSION_NAME},
        )
        session._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")  # type: ignore[attr-defined]
        return session


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn botocore's exceptions into ours; `what` completes "AWS could not …"."""
    from botocore import exceptions  # noqa: PLC0415
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    try:
        yield
    except (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.ProfileNotFound,
        exceptions.CredentialRetrievalError,
        exceptions.TokenRetrievalError,
        exceptions.SSOError,
    ) as exc:
        raise RefusedError(
            f"AWS could not {what}: no usable credentials",
            code="aws-credentials",
            remedy="sign in (for example `aws sso login`), or name `aws.profile` in the environment profile",
            detail=str(exc),
        ) from exc
    except exceptions.ClientError as exc:
        raise _from_client_error(what, exc.response.get("Error", {}), exc.operation_name) from exc
    except (exceptions.HTTPClientError, exceptions.BotoCoreError, ResponseParserError) as exc:
        raise OutsideError(
            f"AWS could not {what}: {exc}",
            code="aws-unreachable",
            remedy="check the network and `aws.endpoint_url` (see `mutx-infra sandbox status`), then run it again",
        ) from exc


def _from_client_error(what: str, error: Mapping[str, Any], operation: str) -> RefusedError | OutsideError:
    code, text = error.get("Code", "Unknown"), error.get("Message", "")
    if code in _NOT_ACCEPTED:
        return RefusedError(
            f"AWS could not {what}: the credentials are not accepted ({code})",
            code="aws-credentials",
            remedy="sign in again, then run the same command",
        )
    if (
        code in {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}
        and operation == "AssumeRole"
    ):
        return RefusedError(
            f"AWS could not {what}: the account cannot be entered: {text}",
            code="role-denied",
            remedy="make the role of `aws.tenant_role` there; its trust names this account and the external id",
        )
    if code in {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}:
        return RefusedError(
            f"AWS could not {what}: access denied to {operation}",
            code="aws-denied",
            remedy=f"grant {operation} to the deploying role, then run the same command",
        )
    return OutsideError(
        f"AWS could not {what}: {code}: {text}",
        code="aws-error",
        remedy="run the same command again; nothing is lost",
    )
