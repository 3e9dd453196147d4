"""Serves moto, the AWS of the sandbox, over HTTP on loopback: `python -m mutx_sandbox.moto_server --port N`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal

from mutx_sandbox.processes import exit_without

_WARM_SERVICES: tuple[Literal["sts", "ec2", "iam", "logs", "kms", "ssm", "s3"], ...] = (
    "sts", "ec2", "iam", "logs", "kms", "ssm", "s3",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; print the port once connections are accepted."""
    parser = argparse.ArgumentParser(prog="moto-server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--end-without", type=Path, metavar="FILE", help="end when this file is gone")
    options = parser.parse_args(arguments)
    if options.end_without is not None:
        exit_without(options.end_without)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = make_server(options.port)
    Thread(target=server.serve_forever, name="http", daemon=True).start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    Thread(target=_warm, name="warm", daemon=True).start()
    stop.wait()
    # Request threads may wait for clients that keep their connection; there is nothing to save.
    os._exit(0)


def make_server(port: int) -> Any:  # noqa: ANN401 - werkzeug's server class is private to it
    """Build the HTTP server: moto's application with this package's corrections, connections kept open."""
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from mutx_sandbox.accounts import open_accounts  # noqa: PLC0415
    from mutx_sandbox.buckets import count_loopback_as_tls, keep_history_and_archive  # noqa: PLC0415
    from mutx_sandbox.daemon import ACCOUNT_ID  # noqa: PLC0415
    from mutx_sandbox.expiry import Expiry  # noqa: PLC0415
    from mutx_sandbox.images import publish_images  # noqa: PLC0415
    from mutx_sandbox.moto_fixes import correct_moto  # noqa: PLC0415
    from mutx_sandbox.quotas import widen_quotas  # noqa: PLC0415
    from mutx_sandbox.recorder import Recorder  # noqa: PLC0415
    from werkzeug.serving import make_server as werkzeug_server  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    correct_moto()
    publish_images()
    keep_history_and_archive()
    count_loopback_as_tls()
    open_accounts(ACCOUNT_ID)
    widen_quotas()

    class Handler(MotoRequestHandler):
        """Keeps connections open: a new one for each call costs a tenant's update a tenth of its time."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_request(self, code: int | str | HTTPStatus = "-", size: int | str = "-") -> None:
            """Say nothing: thousands of lines of requests hide the one that matters."""

    return werkzeug_server(
        "127.0.0.1",
        port,
        Recorder(Expiry(DomainDispatcherApplication(create_backend_app))),
        threaded=True,
        request_handler=Handler,
    )


def _warm() -> None:
    """Import the backends before the first call asks for them: a second that no update then waits for."""
    from moto.backends import get_backend  # noqa: PLC0415

    for service in _WARM_SERVICES:
        get_backend(service)


if __name__ == "__main__":
    raise SystemExit(main())
