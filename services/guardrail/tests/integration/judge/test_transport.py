"""The two ways besides loopback HTTP: mTLS and a unix socket."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import misbehaving
import pytest
from judging import a_document, some_settings
from mutx_guardrail.judge.family import Direction
from mutx_guardrail.judge.judge import Judge
from mutx_guardrail.judge.settings import TlsFiles
from mutx_guardrail.layer import LayerUnavailable

from tests.support.authorities import Authority, make_authority


@pytest.fixture(scope="module")
def tenant() -> Authority:
    return make_authority("tenant")


@pytest.fixture(scope="module")
def stranger() -> Authority:
    return make_authority("stranger")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))
    await misbehaving.Talk(b"", writer).say_whole(misbehaving.GOOD_BODY)
    writer.close()


def files(folder: Path, trusted: Authority, issuer: Authority) -> TlsFiles:
    pair = issuer.service(folder, "guard.acme.internal")
    ca = folder / "ca.pem"
    ca.write_text(trusted.pem)
    return TlsFiles(ca, Path(pair.certificate), Path(pair.key))


async def judged_by_mtls(folder: Path, server: Authority, tls: TlsFiles, change=lambda: None) -> int:
    """Serve with a certificate of `server` to its clients only; judge twice, `change` in between."""
    pair = server.server(folder, "judge", "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=server.pem)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pair.certificate, pair.key)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as listening:
        port = listening.sockets[0].getsockname()[1]
        judge = Judge(some_settings(url=f"https://127.0.0.1:{port}/v1", tls=tls, timeout_s=5))
        try:
            first = await judge.judge(a_document("hello"), Direction.INPUT)
            change()
            return len(first) + len(await judge.judge(a_document("hello"), Direction.INPUT))
        finally:
            await judge.aclose()


def test_both_sides_show_a_certificate_of_the_tenant(tmp_path, tenant):
    tls = files(tmp_path, tenant, tenant)

    assert asyncio.run(judged_by_mtls(tmp_path, tenant, tls)) == 4


def test_a_server_of_a_stranger_is_given_no_text(tmp_path, tenant, stranger):
    tls = files(tmp_path, tenant, tenant)

    with pytest.raises(LayerUnavailable):
        asyncio.run(judged_by_mtls(tmp_path, stranger, tls))


def test_a_server_that_does_not_know_us_has_not_judged(tmp_path, tenant, stranger):
    tls = files(tmp_path, tenant, stranger)

    with pytest.raises(LayerUnavailable):
        asyncio.run(judged_by_mtls(tmp_path, tenant, tls))


def test_a_new_certificate_is_taken_up(tmp_path, tenant, stranger):
    tls = files(tmp_path, tenant, tenant)

    def replace() -> None:
        # One that the server does not know: what follows must fail, or the old one was used.
        new = stranger.service(tmp_path / "new", "guard.acme.internal")
        Path(new.certificate).replace(tls.certificate)
        Path(new.key).replace(tls.key)

    (tmp_path / "new").mkdir()
    with pytest.raises(LayerUnavailable):
        asyncio.run(judged_by_mtls(tmp_path, tenant, tls, replace))


def test_a_half_written_certificate_leaves_the_earlier_in_force(tmp_path, tenant):
    tls = files(tmp_path, tenant, tenant)

    assert (
        asyncio.run(judged_by_mtls(tmp_path, tenant, tls, lambda: tls.certificate.write_text("-----BEGIN")))
        == 4
    )


def test_a_unix_socket_serves_too(tmp_path):
    async def run():
        path = tmp_path / "judge.sock"
        async with await asyncio.start_unix_server(answer, path):
            judge = Judge(some_settings(url="http://judge/v1", socket=path, timeout_s=5))
            signals = await judge.judge(a_document("hello"), Direction.INPUT)
            await judge.aclose()
            return signals

    assert len(asyncio.run(run())) == 2
