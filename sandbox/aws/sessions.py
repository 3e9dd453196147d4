"""What one engine configured: region, endpoint, credentials, account. Kept by connection, so many share one port."""

from __future__ import annotations

import configparser
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

from mutx_sandbox.aws.caller import Account, AwsError, Caller, Clients
from mutx_sandbox.aws.ids import Made
from mutx_sandbox.aws.patience import Patience
from mutx_sandbox.aws.values import Properties, Value

_KEPT_SESSIONS = 4096
_CONFIGURE_PATIENCE_S = 30.0
_IDLE_KEYS = frozenset(
    {
        "skipCredentialsValidation",
        "skipMetadataApiCheck",
        "skipRegionValidation",
        "s3UsePathStyle",
        "version",
    }
)
"""Accepted and without meaning here: each only spares the official provider a look at AWS itself."""

_KEYS = _IDLE_KEYS | {
    "accessKey",
    "allowedAccountIds",
    "assumeRoles",
    "defaultTags",
    "endpoints",
    "forbiddenAccountIds",
    "maxRetries",
    "profile",
    "region",
    "secretKey",
    "sharedCredentialsFiles",
    "skipRequestingAccountId",
    "token",
}
_REFUSED = {
    "assumeRoleWithWebIdentity": "the sandbox has no identity provider; leave it out of the sandbox's profile",
}


