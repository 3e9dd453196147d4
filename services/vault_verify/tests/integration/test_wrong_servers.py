"""What answers and is not the Vault of the hand-over file ends in a clear error, and in time."""

from __future__ import annotations

import io
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from mutx_vault_verify.main import main
from release import RELEASE, Release
from wrong_server import drip, flood, hang, raw, reply, wrong_server

from mutx_infra.adapters.vault_templates import policy_texts
from mutx_infra.vault.handover import Handover
from mutx_infra.vault.manifest import make_manifest
from tests.support.authorities import make_authority


class Tenant:
    """What the tenant has; the server's certificate is whoever's a test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority, self.server_authority = (
            make_authority("acme administrators"),
            make_authority("acme vault"),
        )
        self.release = Release(folder)
        self.manifest = self.release.sign(make_manifest(policy_texts(), RELEASE))
        self.own = self.authority.client(folder, "ann")
        self.good = self.server_authority.server(folder, "vault", "127.0.0.1")

    def verify(self, url: str, *more: str) -> tuple[int, str]:
        handover = Handover(
            tenant="acme", url=url, authority=self.server_authority.pem, admin_ca=self.authority.pem, seal="transit",
            release=RELEASE, digests={},
        )  # fmt: skip
        path = self.folder / "handover.json"
        path.write_text(handover.text())
        output, error = io.StringIO(), io.StringIO()
        with redirect_stdout(output), redirect_stderr(error):
            status = main([
                f"--vault={path}", f"--manifest={self.manifest}", f"--release-key={self.release.key_file}",
                f"--cert={self.own.certificate}", f"--key={self.own.key}", "--timeout=1", *more,
            ])  # fmt: skip
        assert output.getvalue() == ""
        return status, error.getvalue()


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Tenant:
    return Tenant(tmp_path_factory.mktemp("tenant"))


NONSENSE = {
    "no-json": reply(b"<html>hello</html>"),
    "a-list": reply(b"[]"),
    "no-token": reply(b'{"auth": {"client_token": 7}}'),
    "no-auth": reply(b'{"data": {}}'),
    "a-token-with-a-line-break": reply(b'{"auth": {"client_token": "a\\r\\nX: y", "policies": []}}'),
    "not-utf-8": reply(b'{"auth": "\xff"}'),
    "one-thing-twice": reply(b'{"auth": 1, "auth": 2}'),
    "nested": reply(b"[" * 100_000),
    "no-http": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "cut-off": raw(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"auth": {'),
    "a-body-without-end": flood,
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_no_vault(tenant, answer):
    with wrong_server(tenant.good, answer) as url:
        status, error = tenant.verify(url, "--timeout=20")

    assert status == 5
    assert error.startswith("error[vault-answer]: what answers at https://127.0.0.1:")


@pytest.mark.parametrize("answer", [hang, drip], ids=["hang", "drip"])
def test_a_server_that_keeps_us_waiting_is_left(tenant, answer):
    with wrong_server(tenant.good, answer) as url:
        begun = time.monotonic()
        status, error = tenant.verify(url)

    assert status == 5
    assert error.startswith("error[vault-slow]: ")
    assert time.monotonic() - begun < 10


def test_a_handshake_that_does_not_go_on_is_left(tenant):
    with wrong_server(None, hang) as url:
        status, error = tenant.verify(url)

    assert (status, error[:17]) == (5, "error[vault-slow]")


def test_another_authority_s_server_is_not_trusted(tenant):
    asked = threading.Event()
    shown = make_authority("acme vault").server(tenant.folder, "stranger", "127.0.0.1")

    with wrong_server(shown, lambda connection, _over: asked.set() if connection.recv(1) else None) as url:
        status, error = tenant.verify(url)

    assert status == 5
    assert error.startswith("error[vault-not-trusted]: ")
    assert "its certificate is not of the authority named there" in error
    assert not asked.is_set()


def test_a_certificate_for_another_name_is_not_trusted(tenant):
    shown = tenant.server_authority.server(tenant.folder, "elsewhere", "10.0.1.9")

    with wrong_server(shown, hang) as url:
        status, error = tenant.verify(url)

    assert (status, error.split("]")[0]) == (5, "error[vault-not-trusted")


def test_no_tls_is_not_trusted(tenant):
    with wrong_server(None, raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as url:
        status, error = tenant.verify(url)

    assert (status, error.split("]")[0]) == (5, "error[vault-not-trusted")


def test_nobody_there_cannot_be_reached(tenant):
    with wrong_server(tenant.good, hang) as url:
        gone = url

    status, error = tenant.verify(gone)

    assert (status, error.split("]")[0]) == (5, "error[vault-unreachable")


@pytest.mark.parametrize("why", ["Vault is sealed", "1 error occurred: disk is full"], ids=["sealed", "full"])
def test_a_vault_that_fails_says_why(tenant, why):
    with wrong_server(
        tenant.good, reply(b'{"errors": ["%s"]}' % why.encode(), "503 Service Unavailable")
    ) as url:
        status, error = tenant.verify(url)

    assert status == 5
    assert error.startswith("error[vault-failing]: ")
    assert why in error


def test_what_a_server_sends_cannot_act_on_the_terminal(tenant):
    with wrong_server(tenant.good, reply(b'{"errors": ["\\u001b[2J\\u202eevil"]}', "500 Oops")) as url:
        _, error = tenant.verify(url)

    assert "\x1b" not in error
    assert "\u202e" not in error
    assert "\\x1b[2J" in error


def test_a_login_that_is_refused_is_a_finding(tenant, capsys):
    handover_file = tenant.folder / "handover.json"

    with wrong_server(tenant.good, reply(b'{"errors": ["invalid certificate"]}', "400 Bad Request")) as url:
        with pytest.raises(AssertionError):
            tenant.verify(url)  # it prints a verdict
        status = main([
            f"--vault={handover_file}", f"--manifest={tenant.manifest}", f"--release-key={tenant.release.key_file}",
            f"--cert={tenant.own.certificate}", f"--key={tenant.own.key}",
        ])  # fmt: skip

    assert status == 6
    assert "differs   login tenant-admin  refused for your certificate" in capsys.readouterr().out


def test_a_certificate_of_somebody_else_s_is_not_even_shown(tenant):
    stranger = make_authority("somebody else's").client(tenant.folder, "eve")

    with wrong_server(tenant.good, hang) as url:
        status, error = tenant.verify(url, f"--cert={stranger.certificate}", f"--key={stranger.key}")

    assert (status, error.split("]")[0]) == (3, "error[handover-not-yours")
