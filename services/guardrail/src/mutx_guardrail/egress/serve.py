"""The process of the egress: it listens until it is told to stop."""

from __future__ import annotations

import asyncio
import signal

from mutx_service.journal import must_write_event, write_event
from mutx_service.notify import notify
from mutx_service.process import begin

from mutx_guardrail.egress.destination import Dialer
from mutx_guardrail.egress.judge import Admit, Guard
from mutx_guardrail.egress.server import Egress
from mutx_guardrail.egress.settings import EgressSettings


def serve_egress(settings: EgressSettings, guard: Guard, admit: Admit) -> int:
    """Serve until SIGTERM or SIGINT; the exit status is 0.

    Raises:
        SettingsError: the certificates do not serve.
    """
    asyncio.run(_serve(settings, guard, admit, begin()))
    write_event("stopped", {})
    return 0


async def _serve(settings: EgressSettings, guard: Guard, admit: Admit, notify_to: dict[str, str]) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    dialer = Dialer(settings.inner, settings.bounds.connect_s)
    egress = Egress(settings, guard, admit, dialer, must_write_event)
    host, port = await egress.start()
    write_event("listening", {"host": host, "port": port, "mtls": True})
    notify(notify_to, READY="1", STATUS="ready")
    await told.wait()
    write_event("stopping", {"running": egress.serving})
    notify(notify_to, STOPPING="1")
    await egress.stop()
