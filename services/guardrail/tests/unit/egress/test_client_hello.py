"""The first words of TLS: a name in the open, or nothing."""

from __future__ import annotations

import ssl
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.egress.client_hello import Hello, HelloError, SecondHello, client_hello, server_name


def hello_of_openssl(name: str | None, lowest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> bytes:
    outgoing = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode, context.minimum_version = False, ssl.CERT_NONE, lowest
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def record(content: bytes) -> bytes:
    return b"\x16\x03\x01" + struct.pack(">H", len(content)) + content


def vector(width: int, content: bytes) -> bytes:
    return len(content).to_bytes(width) + content


def hello(*extensions: tuple[int, bytes]) -> bytes:
    """A hello's message with some extensions, without its header."""
    body = b"".join(struct.pack(">H", kind) + vector(2, content) for kind, content in extensions)
    return (
        b"\x03\x03" + b"r" * 32 + vector(1, b"") + vector(2, b"\x13\x01") + vector(1, b"\0") + vector(2, body)
    )


def sni(*names: tuple[int, bytes]) -> tuple[int, bytes]:
    return 0, vector(2, b"".join(bytes([kind]) + vector(2, name) for kind, name in names))


def message(body: bytes) -> bytes:
    return b"\x01" + vector(3, body)


@pytest.mark.parametrize("lowest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
def test_a_real_client_s_name_is_read(lowest):
    found = client_hello(hello_of_openssl("API.example.com", lowest))

    assert found is not None
    assert server_name(found.message) == "api.example.com"


def test_a_hello_is_wanted_whole():
    data = hello_of_openssl("api.example.com")

    assert {client_hello(data[:count]) for count in range(len(data))} == {None}
    assert client_hello(data) is not None


@given(st.lists(st.integers(1, 600), min_size=1, max_size=8))
def test_a_hello_in_several_records_is_the_same(cuts):
    whole, at, parts = message(hello(sni((0, b"api.example.com")))), 0, []
    for cut in cuts:
        parts.append(whole[at : at + cut])
        at += cut
    data = b"".join(record(part) for part in [*parts, whole[at:]] if part)

    assert client_hello(data) == Hello(whole[4:], len(data))


@pytest.mark.parametrize(
    "body",
    [
        hello(), hello(sni()), hello(sni((0, b"a.example"), (0, b"b.example"))), hello(sni((1, b"a.example"))),
        hello(sni((0, b"a.example")), sni((0, b"b.example"))), hello(sni((0, b"a.example")), (0xFE0D, b"x")),
        hello(sni((0, b"\xff.example"))), hello(sni((0, b"a.example"))) + b"x", hello(sni((0, b"a.example")))[:-1], b"",
        hello((0, vector(2, b"\0" + vector(2, b"a.example")) + b"x")),
    ],
    ids=["no extension", "no name", "two names", "another kind", "twice", "ech", "no ascii", "too long", "cut", "empty",
         "more"],
)  # fmt: skip
def test_a_hello_without_one_open_name_is_refused(body):
    with pytest.raises(HelloError):
        server_name(body)


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1", b"\x80\x2e\x01", b"\x16\x02\x00\x00\x10", b"\x15\x03\x01\x00\x02", record(b""),
     record(b"\x02\0\0\x01x"), record(b"\x01\xff\xff\xff")],
    ids=["http", "sslv2", "version", "alert", "empty", "a server's", "endless"],
)  # fmt: skip
def test_what_is_no_hello_is_refused_as_soon_as_that_is_seen(data):
    with pytest.raises(HelloError):
        client_hello(data)


CHANGE = b"\x14\x03\x03\x00\x01\x01"
DATA = b"\x17\x03\x03\x00\x02xx"
SAME = record(message(hello(sni((0, b"api.example.com")))))
OTHER = record(message(hello(sni((0, b"evil.example")))))


def passed_on(data: bytes, size: int) -> bytes:
    second = SecondHello("api.example.com")
    return b"".join(second.pass_on(data[at : at + size]) for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 5, 6, 7, 1000])
@pytest.mark.parametrize(
    "data",
    [
        DATA * 3,
        CHANGE + DATA,
        SAME + DATA,
        CHANGE + SAME + CHANGE + DATA,
        record(b"\x10\0\0\x01x") + CHANGE + OTHER,
    ],
    ids=["data", "change", "again", "again later", "an older version"],
)
def test_what_follows_a_hello_passes_as_it_is(data, size):
    assert passed_on(data, size) == data


@pytest.mark.parametrize("size", [1, 6, 50, 1000])
@pytest.mark.parametrize(
    "data", [OTHER + DATA, CHANGE + OTHER, record(message(hello()))], ids=["other", "later", "none"]
)
def test_a_second_hello_for_another_name_is_refused(data, size):
    with pytest.raises(HelloError):
        passed_on(data, size)


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_else(data):
    for read in (client_hello, server_name):
        with suppress(HelloError):
            read(data)


@given(st.data())
def test_a_changed_hello_gives_its_name_or_an_error(data):
    body = bytearray(hello(sni((0, b"api.example.com")), (10, b"\0\x02\0\x1d")))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = data.draw(st.integers(0, 255))

    with suppress(HelloError):
        assert server_name(bytes(body)).isascii()
