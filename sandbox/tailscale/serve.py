"""Serves the provider: as the sandbox's daemon, or as a plugin process that an engine started."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from mutx_sandbox.bridge.serve import Life, add_options, forget_environment, serve, start_server
from mutx_sandbox.tailscale.provider import TailscaleProvider
from mutx_sandbox.tailscale.sessions import Defaults, TailscaleSessions, is_loopback

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """How the provider is served.

    Attributes:
        defaults: what engines need not say.
        patience_s: how long one operation may take, retries included, where the program sets no limit.
        life: where it is served and when it ends.
    """

    defaults: Defaults = field(default_factory=Defaults)
    patience_s: float = _PATIENCE_S
    life: Life = field(default_factory=Life)


def start(options: Options) -> tuple[grpc.Server, int]:
    """Start serving on loopback; returns the server and its port."""
    provider = TailscaleProvider(TailscaleSessions(options.defaults), options.patience_s)
    return start_server(provider, options.life.port)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; print the port, as the engine expects of a plugin."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    forget_environment(os.environ, "TAILSCALE_", "OAUTH_CLIENT_", "IDENTITY_TOKEN")
    return serve(lambda: start(options), options.life)


def _parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="pulumi-resource-tailscale", description=__doc__)
    parser.add_argument("--endpoint", type=_loopback, default="", help="base URL of the API, on this machine")
    parser.add_argument("--tailnet", default="-", help="for engines whose configuration names none")
    parser.add_argument("--credentials", type=Path, metavar="FILE", help='JSON: {"api_key": "..."}')
    parser.add_argument("--patience", type=float, default=_PATIENCE_S, metavar="SECONDS")
    add_options(parser)
    found = parser.parse_args(arguments)
    defaults = Defaults(found.endpoint, found.tailnet, found.credentials)
    return Options(defaults, found.patience, Life.of(found))


def _loopback(url: str) -> str:
    if not is_loopback(url):
        raise argparse.ArgumentTypeError("only an endpoint on this machine is called")
    return url
