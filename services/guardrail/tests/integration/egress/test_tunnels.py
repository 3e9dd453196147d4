"""Tunnels: to permitted names at public addresses, with a hello for that very name, and nothing else."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import httpx2
import openai
import pytest
from authority import Authority
from egress_world import (
    AGENT,
    KEY,
    OTHER,
    PROVIDER,
    Journal,
    RunningEgress,
    World,
    make_rules,
    make_settings,
    read_all,
    read_head,
    server_side,
    with_bounds,
)
from fake_guard import FakeGuard
from mutx_provider_double import ProviderDouble


def wait_for_end(world: World, count: int = 1) -> dict:
    deadline = time.monotonic() + 5
    while len(world.journal.of("egress-tunnel")) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return world.journal.of("egress-tunnel")[-1]


def provider_context(world: World) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(world.public.file))


def hello_for(name: str | None) -> bytes:
    """What OpenSSL says first for a name."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def test_an_unmodified_client_reaches_its_provider_by_a_tunnel(world):
    proxy = httpx2.Proxy(world.url(), ssl_context=world.context(world.certificate()))
    transport = httpx2.HTTPTransport(verify=provider_context(world), proxy=proxy, trust_env=False)
    client = httpx2.Client(transport=transport)
    base_url = f"https://{PROVIDER}:{world.provider.port}/v1"

    with openai.OpenAI(api_key=KEY, base_url=base_url, http_client=client, max_retries=0) as agent:
        answer = agent.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])

    assert answer.choices[0].message.content == "echo: hi"
    assert world.provider.calls[0].key == KEY
    ended = wait_for_end(world)
    assert (ended["agent"], ended["provider"], ended["status"]) == ("agent-a", PROVIDER, "closed")
    assert ended["bytes_out"] > 500
    assert ended["bytes_in"] > 500
    assert world.guard.inputs == []


def test_a_tunnel_has_its_first_line_before_it_is_open(world):
    head, connection = world.connect()

    with connection:
        assert head.startswith(b"HTTP/1.1 200 ")
        assert [line["event"] for line in world.journal.lines] == ["egress-tunnel-started"]


def test_a_tunnel_that_cannot_be_logged_is_not_opened(world):
    world.journal.is_full = True

    head, connection = world.connect()

    with connection:
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"not-logged" in read_all(connection)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("evil.example:443", 403), ("provider.example.evil.example:443", 403), ("models.example:443", 403),
        ("evilmodels.example:443", 403), (f"{PROVIDER}:22", 403), ("127.0.0.1:443", 403), ("[::1]:443", 400),
        ("2130706433:443", 403), ("0x7f.1:443", 403), ("localhost:443", 403), (f"{PROVIDER}.:443", 403),
        (f"{PROVIDER}", 400), (f"{PROVIDER}:0443", 400), (f"{PROVIDER}:99999", 403), (f"a@{PROVIDER}:443", 400),
        (f"{PROVIDER}:443:443", 400), (f"https://{PROVIDER}:443", 400), ("*.models.example:443", 400), (":443", 400),
        ("-x.models.example:443", 403), ("a..models.example:443", 403), (".models.example:443", 403),
    ],
)  # fmt: skip
def test_only_permitted_names_and_ports_are_gone_to(world, target, status):
    head, connection = world.connect(
        target.replace(":443", f":{world.provider.port}") if status == 403 else target
    )

    connection.close()
    assert head.split(b" ", 2)[1] == str(status).encode()
    assert world.egress.resolved == []
    assert world.journal.of("egress-tunnel-started") == []


def test_a_name_below_a_permitted_suffix_is_gone_to_in_any_case_of_letters(world):
    world.egress.names["eu.models.example"] = ["127.0.0.1"]

    head, connection = world.connect(f"EU.Models.Example:{world.provider.port}")

    connection.close()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert world.egress.resolved == ["eu.models.example"]


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.1"], ["169.254.169.254"], ["192.168.1.1"], ["172.16.0.1"], ["100.64.0.1"], ["0.0.0.7"], ["224.0.0.1"],
        ["255.255.255.255"], ["127.0.0.2"], ["::1"], ["fe80::1%eth0"], ["fd00:ec2::254"], ["fec0::1"], ["ff02::1"],
        ["::ffff:10.0.0.1"], ["::ffff:169.254.169.254"], ["64:ff9b::a9fe:a9fe"], ["2002:a00:1::"], ["::"],
        ["93.184.215.14", "10.0.0.1"], ["2001::1"],
    ],
    ids="+".join,
)  # fmt: skip
def test_a_name_that_leads_inside_is_refused(world, addresses):
    world.egress.names[PROVIDER] = addresses

    head, connection = world.connect()

    with connection:
        assert head.startswith(b"HTTP/1.1 403 ")
        assert b"address-refused" in read_all(connection)


