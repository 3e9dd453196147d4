"""Serves the provider: as the sandbox's daemon, or as a plugin process that an engine started."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import grpc
from mutx_sandbox.aws.caller import Account, Clients
from mutx_sandbox.aws.control import control_handler
from mutx_sandbox.aws.faults import Boundary, Fault
from mutx_sandbox.aws.provider import AwsProvider, Limits
from mutx_sandbox.aws.sessions import AwsSessions, Defaults
from mutx_sandbox.bridge.serve import Life, add_options, forget_environment, serve, start_server

_WARM_SERVICES = ("sts", "ec2", "logs", "iam")


@dataclass(frozen=True, slots=True)
class Options:
    """How the provider is served.

    Attributes:
        defaults: what engines need not say.
        faults: rules in force from the start.
        limits: how long it waits at most.
        life: where it is served and when it ends.
    """

    defaults: Defaults = field(default_factory=Defaults)
    faults: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    life: Life = field(default_factory=Life)


def start(options: Options) -> tuple[grpc.Server, int]:
    """Start serving on loopback; returns the server and its port."""
    boundary = Boundary([Fault.parse(text) for text in options.faults])
    clients = Clients(boundary)
    provider = AwsProvider(AwsSessions(clients, options.defaults), options.limits)
    started = start_server(provider, options.life.port, [control_handler(boundary)])
    Thread(target=_warm, args=(clients,), name="warm", daemon=True).start()
    return started


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; print the port, as the engine expects of a plugin."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    forget_environment(os.environ, "AWS_", "BOTO")
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    return serve(lambda: start(options), options.life)


def _warm(clients: Clients) -> None:
    """Load the API models before the first engine asks: half a second that no update then waits for."""
    for service in _WARM_SERVICES:
        clients.get(service, "us-east-1", Account("http://127.0.0.1:9", "warm", "warm"))


def _parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="pulumi-resource-aws", description=__doc__)
    parser.add_argument("--endpoint", help="base URL of AWS, for engines whose configuration has none")
    parser.add_argument("--credentials-file", type=Path, help="shared credentials file, section `default`")
    parser.add_argument("--region", help="region of last resort")
    parser.add_argument("--fault", action="append", default=[], metavar="KIND[:NAME=VALUE,...]")
    parser.add_argument("--delete-limit", type=float, default=Limits().delete_s, metavar="SECONDS")
    add_options(parser)
    found = parser.parse_args(arguments)
    defaults = Defaults(found.endpoint, found.credentials_file, found.region)
    return Options(defaults, tuple(found.fault), Limits(found.delete_limit), Life.of(found))
