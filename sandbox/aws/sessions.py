"""What one engine configured: region, endpoint, credentials, account."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from mutx_sandbox.aws.caller import Account, AwsError, Caller, Clients
from mutx_sandbox.aws.ids import Made
from mutx_sandbox.bridge.patience import Patience
from mutx_sandbox.bridge.sessions import ConfigurationError, Sessions, structured, unknown_settings
from mutx_sandbox.bridge.values import Properties

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
    def shown(self) -> Mapping[str, str]:
        """What the log says of it."""
        return {"region": self.region, "account": self.account_id}

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


class AwsSessions(Sessions[Session]):
    """The sessions of all connected engines."""

    def __init__(self, clients: Clients, defaults: Defaults) -> None:
        super().__init__()
        self._clients, self._defaults = clients, defaults
        self._made = Made()

    def check(self, config: Properties) -> list[tuple[str, str]]:
        """Return what is wrong with a provider's configuration, by property; values are never part of it."""
        refused = [(key, reason) for key, reason in _REFUSED.items() if structured(config, key)]
        return refused + unknown_settings("aws", config, frozenset(_KEYS | set(_REFUSED)))

    def make(self, config: Properties) -> Session:
        """Make a session, after asking STS who it is."""
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
