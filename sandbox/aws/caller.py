"""Calls to AWS: one client per service, region and endpoint, shapes resolved once, failures sorted and retried."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.parsers import ResponseParserError
from mutx_sandbox.aws.faults import Boundary
from mutx_sandbox.aws.shapes import fit
from mutx_sandbox.bridge.failures import OperationError
from mutx_sandbox.bridge.patience import Patience

logger = logging.getLogger(__name__)

_NO_SHARED_CONFIGURATION = {
    name: (None, None, default, None)
    for name, default in (("profile", None), ("config_file", os.devnull), ("credentials_file", os.devnull))
}
"""botocore's variables for what the operator's shell and home say about AWS: none of it applies here."""

_KEPT_CLIENTS = 256
_POOL = 32
_FIRST_SERVER_ERROR = 500
_THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException.Throttling",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


class AwsError(OperationError):
    """AWS refused a call, or could not be reached; carries the operation and the API's error code."""

    def __init__(self, operation: str, code: str, message: str) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.operation, self.code = operation, code

    @property
    def is_absence(self) -> bool:
        """True when the code says that the thing does not exist (any more)."""
        return (
            self.code.endswith((".NotFound", "NotFoundException", "NotFound", "NotFoundError"))
            or self.code.startswith("NoSuch")
            or self.code in {"ResourceNotFoundException", "InvalidGroup.NotFound", "404"}
        )


class UncertainError(AwsError):
    """The answer was lost or was a server error: AWS may or may not have acted."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where calls go and as whom; equal accounts share clients.

    The credentials are left out of `repr`, so that no log line can hold them.
    """

    endpoint: str
    access_key: str
    _secret_key: str
    _token: str | None = None

    def __repr__(self) -> str:
        return f"Account(endpoint={self.endpoint!r})"


class Clients:
    """The process's clients, shared by all tenants of the daemon, bounded, made on first use."""

    def __init__(self, boundary: Boundary) -> None:
        self._boundary = boundary
        self._session = botocore.session.Session(session_vars=_NO_SHARED_CONFIGURATION)
        self._clients: OrderedDict[tuple[str, str, Account], BaseClient] = OrderedDict()
        self._lock = Lock()

    def get(self, service: str, region: str, account: Account) -> BaseClient:
        """Return the client for a service, making it if this is the first call."""
        key = (service, region, account)
        with self._lock:
            client = self._clients.get(key)
            if client is None:
                client = self._clients[key] = self._make(*key)
                while len(self._clients) > _KEPT_CLIENTS:
                    self._clients.popitem(last=False)
            self._clients.move_to_end(key)
            return client

    def _make(self, service: str, region: str, account: Account) -> BaseClient:
        client = self._session.create_client(
            service,
            region_name=region,
            endpoint_url=account.endpoint,
            aws_access_key_id=account.access_key,
            aws_secret_access_key=account._secret_key,
            aws_session_token=account._token,
            # Retries are made here, where a creation can be told from an idempotent call; no proxy: loopback only.
            config=Config(
                max_pool_connections=_POOL,
                retries={"total_max_attempts": 1, "mode": "standard"},
                connect_timeout=5,
                read_timeout=60,
                proxies={},
                parameter_validation=False,
            ),
        )
        # The stubs have handlers return nothing; botocore takes a response from one (Endpoint._get_response).
        hook: Any = self._boundary.before_send
        client.meta.events.register("before-send", hook)
        return client


@dataclass(slots=True)
class Caller:
    """Makes the calls of one configured provider.

    Attributes:
        clients: the process's clients.
        account: endpoint and credentials.
        region: the provider's region.
        attempts: how often a call is tried in all.
    """

    clients: Clients
    account: Account
    region: str
    attempts: int = 8

    def call(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        patience: Patience,
        *,
        region: str | None = None,
        settled_by: frozenset[str] = frozenset(),
    ) -> dict[str, Any]:
        """Make an idempotent call, trying again after throttling, server errors and lost connections.

        Args:
            service: botocore's name of the service.
            operation: the API's name of the operation, e.g. `CreateTags`.
            parameters: the request, in the API's spelling; coerced to its shape.
            patience: bounds the tries in time.
            region: another region than the provider's.
            settled_by: error codes which after an uncertain try mean that it had succeeded.

        Raises:
            AwsError: AWS refused, or the tries are spent.
            ShapeError: the request does not fit the API.
        """
        uncertain = False
        for attempt in range(self.attempts):
            try:
                return self.call_once(service, operation, parameters, patience, region=region)
            except UncertainError as exc:
                uncertain = True
                last_try = attempt + 1 == self.attempts
                if last_try or not patience.nap(attempt):
                    raise
                logger.debug(
                    "trying again", extra={"operation": operation, "code": exc.code, "attempt": attempt}
                )
            except AwsError as exc:
                if uncertain and exc.code in settled_by:
                    return {}
                raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def call_once(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        patience: Patience,
        *,
        region: str | None = None,
    ) -> dict[str, Any]:
        """Make a call that must not be repeated blindly; only throttling, which proves refusal, is tried again.

        Raises:
            UncertainError: AWS may have acted.
            AwsError: AWS refused.
        """
        client = self.clients.get(service, region or self.region, self.account)
        request = fit(client.meta.service_model.operation_model(operation), parameters)
        method = getattr(client, _method(operation))
        for attempt in range(self.attempts):
            try:
                response: dict[str, Any] = method(**request)
            except ClientError as exc:
                error = _refusal(operation, exc)
                throttled = error.code in _THROTTLED
                if not throttled or attempt + 1 == self.attempts or not patience.nap(attempt):
                    raise error from exc
            except (HTTPClientError, ResponseParserError) as exc:
                raise UncertainError(operation, type(exc).__name__, "the answer was lost") from exc
            except BotoCoreError as exc:
                raise AwsError(operation, type(exc).__name__, str(exc)) from exc
            else:
                response.pop("ResponseMetadata", None)
                return response
        raise AssertionError("unreachable: the last attempt returns or raises")


def _refusal(operation: str, exc: ClientError) -> AwsError:
    error = exc.response.get("Error", {})
    code = str(error.get("Code", "Unknown"))
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = UncertainError if status >= _FIRST_SERVER_ERROR and code not in _THROTTLED else AwsError
    return kind(operation, code, str(error.get("Message", "")))


@lru_cache(maxsize=512)
def _method(operation: str) -> str:
    return str(xform_name(operation))
