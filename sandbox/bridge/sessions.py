"""What each connected engine configured. Kept by connection, so many engines share one port."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from threading import Event, Lock
from typing import Generic, Protocol, TypeVar

from mutx_sandbox.bridge.values import Properties, Value

_KEPT_SESSIONS = 4096


class ConfigurationError(ValueError):
    """The provider's configuration cannot work here; `key` is the offending property."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key, self.reason = key, reason


class Session(Protocol):
    """A configured provider."""

    cancelled: Event
    """Set when the engine cancels."""

    @property
    def shown(self) -> Mapping[str, str]:
        """What the log says of it; no secrets."""


S = TypeVar("S", bound=Session)


class Sessions(ABC, Generic[S]):
    """The sessions of all connected engines, by gRPC peer; the oldest are forgotten beyond 4,096."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, S] = OrderedDict()
        self._lock = Lock()

    @abstractmethod
    def check(self, config: Properties) -> list[tuple[str, str]]:
        """Return what is wrong with a provider's configuration, by property; values are never part of it."""

    @abstractmethod
    def make(self, config: Properties) -> S:
        """Make a session of a configuration.

        Raises:
            ConfigurationError: it cannot work.
        """

    def forget(self, peer: str) -> None:
        """Drop what an earlier connection from the same port had configured."""
        with self._lock:
            self._sessions.pop(peer, None)

    def get(self, peer: str) -> S | None:
        """Return the session of a connection, None if it was not configured."""
        with self._lock:
            session = self._sessions.get(peer)
            if session is not None:
                self._sessions.move_to_end(peer)
            return session

    def configure(self, peer: str, config: Properties) -> S:
        """Check a configuration and keep it for the connection.

        Raises:
            ConfigurationError: it is incomplete, or it names what is not allowed.
        """
        for key, reason in self.check(config):
            raise ConfigurationError(key, reason)
        session = self.make(config)
        with self._lock:
            self._sessions[peer] = session
            while len(self._sessions) > _KEPT_SESSIONS:
                self._sessions.popitem(last=False)
        return session


def unknown_settings(package: str, config: Properties, known: frozenset[str]) -> list[tuple[str, str]]:
    """Return a failure for each setting that would be ignored."""
    return [
        (key, f"not supported by the sandbox's stand-in for the {package} provider")
        for key in sorted(set(config) - known)
        if not key.startswith("__") and config[key] not in (None, "")
    ]


def structured(config: Properties, key: str) -> Value:
    """Return a config value that may have arrived as JSON text (the engine passes config as strings)."""
    value = config.get(key)
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        try:
            return json.loads(value)
        except ValueError as exc:
            raise ConfigurationError(key, "is not valid JSON") from exc
    return value
