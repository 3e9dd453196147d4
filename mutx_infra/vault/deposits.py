"""Provider keys in a tenant's Vault: put in, replaced, listed and destroyed by the tenant; never shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import SecretStr

from mutx_infra.errors import RefusedError, UsageError
from mutx_infra.vault.layout import AGENTS, CERT_AUTH, HOSTS, KV_MOUNT, ONBOARDER, SHARED
from mutx_infra.vault_ports import VaultSession

MAX_KEY_BYTES = 8192
MASK = "mask"
"""Not a provider's: the key of masks that a guard is given."""
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a provider's key lies.

    Attributes:
        provider: e.g. `openai`.
        agent: whose it is, by the key of its host (`agent-1`); None where every agent of the tenant reads it.
        folder: in which the one whose it is has its own; hosts that are no agent's are there by their names.
    """

    provider: str
    agent: str | None
    folder: str = AGENTS

    @property
    def path(self) -> str:
        """Return the path below the engine's `data/` or `metadata/`."""
        return f"{SHARED if self.agent is None else f'{self.folder}/{self.agent}'}/{self.provider}"

    @property
    def field(self) -> str:
        """Return the name that an agent finds the value under, e.g. `OPENAI_KEY`."""
        return f"{self.provider.upper().replace('-', '_')}_KEY"

    def __str__(self) -> str:
        return (
            f"{self.provider} of {self.agent}"
            if self.agent is not None
            else f"{self.provider} for all agents"
        )


@dataclass(frozen=True, slots=True)
class Stored:
    """A key as it may be shown.

    Attributes:
        version: in force.
        kept: how many versions are stored, this one among them.
        since: when this version was put in.
    """

    place: Place
    version: int
    kept: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Keys:
    """The provider keys of one tenant, as one of its administrators handles them."""

    tenant: str
    session: VaultSession

    def require_claimed(self) -> None:
        """Refuse to put a key where the platform still has a way in.

        Raises:
            RefusedError: the Vault is not claimed (code `vault-unclaimed`).
        """
        if self.session.read(f"auth/{CERT_AUTH}/certs/{ONBOARDER}") is not None:
            raise RefusedError(
                f"the Vault of {self.tenant} is not claimed yet",
                code="vault-unclaimed",
                remedy=f"end the platform's access first: `mutx-infra vault claim {self.tenant} --pgp-key FILE`",
            )

    def version(self, place: Place) -> int | None:
        """Return the version in force; None where there is no key, or it was deleted."""
        found = self._metadata(place)
        return None if found is None or not _is_live(found) else int(found["current_version"])

    def deposit(self, place: Place, value: SecretStr) -> int:
        """Put a key in where there is none, and return its version.

        Raises:
            RefusedError: there is one (code `key-exists`), or one came meanwhile (`key-changed`).
        """
        found = self._metadata(place)
        if found is not None and _is_live(found):
            raise RefusedError(
                f"there is a key {place}, version {found['current_version']}, of {found['updated_time']}",
                code="key-exists",
                remedy="if it is the one that you meant, all is done; to replace it: `mutx-infra vault rotate`",
            )
        return self._write(place, value, int(found["current_version"]) if found is not None else 0)

    def rotate(self, place: Place, value: SecretStr, seen: int) -> int:
        """Replace the version that was seen by the next one, and return that; agents get it by themselves.

        Older versions are destroyed: an agent may read any that is there, and what was rotated may have leaked.

        Raises:
            RefusedError: another version came meanwhile (code `key-changed`).
        """
        version = self._write(place, value, seen)
        self._destroy_before(place, version)
        return version

    def require(self, place: Place) -> int:
        """Return the version in force.

        Raises:
            RefusedError: there is none (code `key-missing`).
        """
        version = self.version(place)
        if version is None:
            raise RefusedError(
                f"there is no key {place}",
                code="key-missing",
                remedy=f"see `mutx-infra vault list {self.tenant}`; `mutx-infra vault deposit` puts one in",
            )
        return version

    def stored(self) -> tuple[Stored, ...]:
        """Return every key, without its value."""
        return tuple(self._stored())

    def destroy(self, place: Place) -> None:
        """Destroy every version of a key, and that there was one.

        Raises:
            RefusedError: there is none (code `key-missing`).
        """
        if self._metadata(place) is None:
            self.require(place)
        self.session.delete(f"{KV_MOUNT}/metadata/{place.path}")

    def _stored(self) -> Iterator[Stored]:
        for place in places(self.session):
            found = self._metadata(place)
            if found is not None and _is_live(found):
                yield Stored(
                    place,
                    int(found["current_version"]),
                    sum(_is_readable(each) for each in found["versions"].values()),
                    datetime.fromisoformat(_newest(found)["created_time"]),
                )

    def _destroy_before(self, place: Place, version: int) -> None:
        found = self._metadata(place)
        older = [int(n) for n, each in found["versions"].items() if not each["destroyed"]] if found else []
        if older := [n for n in older if n < version]:
            self.session.write(f"{KV_MOUNT}/destroy/{place.path}", {"versions": older})

    def _metadata(self, place: Place) -> Mapping[str, Any] | None:
        return self.session.read(f"{KV_MOUNT}/metadata/{place.path}")

    def _write(self, place: Place, value: SecretStr, seen: int) -> int:
        try:
            made = self.session.write(
                f"{KV_MOUNT}/data/{place.path}",
                {"options": {"cas": seen}, "data": {place.field: value.get_secret_value()}},
            )
        except RefusedError as exc:
            if "check-and-set" not in exc.message:
                raise
            raise RefusedError(
                f"the key {place} was changed by somebody else meanwhile; theirs is in force",
                code="key-changed",
                remedy=f"see `mutx-infra vault list {self.tenant}`, then rotate it if yours is to follow",
            ) from exc
        return int(made["version"])


