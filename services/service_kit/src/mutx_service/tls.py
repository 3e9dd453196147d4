"""TLS contexts made of files that are replaced while the service runs: certificates live a day at most.

The files are looked at on each new connection (three `stat` calls); a pair that does not fit together, as in the
moment between two writes, leaves the earlier one in force.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from mutx_service.journal import write_event
from mutx_service.settings import SettingsError, TlsFiles

Stamp = tuple[tuple[int, int, int], ...]


class ReloadingContext:
    """The context of some files as they are now.

    Args:
        files: looked at on each call of `current`.
        name: what the journal calls it when a reload fails.
        make: builds a context; it raises OSError (ssl.SSLError is one) where the files do not serve.
    """

    def __init__(self, name: str, files: TlsFiles, make: Callable[[TlsFiles], ssl.SSLContext]) -> None:
        self._name, self._files, self._make = name, files, make
        self._stamp = _stamp(files)
        self._refused: Stamp | None = None
        self._context = make(files)

    def current(self) -> ssl.SSLContext:
        """Return the context, built anew if a file has changed and the new ones fit together."""
        stamp = _stamp(self._files)
        if stamp in (self._stamp, ()):
            return self._context
        try:
            self._context = self._make(self._files)
        except OSError:
            if stamp != self._refused:
                write_event("certificate-not-taken", {"side": self._name})
            self._refused = stamp
            return self._context
        # What was read may already be newer than the stamp; then the next look builds it once more.
        self._stamp = stamp
        write_event("certificate-reloaded", {"side": self._name})
        return self._context


def server_context(files: TlsFiles, variable: str) -> ssl.SSLContext:
    """Return a context for a listener that takes client certificates of one CA only.

    Args:
        files: looked at on each handshake.
        variable: what an error names, the variable of the certificate.

    Raises:
        SettingsError: the files that are there at the start do not serve.
    """
    try:
        reloading = ReloadingContext("server", files, _make_server_context)
    except OSError as error:
        raise _not_usable(variable, error) from None
    outer = _make_server_context(files)

    def take_current(connection: ssl.SSLObject, _name: str | None, _outer: ssl.SSLContext) -> None:
        connection.context = reloading.current()

    # OpenSSL asks this at every handshake, also where the client names no server.
    outer.sni_callback = take_current
    return outer


def client_context(files: TlsFiles, name: str, variable: str) -> ReloadingContext:
    """Return the context for calls to a server of the same CA.

    Args:
        files: looked at on each call of `current`.
        name: what the journal calls this side when a reload fails.
        variable: what an error names, the variable of the certificate.

    Raises:
        SettingsError: the files that are there at the start do not serve.
    """
    try:
        return ReloadingContext(name, files, _make_client_context)
    except OSError as error:
        raise _not_usable(variable, error) from None


def _make_server_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(cafile=files.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    # A resumed session would skip the check of the certificate.
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    return context


def _make_client_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(files.certificate, files.key)
    return context


def _stamp(files: TlsFiles) -> Stamp:
    """Return what changes when a file does; nothing while one is missing."""
    try:
        found = [path.stat() for path in _paths(files)]
    except OSError:
        return ()
    return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)


def _paths(files: TlsFiles) -> tuple[Path, Path, Path]:
    return files.certificate, files.key, files.ca


def _not_usable(variable: str, error: OSError) -> SettingsError:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return SettingsError(
        variable,
        f"and its key and CA cannot be used ({reason})",
        "check that they are PEM and fit together",
    )
