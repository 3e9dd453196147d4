"""The instance metadata service, version 2, for machines of one network: it tells them apart by their address.

What it says of an instance is what the sandbox's cloud says of it, asked when it is asked. Tokens are required, each
good for the machine that got it and for its time; the answer to a request for one travels as many hops as the instance
allows (EC2 user guide, "Use the Instance Metadata Service").
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from threading import Lock
from typing import Protocol

from mutx_infra.errors import MutxInfraError

_TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105 - a header's name
_LONGEST_S = 21600
_ROOT = "/latest/"


class InstanceFacts(Protocol):
    """What the cloud knows of one instance."""

    def document(self) -> Mapping[str, str]:
        """Return the instance identity document."""

    def user_data(self) -> bytes | None:
        """Return the user data, or None."""

    def role(self) -> str | None:
        """Return the name of the role of its instance profile, or None."""

    def credentials(self) -> Mapping[str, str]:
        """Return fresh credentials of that role, in the form of the metadata service."""

    def hop_limit(self) -> int:
        """Return how far the answer to a request for a token may travel."""


Lookup = Callable[[IPv4Address], InstanceFacts | None]


@dataclass
class Tokens:
    """The tokens that were given out, each to one address.

    Attributes:
        now: a clock, in seconds.
    """

    now: Callable[[], float] = time.monotonic
    _given: dict[str, tuple[IPv4Address, float]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def give(self, address: IPv4Address, seconds: int) -> str:
        """Return a new token."""
        token = secrets.token_urlsafe(42)
        with self._lock:
            self._given = {key: entry for key, entry in self._given.items() if entry[1] > self.now()}
            self._given[token] = (address, self.now() + seconds)
        return token

    def holds(self, token: str, address: IPv4Address) -> bool:
        """Say whether a token is this machine's and still good."""
        owner, until = self._given.get(token, (None, 0.0))
        return owner == address and until > self.now()


def make_server(
    listening: socket.socket, lookup: Lookup, tokens: Tokens | None = None
) -> ThreadingHTTPServer:
    """Build the server on a socket that listens already."""
    shared = tokens or Tokens()

    class Handler(MetadataHandler):
        def __init__(self, *arguments: object) -> None:
            self.lookup, self.tokens = lookup, shared
            super().__init__(*arguments)  # type: ignore[arg-type]

    server = ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.daemon_threads = True
    return server


class MetadataHandler(BaseHTTPRequestHandler):
    """Answers one machine."""

    lookup: Lookup
    tokens: Tokens
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "EC2ws", ""
    timeout = 20

    def do_PUT(self) -> None:
        """Give a token; a request that a proxy passed on gets none."""
        self._answered(self._give_token)

    def do_GET(self) -> None:
        """Answer a question that comes with a token."""
        self._answered(self._tell)

    def _answered(self, act: Callable[[], None]) -> None:
        try:
            act()
        except MutxInfraError:  # the cloud is down or has lost the instance: the machine asks again
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE)

    def _give_token(self) -> None:
        wanted = self.headers.get(_TTL_HEADER, "")
        if self.path != f"{_ROOT}api/token" or self._facts is None:
            self._answer(HTTPStatus.NOT_FOUND)
        elif self.headers.get("X-Forwarded-For") is not None:
            self._answer(HTTPStatus.FORBIDDEN)
        elif not wanted.isdecimal() or not 1 <= int(wanted) <= _LONGEST_S:
            self._answer(HTTPStatus.BAD_REQUEST)
        else:
            self.connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, self._facts.hop_limit())
            token = self.tokens.give(self._address, int(wanted))
            self._answer(HTTPStatus.OK, token.encode(), {_TTL_HEADER: wanted})

    def _tell(self) -> None:
        facts = self._facts
        if facts is None:
            self._answer(HTTPStatus.NOT_FOUND)
        elif not self.tokens.holds(self.headers.get(_TOKEN_HEADER, ""), self._address):
            self._answer(HTTPStatus.UNAUTHORIZED)
        else:
            found = answer_of(facts, self.path.removeprefix(_ROOT).rstrip("/"))
            self._answer(HTTPStatus.NOT_FOUND if found is None else HTTPStatus.OK, found or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    @property
    def _address(self) -> IPv4Address:
        return IPv4Address(self.client_address[0])

    @property
    def _facts(self) -> InstanceFacts | None:
        return self.lookup(self._address)

    def _answer(
        self, status: HTTPStatus, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(body)),
            "Content-Type": "text/plain",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def answer_of(facts: InstanceFacts, path: str) -> bytes | None:
    """Return what stands at a path below `/latest/`, or None."""
    if path == "user-data":
        return facts.user_data()
    document = facts.document()
    if path == "dynamic/instance-identity/document":
        return json.dumps(document, indent=2).encode()
    role = facts.role()
    plain = {
        "meta-data/instance-id": document["instanceId"],
        "meta-data/instance-type": document["instanceType"],
        "meta-data/local-ipv4": document["privateIp"],
        "meta-data/placement/availability-zone": document["availabilityZone"],
        "meta-data/placement/region": document["region"],
    }
    if role is not None:
        plain["meta-data/iam/security-credentials"] = role
        if path == f"meta-data/iam/security-credentials/{role}":
            return json.dumps(facts.credentials(), indent=2).encode()
    return plain[path].encode() if path in plain else None