def places(session: VaultSession) -> Iterator[Place]:
    """Yield where something lies, be it deleted, in the order of names."""
    for folder in (AGENTS, HOSTS):
        for owner in session.list(f"{KV_MOUNT}/metadata/{folder}"):
            for provider in session.list(f"{KV_MOUNT}/metadata/{folder}/{owner.rstrip('/')}"):
                yield Place(provider, owner.rstrip("/"), folder)
    for provider in session.list(f"{KV_MOUNT}/metadata/{SHARED}"):
        yield Place(provider, None)


def make_place(
    provider: str, agent: str | None, agents: frozenset[str], guards: Mapping[str, str] | None = None
) -> Place:
    """Return where a key lies.

    Args:
        provider: a name of the user's.
        agent: by the key of its host, or None for all; a guard by its own, which has no key but that of masks.
        agents: that the tenant has.
        guards: names by key.

    Raises:
        UsageError: the provider's name is none (code `provider-invalid`), or there is no such agent (`agent-unknown`).
    """
    if _SLUG.fullmatch(provider) is None:
        raise UsageError(
            f"{provider!r} is no name of a provider",
            code="provider-invalid",
            remedy="write lower-case letters, digits and dashes, such as openai or my-gateway",
        )
    if agent is not None and guards and agent in guards and provider == MASK:
        return Place(provider, guards[agent], HOSTS)
    if agent is not None and agent not in agents:
        raise UsageError(
            f"the tenant has no agent {agent!r}",
            code="agent-unknown",
            remedy=f"name one of {', '.join(sorted(agents)) or 'the agents of a newer hand-over file'}",
        )
    return Place(provider, agent)


def check_key(content: bytes) -> SecretStr:
    """Return a provider's key as it was read: from a file, standard input or a prompt; a last line end is taken off.

    Raises:
        RefusedError: it is empty (code `key-empty`), has several lines (`key-lines`), other characters than a key has
            (`key-characters`), or is too long (`key-too-long`). The message does not repeat it.
    """
    remedy = "give the key alone, as the provider shows it, on one line"
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if len(content) > MAX_KEY_BYTES:
        raise RefusedError(
            f"the key is longer than {MAX_KEY_BYTES} bytes", code="key-too-long", remedy=remedy
        )
    if not content.strip():
        raise RefusedError("the key is empty", code="key-empty", remedy=remedy)
    if b"\n" in content or b"\r" in content:
        raise RefusedError("the key has several lines", code="key-lines", remedy=remedy)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if not text.isprintable() or text != text.strip():
        raise RefusedError(
            "the key has control characters, or white space around it", code="key-characters", remedy=remedy
        )
    return SecretStr(text)


def _newest(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    newest: Mapping[str, Any] = metadata["versions"].get(str(metadata["current_version"]), {})
    return newest


def _is_live(metadata: Mapping[str, Any]) -> bool:
    newest = _newest(metadata)
    return bool(newest) and _is_readable(newest)


def _is_readable(version: Mapping[str, Any]) -> bool:
    return not version["destroyed"] and not version["deletion_time"]
