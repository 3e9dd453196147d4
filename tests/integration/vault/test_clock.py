"""A certificate of the Vault's own that is not valid by this machine's clock is told from a stranger's."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mutx_infra.adapters.hvac_vault import HvacVault
from mutx_infra.errors import OutsideError
from mutx_infra.vault_ports import ClientCertificate, VaultAddress
from tests.support.authorities import Authority, make_authority

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("begins_in", "ends_in", "code"),
    [(-2 * HOUR, -HOUR, "vault-clock"), (HOUR, 2 * HOUR, "vault-clock")],
    ids=["ended", "early"],
)
def test_a_certificate_out_of_its_time_is_about_the_clock(
    tmp_path: Path, begins_in: timedelta, ends_in: timedelta, code: str
) -> None:
    authority = make_authority("acme vault")
    shown = authority.server(tmp_path, "vault", "127.0.0.1", begins_in=begins_in, ends_in=ends_in)

    with served(shown) as url, pytest.raises(OutsideError) as caught:
        HvacVault(VaultAddress(url, authority.pem)).health()

    assert caught.value.code == code
    assert "clock" in caught.value.remedy


def test_a_strangers_certificate_is_not_about_the_clock(tmp_path: Path) -> None:
    stranger: Authority = make_authority("globex vault")
    shown = stranger.server(tmp_path, "vault", "127.0.0.1", begins_in=-2 * HOUR, ends_in=-HOUR)

    with served(shown) as url, pytest.raises(OutsideError) as caught:
        HvacVault(VaultAddress(url, make_authority("acme vault").pem)).health()

    assert caught.value.code == "vault-not-trusted"


@contextmanager
def served(shown: ClientCertificate) -> Iterator[str]:
    """Yield the URL of something that shows a certificate."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
