"""What a TLS client says first: the name of the server that it wants, read without opening anything.

Sources: RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3, RFC 9849 (ECH).
"""

from __future__ import annotations

from dataclasses import dataclass

LARGEST_HELLO = 16 * 1024
"""Bytes; a hello with the post-quantum shares of today has under 2,000."""

UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"
"""The alert that says so to a client, for it to fail with a reason."""

_RECORD_HEADER, _MESSAGE_HEADER = 5, 4
_CHANGE_CIPHER_SPEC, _HANDSHAKE, _CLIENT_HELLO = 20, 22, 1
_SERVER_NAME, _ENCRYPTED_CLIENT_HELLO = 0, 0xFE0D
_HOST_NAME = 0


class HelloError(Exception):
    """What was said first is no hello with one name in the open."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A hello's message without its header, and how many bytes of records it came in."""

    message: bytes
    size: int


def client_hello(data: bytes) -> Hello | None:
    """Return the hello put together of the records at the start of `data`; None while more is needed.

    Raises:
        HelloError: this is no handshake of TLS, or one that is too large.
    """
    message, at = b"", 0
    while True:
        if len(message) >= _MESSAGE_HEADER:
            wanted = _MESSAGE_HEADER + int.from_bytes(message[1:4])
            if message[0] != _CLIENT_HELLO or wanted > LARGEST_HELLO:
                raise HelloError("no client hello")
            if len(message) > wanted:
                raise HelloError("something behind the hello")
            if len(message) == wanted:
                return Hello(message[_MESSAGE_HEADER:], at)
        header = data[at : at + _RECORD_HEADER]
        if header[:1] not in {b"", bytes([_HANDSHAKE])} or header[1:2] not in {b"", b"\x03"}:
            raise HelloError("no record of TLS")
        length = int.from_bytes(header[3:5])
        if len(header) < _RECORD_HEADER or len(data) < at + _RECORD_HEADER + length:
            if len(data) > LARGEST_HELLO:
                raise HelloError("no end of the hello")
            return None
        if length == 0:
            raise HelloError("an empty record")
        message += data[at + _RECORD_HEADER : at + _RECORD_HEADER + length]
        at += _RECORD_HEADER + length


def server_name(hello: bytes) -> str:
    """Return the one name that a hello asks for, in lower case.

    Raises:
        HelloError: there is none, there are several, it is encrypted (ECH), or the hello is malformed.
    """
    reader = _Reader(hello)
    reader.take(2 + 32)
    reader.vector(1)
    reader.vector(2)
    reader.vector(1)
    extensions = _Reader(reader.vector(2))
    reader.end()
    found: dict[int, bytes] = {}
    while extensions.has_more:
        kind = extensions.number(2)
        if kind in found:
            raise HelloError("an extension comes twice")
        found[kind] = extensions.vector(2)
    if _ENCRYPTED_CLIENT_HELLO in found:
        raise HelloError("the name is encrypted")
    if _SERVER_NAME not in found:
        raise HelloError("no name")
    outer = _Reader(found[_SERVER_NAME])
    names = _Reader(outer.vector(2))
    outer.end()
    kind, name = names.number(1), names.vector(2)
    names.end()
    if kind != _HOST_NAME or not name.isascii():
        raise HelloError("no host name")
    return name.decode("ascii").lower()


class SecondHello:
    """Looks at what follows a hello, for a server may ask for a second one (HelloRetryRequest), with another name.

    The first record of a handshake that follows is in the open in every version of TLS: a second hello, or the next
    message, after which there is none.
    """

    def __init__(self, host: str) -> None:
        self._host, self._held, self._is_over = host, b"", False

    def pass_on(self, data: bytes) -> bytes:
        """Return what may go to the server; the rest is held until more comes.

        Raises:
            HelloError: a second hello is not one for the same name.
        """
        if self._is_over:
            return data
        self._held += data
        passed = b""
        while len(self._held) > _RECORD_HEADER and not self._is_over:
            size = _RECORD_HEADER + int.from_bytes(self._held[3:5])
            if self._held[0] != _CHANGE_CIPHER_SPEC:
                size = self._hello_size()
                self._is_over = size > 0
            if not 0 < size <= len(self._held):
                break
            passed, self._held = passed + self._held[:size], self._held[size:]
        if self._is_over:
            passed, self._held = passed + self._held, b""
        return passed

    def _hello_size(self) -> int:
        """Return how many bytes of what is held may pass now; 0 while a hello is not whole."""
        if (self._held[0], self._held[_RECORD_HEADER]) != (_HANDSHAKE, _CLIENT_HELLO):
            return len(self._held)
        hello = client_hello(self._held)
        if hello is None:
            return 0
        if server_name(hello.message) != self._host:
            raise HelloError("another name")
        return hello.size


class _Reader:
    """Takes fields from the front; what is not there is an error."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def has_more(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise HelloError("cut short")
        self._at += count
        return found

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width))

    def vector(self, width: int) -> bytes:
        return self.take(self.number(width))

    def end(self) -> None:
        if self.has_more:
            raise HelloError("something after the end")
