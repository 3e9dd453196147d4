"""`serve` answers /healthz and /readyz by mTLS; `egress` is the egress itself, with the fake guard beside this file."""

from __future__ import annotations

import os
import sys

from mutx_guardrail.egress.serve import serve_egress
from mutx_guardrail.egress.settings import read_egress_settings
from mutx_service.answer import guarded, peer_of_request
from mutx_service.journal import set_up_logging, write_event
from mutx_service.notify import notify, take_socket
from mutx_service.peer import check_caller
from mutx_service.problem import COMMON_KINDS
from mutx_service.server import Listener, ServiceServer, build_config
from mutx_service.settings import Environment
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mutx_guard_trial.fake_guard import FakeGuard


def main() -> int:
    if sys.argv[1] == "egress":
        guard = FakeGuard()
        return serve_egress(read_egress_settings(os.environ), guard, guard.admit)
    return serve()


def serve() -> int:
    get, socket = Environment(os.environ, "MUTX_GUARDRAIL_"), take_socket(os.environ)
    agents = {word.partition("=")[2].partition("@")[0] for word in get.words("AGENTS")}
    callers = get.callers("CALLERS", is_served_by_tls=True) | agents

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        return JSONResponse({"status": "ready", "degraded": ["judge"]})

    def check(request: Request) -> None:
        check_caller(peer_of_request(request), callers)

    def tell(host: str, port: int) -> None:
        write_event("listening", {"host": host, "port": port})
        notify(socket, READY="1", STATUS="ready")

    set_up_logging(sys.stdout)
    tls = get.tls("TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA")
    port = get.number("PORT", 8443, highest=65535)
    listener = Listener(
        get.host("HOST", needs_loopback=False), port, tls, "MUTX_GUARDRAIL_TLS_CERTIFICATE", 5
    )
    ways = {"/healthz": healthz, "/readyz": readyz}
    app = Starlette(routes=[Route(path, guarded(way, COMMON_KINDS, check)) for path, way in ways.items()])
    ServiceServer(build_config(app, listener), tell, lambda: notify(socket, STOPPING="1")).run()
    return 0
