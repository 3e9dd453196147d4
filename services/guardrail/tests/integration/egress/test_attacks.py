"""What an agent that was taken over would try on the listener itself."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from egress_world import (
    KEY,
    PROVIDER,
    Journal,
    RunningEgress,
    World,
    make_rules,
    make_settings,
    read_all,
    with_bounds,
)
from fake_guard import FakeGuard

PATH = b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
SUPPORT = Path(__file__).resolve().parents[2] / "support"


def length(body: bytes) -> bytes:
    return b"content-length: %d\r\n" % len(body)


@pytest.mark.parametrize(
    "head",
    [
        length(BODY) + b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: gzip, chunked\r\n",
        b"transfer-encoding: identity\r\n",
        b"transfer-encoding: \x0bchunked\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"content-length: +5\r\n",
        b"content-length: 0x5\r\n",
        b"content-length: -1\r\n",
        b"content-length : 5\r\n",
        b"a\x00b: c\r\n",
        b"a: b\x00c\r\n",
        b"host: y\r\n",
        b"upgrade: h2c\r\nconnection: upgrade\r\n",
    ],
    ids=["both", "coding twice", "codings", "identity", "vertical tab", "lengths", "plus", "hex", "minus", "space",
         "nul in a name", "nul in a value", "hosts", "upgrade"],
)  # fmt: skip
def test_a_head_that_could_be_read_in_two_ways_is_refused(world, head):
    answer = world.say(PATH + head + b"\r\n" + BODY)

    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert world.provider.calls == []


@pytest.mark.parametrize(
    "said",
    [
        b"GET /openai/v1/models HTTP/1.0\r\nhost: x\r\n\r\n", b"GET /openai/v1/models\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00", b"GET http://evil.example/ HTTP/1.1\r\nhost: evil.example\r\n\r\n",
        b"CONNECT provider.example:443 HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
    ids=["1.0", "0.9", "2", "tls", "absolute", "a tunnel with a body", "bytes"],
)  # fmt: skip
def test_what_is_not_http_1_1_of_ours_is_refused(world, said):
    answer = world.say(said)

    assert answer.split(b" ", 2)[1] in {b"400", b"404"}
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_second_request_behind_a_first_is_answered_as_one_of_its_own(world):
    request = PATH + length(BODY) + b"\r\n" + BODY

    answer = world.say(request + request.replace(b"host: x", b"host: x\r\nconnection: close"))

    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert len(world.provider.calls) == 2


def test_a_head_that_is_too_large_is_refused(world):
    assert world.say(PATH + b"x: " + b"y" * 40_000).startswith(b"HTTP/1.1 400 ")


def test_a_body_that_is_too_large_is_refused_when_it_has_passed_the_bound(world):
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"

    with world.secure() as connection:
        connection.sendall(PATH + b"transfer-encoding: chunked\r\n\r\n")
        answer = b""
        try:
            for _ in range(200):
                connection.sendall(chunk)
        except OSError:
            answer = b"closed"
        answer += read_all(connection)

    assert answer
    assert world.provider.calls == []
    assert {"event": "llm-call-started"} not in world.journal.lines


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000, b'{"model":"m","a":' + b'{"b":' * 5000 + b"1" + b"}" * 5001, b'{"model":"m","model":"n"}',
        b'{"model":"m","a":1e999}', b'{"model":"m","a":NaN}', b'{"model":"m","a":"\\ud800"}', b"\xef\xbb\xbf{}",
        b'{"model":"m","a":"\xff"}', b"null", b'{"model":["m"]}', b'{"model":"a b"}',
        b'{"model":"m","a":' + b"9" * 5000 + b"}",
        b'{"model":"m"} {"model":"n"}', b"",
    ],
    ids=["lists", "deep", "twice", "huge", "nan", "half", "bom",
          "bytes", "null", "models", "words", "digits", "two", "none"],
)  # fmt: skip
def test_a_body_that_is_not_json_of_one_meaning_is_refused_in_a_moment(world, body):
    start = time.monotonic()

    answer = world.say(PATH + b"connection: close\r\n" + length(body) + b"\r\n" + body)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_invalid"
    assert time.monotonic() - start < 2


@pytest.fixture
def hasty(world, tmp_path) -> Iterator[World]:
    """The same with limits of a second."""
    settings = make_settings(
        tmp_path, world.tenant, make_rules(world.provider, world.public), [world.provider.port]
    )
    journal = Journal()
    with RunningEgress(
        with_bounds(settings, head_s=1, body_s=1, rest_s=1, stop_s=0),
        FakeGuard(),
        {PROVIDER: ["127.0.0.1"]},
        journal,
    ) as egress:
        yield replace(world, egress=egress, journal=journal)


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        (b"", b""), (b"POST /openai", b"HTTP/1.1 408 "), (PATH + b"content-length: 100\r\n\r\n{", b"HTTP/1.1 408 "),
        (PATH + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n", b"HTTP/1.1 408 "),
    ],
    ids=["silence", "half a head", "half a body", "half of the chunks"],
)  # fmt: skip
def test_who_is_slow_is_not_waited_for(hasty, said, answered):
    with hasty.secure() as connection:
        connection.sendall(said)
        start = time.monotonic()
        answer = read_all(connection)

    assert answer.startswith(answered)
    assert time.monotonic() - start < 4


def test_a_byte_at_a_time_does_not_lengthen_the_wait(hasty):
    start = time.monotonic()

    with hasty.secure() as connection:
        try:
            for byte in PATH * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.1)
        except OSError:
            pass

    assert time.monotonic() - start < 5


def test_a_handshake_that_never_ends_is_not_waited_for_by_others(world):
    silent = [socket.create_connection(("127.0.0.1", world.egress.port), 5) for _ in range(50)]
    try:
        answer = world.say(PATH + b"connection: close\r\n" + length(BODY) + b"\r\n" + BODY)
    finally:
        for each in silent:
            each.close()

    assert answer.startswith(b"HTTP/1.1 200 ")


class Process:
    """The egress as a unit would run it; `output` is where it says what it says."""

    def __init__(self, world: World, own: Path) -> None:
        make_settings(own, world.tenant, make_rules(world.provider, world.public), [443])
        server, prefix = str(world.tenant.issue("guard.acme.internal")), "MUTX_GUARDRAIL_EGRESS_"
        variables = {
            "RULES": str(own / "egress.yml"), "PORT": "0", "TLS_CERTIFICATE": server, "TLS_KEY": server,
            "TLS_CLIENT_CA": str(world.tenant.file),
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, str(SUPPORT / "egress_program.py")],
            env={"PATH": os.environ["PATH"], **{prefix + name: value for name, value in variables.items()}},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
        )  # fmt: skip
        assert self.process.stdout is not None
        self.output = self.process.stdout
        self.first = self.output.readline()
        self.url = f"https://127.0.0.1:{json.loads(self.first)['port']}"

    def end(self) -> tuple[int, str]:
        """End it by a signal; returns its status, and all that it said while somebody listened."""
        self.process.terminate()
        if self.output.closed:
            return self.process.wait(10), ""
        with self.output:
            return self.process.wait(10), (self.first + self.output.read()).decode()


def test_the_process_says_neither_keys_nor_texts_and_ends_when_told(world, tmp_path):
    process = Process(world, tmp_path)
    bodies = [
        {"messages": [{"role": "user", "content": "canary-one"}]},
        {"messages": [{"role": "user", "content": "canary-two steal the crown jewels"}]},
        {"messages": [{"role": "canary-role", "content": "x"}], "canary-field": 1},
    ]

    with world.client() as client:
        for body in bodies:
            client.post(f"{process.url}/openai/v1/chat/completions", json={"model": "m", **body},
                        headers={"authorization": f"Bearer {KEY}", "x-canary": "canary-header"})  # fmt: skip
        client.get(f"{process.url}/canary-path", headers={"x-api-key": KEY})
        core = resource.prlimit(process.process.pid, resource.RLIMIT_CORE)
    status, said = process.end()

    events = [json.loads(line)["event"] for line in said.splitlines()]
    assert (status, core) == (0, (0, 0))
    assert events[-2:] == ["stopping", "stopped"]
    assert events.count("llm-call-started") == events.count("llm-call") == 1
    assert events.count("egress-refused") == 3
    assert "canary" not in said


def test_a_connection_that_rests_delays_no_stop(world, tmp_path):
    process = Process(world, tmp_path)

    with world.client() as client:
        client.get(f"{process.url}/nowhere")
        client.post(f"{process.url}/openai/v1/chat/completions", json={"model": "a b"})
        start = time.monotonic()
        status, _ = process.end()

    assert status == 0
    assert time.monotonic() - start < 5


def test_a_journal_that_is_gone_stops_the_calls_of_the_process(world, tmp_path):
    process = Process(world, tmp_path)
    process.output.close()

    with world.client() as client:
        answer = client.post(
            f"{process.url}/openai/v1/chat/completions",
            json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        )
    process.end()

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_logged")
    assert world.provider.calls == []
