"""Who may call: mutual TLS, names, and certificates that are replaced while calls run."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import AbstractContextManager
from datetime import timedelta

import httpx2
import pytest
from agent_process import run_body
from authority import Authority


def refused() -> AbstractContextManager[object]:
    """Expect a connection that the agent ends: in TLS 1.3 the client learns it with the first answer."""
    return pytest.raises(httpx2.TransportError)


def test_the_guard_is_let_in(guard):
    assert guard.get("/readyz").json() == {"status": "ready", "agent": "agent-a"}


def test_a_caller_without_certificate_is_refused(world):
    with world.client() as client, refused():
        client.get("/healthz")


def test_a_caller_of_a_foreign_authority_is_refused(world, tmp_path):
    foreign = Authority(tmp_path, "foreign").issue("guard.acme.internal")

    with world.client(foreign) as client, refused():
        client.get("/healthz")


def test_an_expired_certificate_is_refused(world):
    expired = world.tenant.issue("guard.acme.internal", valid_for=timedelta(minutes=-1))

    with world.client(expired) as client, refused():
        client.get("/healthz")


def test_another_host_of_the_tenant_is_refused_by_name(world):
    with world.client(world.tenant.issue("agent-b.acme.internal")) as client:
        answers = [
            client.request(*each) for each in (("POST", "/v1/runs"), ("PUT", "/v1/pause"), ("GET", "/readyz"))
        ]

    assert [each.json()["code"] for each in answers] == ["caller-refused"] * 3


def test_a_certificate_that_ends_during_the_connection_is_refused(world):
    with world.client(world.tenant.issue("guard.acme.internal", valid_for=timedelta(seconds=6))) as client:
        assert client.get("/healthz").status_code == 200
        threading.Event().wait(6)

        assert client.get("/healthz").json()["code"] == "caller-expired"


def test_tls_1_2_is_refused(world):
    context = ssl.create_default_context(cafile=str(world.tenant.file))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(world.tenant.issue("guard.acme.internal"))
    address = world.agent.url.rpartition(":")[2]

    with (
        socket.create_connection(("127.0.0.1", int(address)), 10) as plain,
        pytest.raises(ssl.SSLError),
        context.wrap_socket(plain, server_hostname="127.0.0.1"),
    ):
        pass


def test_no_session_can_be_resumed(world):
    """A resumed session would skip the check of the caller's certificate."""
    context = ssl.create_default_context(cafile=str(world.tenant.file))
    context.load_cert_chain(world.tenant.issue("guard.acme.internal"))
    port = int(world.agent.url.rpartition(":")[2])
    sessions = []
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", port), 10) as plain,
            context.wrap_socket(
                plain, server_hostname="127.0.0.1", session=sessions[-1] if sessions else None
            ) as tls,
        ):
            tls.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            assert tls.recv(100).startswith(b"HTTP/1.1 200")
            sessions.append(tls.session)
            was_resumed = tls.session_reused

    assert not sessions[0].has_ticket
    assert not was_resumed


def test_a_new_certificate_is_served_and_no_call_fails_meanwhile(world):
    stop, failures, served = threading.Event(), [], set()
    address = int(world.agent.url.rpartition(":")[2])
    context = ssl.create_default_context(cafile=str(world.tenant.file))
    context.load_cert_chain(world.tenant.issue("guard.acme.internal"))

    def call() -> None:
        while not stop.is_set():
            try:
                with (
                    socket.create_connection(("127.0.0.1", address), 10) as plain,
                    context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
                ):
                    served.add(tls.getpeercert()["serialNumber"])
                    tls.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                    answer = tls.recv(100)
                    if not answer.startswith(b"HTTP/1.1 200"):
                        failures.append(repr(answer))
            except OSError as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = len(world.agent.events("certificate-reloaded"))
        # What a writer that does not rename leaves for a moment.
        (world.own / "server.pem").write_text("-----BEGIN CERTIFICATE-----\n")
        world.tenant.issue("agent-a.acme.internal", into=world.own / "server.pem")
        world.agent.wait_for("certificate-reloaded", more_than=before)
    stop.set()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(served) >= 3


def test_an_authority_that_is_replaced_counts_at_once(world, tmp_path):
    later = Authority(tmp_path, "later")
    own, ours = world.tenant.file, world.tenant.file.read_bytes()
    trust = tmp_path / "trust.pem"
    trust.write_bytes(ours)
    with world.client(later.issue("guard.acme.internal"), trust=trust) as client:
        with refused():
            client.get("/healthz")
        try:
            own.write_bytes(later.file.read_bytes())
            assert client.get("/healthz").status_code == 200
            with world.client(world.tenant.issue("guard.acme.internal"), trust=trust) as old, refused():
                old.get("/healthz")
        finally:
            own.write_bytes(ours)


def test_a_new_certificate_for_the_egress_proxy_is_used_by_the_next_call(world, guard):
    guard.post("/v1/runs", **run_body("before"))
    seen = set(world.proxy.serials)

    world.tenant.issue("agent-a.acme.internal", into=world.own / "egress.pem")
    answer = guard.post("/v1/runs", **run_body("after"))

    assert answer.status_code == 200
    assert len(world.proxy.serials - seen) == 1
