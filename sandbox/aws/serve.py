"""Serves the provider: as the sandbox's daemon, or as a plugin process that an engine started."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import grpc
from mutx_sandbox.aws.caller import Account, Clients
from mutx_sandbox.aws.control import control_handler
from mutx_sandbox.aws.faults import Boundary, Fault
from mutx_sandbox.aws.provider import AwsProvider, Limits
from mutx_sandbox.aws.sessions import Defaults, Sessions
from mutx_sandbox.processes import exit_with_parent, exit_without
from pulumi.runtime.proto.provider_pb2_grpc import add_ResourceProviderServicer_to_server

_THREADS = 64
_MESSAGE_LIMIT = 400 << 20
_WARM_SERVICES = ("sts", "ec2", "logs", "iam")


@dataclass(frozen=True, slots=True)
class Options:
    """How the provider is served.

    Attributes:
        defaults: what engines need not say.
        faults: rules in force from the start.
        limits: how long it waits at most.
        port: 0 takes a free one.
        is_plugin: an engine started this process, and it ends with the engine.
        end_without: the process ends when this file is gone.
    """

    defaults: Defaults = field(default_factory=Defaults)
    faults: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    port: int = 0
    is_plugin: bool = False
    end_without: Path | None = None


def start(options: Options) -> tuple[grpc.Server, int]:
    """Start serving on loopback; returns the server and its port."""
    boundary = Boundary([Fault.parse(text) for text in options.faults])
    clients = Clients(boundary)
    server = grpc.server(
        ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="rpc"),
        options=[
            ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
            ("grpc.max_send_message_length", _MESSAGE_LIMIT),
            ("grpc.so_reuseport", 0),
        ],
    )
    provider = AwsProvider(Sessions(clients, options.defaults), options.limits)
    add_ResourceProviderServicer_to_server(provider, server)
    server.add_generic_rpc_handlers((control_handler(boundary),))
    port = server.add_insecure_port(f"127.0.0.1:{options.port}")
    server.start()
    Thread(target=_warm, args=(clients,), name="warm", daemon=True).start()
    return server, port


def forget_environment(variables: MutableMapping[str, str]) -> None:
    """Remove what a shell may say about AWS and proxies: only options and the engine's configuration count."""
    for name in list(variables):
        if name.startswith(("AWS_", "BOTO")) or name.lower() in {"http_proxy", "https_proxy", "all_proxy"}:
            del variables[name]
    variables["AWS_EC2_METADATA_DISABLED"] = "true"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; print the port, as the engine expects of a plugin."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    forget_environment(os.environ)
    if options.is_plugin:
        exit_with_parent()
    if options.end_without is not None:
        exit_without(options.end_without)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server, port = start(options)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    stop.wait()
    server.stop(grace=1.0).wait()
    # Threads that sleep in a retry must not hold up the end.
    os._exit(0)


def _warm(clients: Clients) -> None:
    """Load the API models before the first engine asks: half a second that no update then waits for."""
    for service in _WARM_SERVICES:
        clients.get(service, "us-east-1", Account("http://127.0.0.1:9", "warm", "warm"))


def _parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="pulumi-resource-aws", description=__doc__)
    parser.add_argument("--endpoint", help="base URL of AWS, for engines whose configuration has none")
    parser.add_argument("--credentials-file", type=Path, help="shared credentials file, section `default`")
    parser.add_argument("--region", help="region of last resort")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--end-without", type=Path, metavar="FILE", help="end when this file is gone")
    parser.add_argument("--plugin", action="store_true", help="end with the process that started this one")
    parser.add_argument("--fault", action="append", default=[], metavar="KIND[:NAME=VALUE,...]")
    parser.add_argument("--delete-limit", type=float, default=Limits().delete_s, metavar="SECONDS")
    # The engine passes its own address to the plugins that it starts; there is nothing to say to it.
    parser.add_argument("engine", nargs="*", help=argparse.SUPPRESS)
    found = parser.parse_args(arguments)
    defaults = Defaults(found.endpoint, found.credentials_file, found.region)
    return Options(
        defaults, tuple(found.fault), Limits(found.delete_limit), found.port, found.plugin, found.end_without
    )
