"""Serves a provider: as the sandbox's daemon, or as a plugin process that an engine started."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Self

import grpc
from mutx_sandbox.processes import exit_with_parent, exit_without
from pulumi.runtime.proto.provider_pb2_grpc import (
    ResourceProviderServicer,
    add_ResourceProviderServicer_to_server,
)

_THREADS = 64
_MESSAGE_LIMIT = 400 << 20
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


@dataclass(frozen=True, slots=True)
class Life:
    """Where a provider is served and when it ends.

    Attributes:
        port: 0 takes a free one.
        is_plugin: an engine started this process, and it ends with the engine.
        end_without: the process ends when this file is gone.
    """

    port: int = 0
    is_plugin: bool = False
    end_without: Path | None = None

    @classmethod
    def of(cls, found: argparse.Namespace) -> Self:
        """Take it from what `add_options` parsed."""
        return cls(found.port, found.plugin, found.end_without)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every provider has."""
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--end-without", type=Path, metavar="FILE", help="end when this file is gone")
    parser.add_argument("--plugin", action="store_true", help="end with the process that started this one")
    # The engine passes its own address to the plugins that it starts; there is nothing to say to it.
    parser.add_argument("engine", nargs="*", help=argparse.SUPPRESS)


def start_server(
    provider: ResourceProviderServicer,
    port: int,
    handlers: Sequence[grpc.GenericRpcHandler[Any, Any]] = (),
) -> tuple[grpc.Server, int]:
    """Start serving on loopback; returns the server and its port."""
    server = grpc.server(
        ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="rpc"),
        options=[
            ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
            ("grpc.max_send_message_length", _MESSAGE_LIMIT),
            ("grpc.so_reuseport", 0),
        ],
    )
    add_ResourceProviderServicer_to_server(provider, server)
    server.add_generic_rpc_handlers(tuple(handlers))
    taken = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, taken


def forget_environment(variables: MutableMapping[str, str], *prefixes: str) -> None:
    """Remove what a shell may say about the API and proxies: only options and the engine's configuration count."""
    for name in list(variables):
        if name.startswith(prefixes) or name.lower() in _PROXIES:
            del variables[name]


def serve(start: Callable[[], tuple[grpc.Server, int]], life: Life) -> int:
    """Serve until SIGTERM or SIGINT; print the port, as the engine expects of a plugin."""
    if life.is_plugin:
        exit_with_parent()
    if life.end_without is not None:
        exit_without(life.end_without)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server, port = start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    stop.wait()
    server.stop(grace=1.0).wait()
    # Threads that sleep in a retry must not hold up the end.
    os._exit(0)
