"""Which store a process has: Redis where one is named, by TLS with its own certificate and a user's password.

Without one it is a file of the process's own directory, which outlives restarts, or its memory.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import redis
from mutx_service.settings import TlsFiles
from mutx_service.tls import ReloadingContext, client_context
from pydantic import SecretStr

from mutx_guardrail.anomaly.file_store import FileStore
from mutx_guardrail.anomaly.memory import MemoryStore
from mutx_guardrail.anomaly.redis_store import RedisStore, connect
from mutx_guardrail.anomaly.store import Store

FILE = "agents.sqlite"


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """A Redis that replicas share.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with the user where there is one.
        tls: the certificate that is shown to it, and the one CA that its own must come from.
        password_file: holds the user's password, and is read for each connection.
    """

    url: SecretStr
    tls: TlsFiles | None = None
    password_file: Path | None = None


def open_store(settings: RedisSettings | None, variable: str, state: Path | None = None) -> Store:
    """Return the store; a server or file that is not there is found out by the first question.

    Args:
        settings: None where nobody shares it.
        variable: of the certificate, which an error names.
        state: the process's own directory; None for its memory alone.

    Raises:
        SettingsError: the files of the certificate do not serve.
    """
    if settings is None:
        return FileStore(state / FILE) if state else MemoryStore()
    url, options = settings.url.get_secret_value(), dict[str, Any]()
    if settings.tls is not None:
        options |= {
            "connection_class": _TlsConnection,
            "tls": client_context(settings.tls, "redis", variable),
        }
    if settings.password_file is not None:
        parts = urlsplit(url)
        user, _, place = parts.netloc.rpartition("@")
        url = urlunsplit(parts._replace(netloc=place))
        options["credential_provider"] = _PasswordFile(unquote(user) or "default", settings.password_file)
    return RedisStore(connect(url, **options))


class _TlsConnection(redis.SSLConnection):
    """Shows the certificate of the day, and trusts one CA alone, where the client's own context trusts the system's."""

    def __init__(self, *, tls: ReloadingContext, **options: Any) -> None:  # noqa: ANN401 - the client's own
        super().__init__(**options)
        self._tls = tls

    def _wrap_socket_with_ssl(self, sock: socket.socket) -> socket.socket:
        return self._tls.current().wrap_socket(sock, server_hostname=self.host)


class _PasswordFile(redis.CredentialProvider):
    """A user and the password that a file holds now."""

    def __init__(self, user: str, file: Path) -> None:
        self._user, self._file = user, file

    def get_credentials(self) -> tuple[str, str]:
        try:
            return self._user, self._file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise redis.AuthenticationError("the file of the password cannot be read") from None