class ConfigurationError(ValueError):
    """The provider's configuration cannot work here; `key` is the offending property."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"aws:{key}: {reason}")
        self.key, self.reason = key, reason


@dataclass(slots=True)
class Session:
    """A configured provider.

    Attributes:
        caller: makes its calls.
        account_id: from STS; "" where `skipRequestingAccountId` says so.
        default_tags: merged into the tags of every resource.
        made: ids that this process handed out.
        cancelled: set when the engine cancels.
    """

    caller: Caller
    account_id: str
    default_tags: Mapping[str, str]
    made: Made
    cancelled: Event = field(default_factory=Event)

    @property
    def region(self) -> str:
        """The provider's region."""
        return self.caller.region

    @property
    def partition(self) -> str:
        """The ARN partition of the provider's region."""
        if self.region.startswith("cn-"):
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the daemon was started with, for engines that do not say.

    Attributes:
        endpoint: base URL of AWS; the stand-in never calls AWS itself, so without any endpoint it refuses.
        credentials_file: shared credentials file, section `default`.
        region: region of last resort.
    """

    endpoint: str | None = None
    credentials_file: Path | None = None
    region: str | None = None


class Sessions:
    """The sessions of all connected engines, by gRPC peer; the oldest are forgotten beyond 4,096."""

    def __init__(self, clients: Clients, defaults: Defaults) -> None:
        self._clients, self._defaults = clients, defaults
        self._made = Made()
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = Lock()

    def forget(self, peer: str) -> None:
        """Drop what an earlier connection from the same port had configured."""
        with self._lock:
            self._sessions.pop(peer, None)

    def get(self, peer: str) -> Session | None:
        """Return the session of a connection, None if it was not configured."""
        with self._lock:
            session = self._sessions.get(peer)
            if session is not None:
                self._sessions.move_to_end(peer)
            return session

    def configure(self, peer: str, config: Properties) -> Session:
        """Check a configuration against STS and keep it for the connection.

        Raises:
            ConfigurationError: it is incomplete, or names an account that is not allowed.
        """
        for key, reason in check_configuration(config):
            raise ConfigurationError(key, reason)
        session = self._make(config)
        with self._lock:
            self._sessions[peer] = session
            while len(self._sessions) > _KEPT_SESSIONS:
                self._sessions.popitem(last=False)
        return session

    def _make(self, config: Properties) -> Session:
        region = config.get("region") or self._defaults.region
        if not region:
            raise ConfigurationError("region", "missing; set it in the stack's config")
        caller = Caller(self._clients, self._account(config), str(region))
        if config.get("maxRetries") is not None:
            caller.attempts = int(config["maxRetries"]) + 1
        for role in structured(config, "assumeRoles") or []:
            caller.account = _assumed(caller, role)
        account_id = self._account_id(caller, config)
        tags = structured(config, "defaultTags") or {}
        return Session(caller, account_id, tags.get("tags") or {}, self._made)

    def _account(self, config: Properties) -> Account:
        endpoint = _endpoint(structured(config, "endpoints") or []) or self._defaults.endpoint
        if not endpoint:
            raise ConfigurationError("endpoints", "missing; this stand-in never calls AWS itself")
        if config.get("accessKey") and config.get("secretKey"):
            return Account(endpoint, str(config["accessKey"]), str(config["secretKey"]), config.get("token"))
        files = [Path(path) for path in structured(config, "sharedCredentialsFiles") or []]
        if self._defaults.credentials_file is not None:
            files.append(self._defaults.credentials_file)
        return _account_from_files(endpoint, files, str(config.get("profile") or "default"))

    def _account_id(self, caller: Caller, config: Properties) -> str:
        allowed = structured(config, "allowedAccountIds") or []
        forbidden = structured(config, "forbiddenAccountIds") or []
        if _flag(config, "skipRequestingAccountId") and not allowed and not forbidden:
            return ""
        try:
            answer = caller.call("sts", "GetCallerIdentity", {}, Patience(_CONFIGURE_PATIENCE_S))
        except AwsError as exc:
            raise ConfigurationError("endpoints", f"the account cannot be determined: {exc}") from exc
        account = str(answer["Account"])
        if allowed and account not in map(str, allowed):
            raise ConfigurationError("allowedAccountIds", f"AWS account {account} is not allowed")
        if account in map(str, forbidden):
            raise ConfigurationError("forbiddenAccountIds", f"AWS account {account} is forbidden")
        return account


def _assumed(caller: Caller, role: Properties) -> Account:
    """Enter a role with the credentials at hand and return the account that calls are then made as."""
    known = {"roleArn": "RoleArn", "externalId": "ExternalId", "sessionName": "RoleSessionName"}
    if unknown := sorted(set(role) - set(known)):
        raise ConfigurationError("assumeRoles", f"{', '.join(unknown)} is not supported by the sandbox")
    request = {"RoleSessionName": "pulumi", **{known[key]: value for key, value in role.items()}}
    try:
        answer = caller.call("sts", "AssumeRole", request, Patience(_CONFIGURE_PATIENCE_S))["Credentials"]
    except AwsError as exc:
        raise ConfigurationError(
            "assumeRoles", f"the role {role.get('roleArn')} cannot be entered: {exc}"
        ) from exc
    return Account(
        caller.account.endpoint, answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"]
    )


def check_configuration(config: Properties) -> list[tuple[str, str]]:
    """Return what is wrong with a provider's configuration, by property; values are never part of it."""
    failures = [(key, reason) for key, reason in _REFUSED.items() if structured(config, key)]
    failures += [
        (key, "not supported by the sandbox's stand-in for the aws provider")
        for key in sorted(set(config) - _KEYS - set(_REFUSED))
        if not key.startswith("__") and config[key] not in (None, "")
    ]
    return failures


def structured(config: Properties, key: str) -> Value:
    """Return a config value that may have arrived as JSON text (the engine passes config as strings)."""
    value = config.get(key)
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        try:
            return json.loads(value)
        except ValueError as exc:
            raise ConfigurationError(key, "is not valid JSON") from exc
    return value


def _flag(config: Properties, key: str) -> bool:
    return config.get(key) in {True, "true"}


def _endpoint(entries: list[Properties]) -> str | None:
    """Return the one endpoint that all services share."""
    urls = {str(url) for entry in entries for url in entry.values() if url}
    if len(urls) > 1:
        raise ConfigurationError("endpoints", "must be the same for all services here")
    return urls.pop() if urls else None


def _account_from_files(endpoint: str, files: list[Path], section: str) -> Account:
    for path in files:
        parser = configparser.RawConfigParser()
        if path.is_file() and parser.read(path) and parser.has_section(section):
            found = parser[section]
            if "aws_access_key_id" in found and "aws_secret_access_key" in found:
                return Account(
                    endpoint,
                    found["aws_access_key_id"],
                    found["aws_secret_access_key"],
                    found.get("aws_session_token"),
                )
    raise ConfigurationError(
        "accessKey", "no credentials; set them in the stack's config, or name a credentials file"
    )
