"""A TLS context made of files that are replaced while the agent runs: certificates live a day at most."""

from __future__ import annotations

import logging
import ssl

from mutx_guardrail_client.errors import SettingsError
from mutx_guardrail_client.settings import PREFIX, TlsFiles

Stamp = tuple[tuple[int, int, int], ...]

_logger = logging.getLogger(__name__)


class ReloadingContext:
    """The context of some files as they are now; three `stat` calls each time that it is asked.

    Raises:
        SettingsError: the files that are there at the start do not serve.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files, self._stamp = files, _stamp(files)
        self._refused: Stamp = ()
        made = _make(files)
        if made is None:
            raise SettingsError(
                f"{PREFIX}CERTIFICATE",
                "and its key and CA cannot be used",
                "check that they are PEM and fit together",
            )
        self._context = made

    def current(self) -> ssl.SSLContext:
        """Return the context, built anew if a file has changed; a pair that does not fit leaves the earlier one."""
        stamp = _stamp(self._files)
        if stamp in (self._stamp, ()):
            return self._context
        made = _make(self._files)
        if made is None:
            if stamp != self._refused:
                _logger.warning("the new certificate cannot be used")
            self._refused = stamp
            return self._context
        # What was read may already be newer than the stamp; then the next look builds it once more.
        self._context, self._stamp = made, stamp
        _logger.info("the certificate was replaced")
        return self._context


def _make(files: TlsFiles) -> ssl.SSLContext | None:
    try:
        context = ssl.create_default_context(cafile=str(files.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # Without an answer to "password?", an encrypted key would ask a terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ValueError):
        return None
    return context


def _stamp(files: TlsFiles) -> Stamp:
    """Return what changes when a file does; nothing while one is missing."""
    try:
        found = [path.stat() for path in (files.certificate, files.key, files.ca)]
    except OSError:
        return ()
    return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)