def test_a_name_is_resolved_once_and_the_connection_made_to_that_answer(world):
    """A name server that answers differently the second time (rebinding) is not asked a second time."""
    _, connection = world.connect()

    with connection:
        connection.sendall(hello_for(PROVIDER))
        assert connection.recv(1) == b"\x16"
    assert world.egress.resolved == [PROVIDER]


@pytest.mark.parametrize(
    ("names", "status", "code"),
    [({}, b"502", b"target-unknown"), ({PROVIDER: []}, b"502", b"target-unknown")],
    ids=["no such name", "no address"],
)
def test_a_name_without_an_address_is_told(world, names, status, code):
    world.egress.names.clear()
    world.egress.names.update(names)

    head, connection = world.connect()

    with connection:
        assert head.split(b" ", 2)[1] == status
        assert code in read_all(connection)


@pytest.mark.parametrize(
    "said",
    [
        hello_for("evil.example"), hello_for(None), hello_for(f"x.{PROVIDER}"), b"GET / HTTP/1.1\r\nhost: evil\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n", b"\x80\x2e\x01\x03\x01" + b"\0" * 60, b"\x16\x03\x01\x00\x00" * 10,
        b"\x16\x03\x01\xff\xff", b"\x17\x03\x03\x00\x01x",
    ],
    ids=["another name", "no name", "below", "http", "ssh", "sslv2", "empty records", "endless", "data"],
)  # fmt: skip
def test_what_is_no_hello_for_the_name_reaches_nobody(world, said):
    _, connection = world.connect()

    with connection:
        connection.sendall(said if said[:3] != b"\x16\x03\x01" or len(said) > 5 else said + b"x" * 20_000)
        assert read_all(connection) == b"\x15\x03\x03\x00\x02\x02\x70"
    ended = wait_for_end(world)
    assert (ended["status"], ended["bytes_out"]) == ("hello-refused", 0)


def test_a_hello_in_the_smallest_pieces_is_put_together(world):
    parts = [b"\x16\x03\x01\x00\x01" + bytes([byte]) for byte in hello_for(PROVIDER)[5:]]
    _, connection = world.connect()

    with connection:
        connection.sendall(b"".join(parts)[:3000])
        connection.sendall(b"".join(parts)[3000:])
        assert connection.recv(1) in {b"\x16", b"\x15"}
    assert wait_for_end(world)["status"] == "closed"


def test_a_server_that_asks_for_a_second_hello_gets_it(world):
    """OpenSSL offers a share of X25519 first; a server that wants another curve asks again."""
    context = server_side(world.public, PROVIDER)
    context.set_ecdh_curve("secp521r1")
    with ProviderDouble(tls=context) as provider:
        settings = replace(world.egress._settings, ports=frozenset({provider.port}))
        with RunningEgress(settings, FakeGuard(), {PROVIDER: ["127.0.0.1"]}, Journal()) as egress:
            proxy = httpx2.Proxy(
                f"https://127.0.0.1:{egress.port}", ssl_context=world.context(world.certificate())
            )
            transport = httpx2.HTTPTransport(verify=provider_context(world), proxy=proxy, trust_env=False)
            with httpx2.Client(transport=transport) as client:
                body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
                answer = client.post(f"https://{PROVIDER}:{provider.port}/v1/chat/completions", json=body)

    assert answer.json()["choices"][0]["message"]["content"] == "echo: hi"


def test_a_second_hello_for_another_name_ends_the_tunnel(world):
    _, connection = world.connect()

    with connection:
        connection.sendall(hello_for(PROVIDER))
        assert connection.recv(1) == b"\x16"
        connection.sendall(hello_for("evil.example"))
        read_all(connection)
    assert wait_for_end(world)["status"] == "hello-refused"


def test_an_agent_without_tunnels_gets_none(world):
    head, connection = world.connect(certificate=world.certificate(OTHER))

    connection.close()
    assert head.startswith(b"HTTP/1.1 403 ")


def test_a_certificate_of_the_tenant_that_is_no_agent_s_is_refused(world):
    head, connection = world.connect(certificate=world.certificate("database.acme.internal"))

    with connection:
        assert head.startswith(b"HTTP/1.1 403 ")
        assert b"caller-refused" in read_all(connection)


