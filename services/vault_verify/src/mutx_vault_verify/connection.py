"""HTTPS to one server, known by its own authority alone: nothing that it sends can keep us, or fill our memory."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from mutx_vault_verify.problem import InputProblem, OutsideProblem

LARGEST_ANSWER = 16 * 1024 * 1024
_DEFAULT_PORT = 8200


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Vault is.

    Attributes:
        name: that its certificate must have.
        proxy: host and port of an HTTP proxy that leads there, or None.
    """

    host: str
    port: int
    name: str
    proxy: tuple[str, int] | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds: one request, and all of them."""

    request_s: float
    total_s: float


def parse_address(url: str, server_name: str | None, proxy: str | None) -> Address:
    """Return where a URL leads.

    Raises:
        InputProblem: it is no https URL of a host alone, or the proxy's is no http one (`address-invalid`).
    """
    host, port = _place(url, "https", _DEFAULT_PORT)
    return Address(host, port, server_name or host, _place(proxy, "http", 3128) if proxy else None)


def _place(url: str, scheme: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or default_port
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    if (
        parts.scheme != scheme
        or not host
        or parts.username is not None
        or parts.path.strip("/")
        or parts.query
    ):
        raise InputProblem(
            f"{url!r} is no address of the form {scheme}://HOST[:PORT]",
            code="address-invalid",
            remedy="see --address, VAULT_ADDR and VAULT_HTTP_PROXY",
        )
    return host, port


class Connection:
    """One connection, made anew where the server has ended it.

    Args:
        address: where to.
        context: whom to trust, and what to show.
        limits: a request that takes longer ends, and with it the verification.
    """

    def __init__(self, address: Address, context: ssl.SSLContext, limits: Limits) -> None:
        self._address, self._context, self._limits = address, context, limits
        self._deadline = time.monotonic() + limits.total_s
        self._open: _Tls | None = None

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        """Send one request and return status and body.

        Raises:
            OutsideProblem: no answer (`vault-unreachable`, `vault-not-trusted`, `vault-slow`), or none that is HTTP
                (`vault-answer`).
        """
        is_reused = self._open is not None
        try:
            return self._exchange(method, path, body, headers)
        except (ConnectionError, http.client.RemoteDisconnected):
            if not is_reused:
                raise
            # The server may end an idle connection at any time; what we ask changes nothing, so ask once more.
            return self._exchange(method, path, body, headers)

    def close(self) -> None:
        """End the connection."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        limit_s = min(self._limits.request_s, self._deadline - time.monotonic())
        if limit_s <= 0:
            raise self._slow()
        if self._open is None:
            self._open = _Tls(self._address, self._context, limit_s)
        connection = self._open
        # A server that sends a byte now and then never runs into a socket's own limit.
        watch = threading.Timer(limit_s, connection.cut)
        watch.daemon = True
        watch.start()
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read(LARGEST_ANSWER + 1)
            if connection.is_cut:
                raise TimeoutError  # noqa: TRY301 - a header that was cut off looks like its end
        except BaseException as error:
            self.close()
            if connection.is_cut or isinstance(error, TimeoutError):
                raise self._slow() from None
            raise
        finally:
            watch.cancel()
        if len(content) > LARGEST_ANSWER:
            raise http.client.HTTPException("the answer has no end")
        if answer.will_close:
            self.close()
        return answer.status, content

    def _slow(self) -> OutsideProblem:
        return OutsideProblem(
            f"the Vault at {self._address} does not answer in time",
            code="vault-slow",
            remedy="try again; --timeout allows more seconds for each request",
        )


class _Tls(http.client.HTTPConnection):
    """A connection through a proxy or not, whose server must prove a name that may be another than the URL's."""

    def __init__(self, address: Address, context: ssl.SSLContext, limit_s: float) -> None:
        host, port = address.proxy or (address.host, address.port)
        super().__init__(host, port, timeout=limit_s)
        if address.proxy:
            self.set_tunnel(address.host, address.port)
        self._name, self._context = address.name, context
        self.is_cut = False

    def connect(self) -> None:
        """Connect, and shake hands where `cut` reaches."""
        super().connect()
        wrapped = self._context.wrap_socket(
            self.sock, server_hostname=self._name, do_handshake_on_connect=False
        )
        self.sock = wrapped
        wrapped.do_handshake()

    def cut(self) -> None:
        """End what another thread waits for."""
        self.is_cut = True
        with suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_RDWR)


def translated(error: Exception, address: Address) -> OutsideProblem:
    """Say in our words why a request failed; never what was sent."""
    if isinstance(error, OutsideProblem):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return OutsideProblem(
            f"{address} is not the Vault of the hand-over file: its certificate is not of the authority named there "
            f"({error.verify_message})",
            code="vault-not-trusted",
            remedy="somebody stands in between, or its certificate was renewed by another authority: ask the platform "
            "by another way, and compare the authority's SHA-256",
        )
    if isinstance(error, ssl.SSLError):
        return OutsideProblem(
            f"{address} ends the TLS handshake ({error.reason or 'no reason given'})",
            code="vault-not-trusted",
            remedy="it may not take your certificate: see that it has not ended, and that the clocks are right",
        )
    if isinstance(error, OSError):
        return OutsideProblem(
            f"the Vault at {address} cannot be reached ({error.strerror or type(error).__name__})",
            code="vault-unreachable",
            remedy="see that this machine is on the tailnet as one of the tenant's administrators, then try again",
        )
    return OutsideProblem(
        f"what answers at {address} is no Vault: {type(error).__name__}",
        code="vault-answer",
        remedy="see that the address leads to the Vault, and not to a proxy or another service",
    )
