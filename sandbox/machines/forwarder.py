"""Passes connections of machines on to the sandbox's AWS: the only way by which they reach this machine at all."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

_CHUNK = 65536
Connect = Callable[[], socket.socket]


def forward(listening: socket.socket, connect: Connect) -> None:
    """Serve a listening socket until it is closed; each connection gets one of `connect`'s and two threads."""
    while True:
        try:
            incoming, _ = listening.accept()
        except OSError:
            return
        try:
            outgoing = connect()
        except OSError:  # the cloud is down: the machine sees its connection closed, and tries again
            incoming.close()
            continue
        for source, sink in ((incoming, outgoing), (outgoing, incoming)):
            Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with suppress(OSError):
            end.shutdown(how)