@pytest.mark.parametrize("kind", ["none", "other tenant", "expired"])
def test_who_has_no_certificate_of_today_and_this_tenant_is_not_spoken_to(world, tmp_path, kind):
    file = {
        "none": lambda: None,
        "other tenant": lambda: Authority(tmp_path, "globex").issue(AGENT),
        "expired": lambda: world.tenant.issue(
            AGENT, valid_for=timedelta(seconds=-5), into=tmp_path / "old.pem"
        ),
    }[kind]()
    context = ssl.create_default_context(cafile=str(world.tenant.file))
    if file:
        context.load_cert_chain(file)
    plain = socket.create_connection(("127.0.0.1", world.egress.port), 10)

    said = b""
    with suppress(OSError), context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        # In TLS 1.3 a client is ready before its certificate was looked at.
        connection.sendall(f"CONNECT {PROVIDER}:443 HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        said = read_all(connection)

    assert (said, world.journal.lines, world.egress.resolved) == (b"", [], [])


def test_a_certificate_that_expires_ends_its_connection_and_its_tunnel(world, tmp_path):
    file = world.tenant.issue(AGENT, valid_for=timedelta(seconds=2), into=tmp_path / "short.pem")
    idle = world.secure(file)
    _, tunnel = world.connect(certificate=file)
    tunnel.sendall(hello_for(PROVIDER))

    with idle, tunnel:
        time.sleep(2.2)
        idle.sendall(f"CONNECT {PROVIDER}:{world.provider.port} HTTP/1.1\r\nhost: x\r\n\r\n".encode())

        assert b"403" in read_head(idle)
        assert b"caller-expired" in read_all(idle)
        read_all(tunnel)
    assert wait_for_end(world)["status"] == "expired"


@pytest.fixture
def small(world, tmp_path):
    """An egress with the smallest bounds, and its journal."""
    settings = make_settings(
        tmp_path, world.tenant, make_rules(world.provider, world.public), [world.provider.port]
    )
    journal = Journal()
    bounds = with_bounds(
        settings, tunnels=3, tunnels_of_one=2, idle_s=1, connections_of_one=4, stop_s=0, connect_s=1
    )
    with RunningEgress(bounds, FakeGuard(), {PROVIDER: ["127.0.0.1"]}, journal) as egress:
        yield replace(world, egress=egress, journal=journal)


def test_an_agent_has_so_many_tunnels_and_no_more(small):
    opened = [small.connect() for _ in range(3)]

    assert [head.split(b" ", 2)[1] for head, _ in opened] == [b"200", b"200", b"503"]
    for _, connection in opened:
        connection.close()


def test_a_tunnel_that_ended_makes_room(small):
    for _ in range(4):
        head, connection = small.connect()
        connection.close()
        assert head.startswith(b"HTTP/1.1 200 ")
        deadline = time.monotonic() + 5
        while small.egress.serving:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_tunnel_through_which_nothing_goes_ends(small):
    _, connection = small.connect()

    with connection:
        connection.sendall(hello_for(PROVIDER))
        start = time.monotonic()
        read_all(connection)

    assert 0.5 < time.monotonic() - start < 4
    assert wait_for_end(small)["status"] == "idle"


def test_an_agent_has_so_many_connections_and_no_more(small):
    held = [small.secure() for _ in range(4)]
    try:
        answer = small.say(b"GET /openai/v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
    finally:
        for connection in held:
            connection.close()

    assert answer.startswith(b"HTTP/1.1 503 ")


def test_an_address_that_does_not_answer_is_given_up(small):
    # A listener whose queue is full drops what comes.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        held = [socket.socket() for _ in range(3)]
        for each in held:
            each.settimeout(0)
            each.connect_ex(full.getsockname())
        time.sleep(0.1)
        port = full.getsockname()[1]
        settings = replace(small.egress._settings, ports=frozenset({port}))
        with RunningEgress(settings, FakeGuard(), {PROVIDER: ["127.0.0.1"]}, small.journal) as egress:
            head, connection = replace(small, egress=egress).connect(f"{PROVIDER}:{port}")
            connection.close()
        for each in held:
            each.close()

    assert head.startswith(b"HTTP/1.1 504 ")


def test_many_tunnels_at_once_carry_their_own(world):
    found: dict[int, bool] = {}

    def ask(number: int) -> None:
        proxy = httpx2.Proxy(world.url(), ssl_context=world.context(world.certificate()))
        transport = httpx2.HTTPTransport(verify=provider_context(world), proxy=proxy, trust_env=False)
        with httpx2.Client(transport=transport, timeout=30) as client:
            body = {"model": "m", "messages": [{"role": "user", "content": f"number {number}"}]}
            answer = client.post(f"https://{PROVIDER}:{world.provider.port}/v1/chat/completions", json=body)
            found[number] = answer.json()["choices"][0]["message"]["content"] == f"echo: number {number}"

    world.certificate()
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == dict.fromkeys(range(16), True)
