"""The programs of stacks as the Automation API runs them: inline, in a thread of this process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, Any

from pulumi.runtime import settings
from pulumi.runtime.proto import engine_pb2

from mutx_infra.naming import PLATFORM_PROJECT, project_of
from mutx_infra.plan import TenantPlan

if TYPE_CHECKING:
    from mutx_infra.tailnet.plan import TailnetPlan


@cache
def start_loading() -> Future[None]:
    """Start to load the program's modules (0.3 s), once in a process, so that they load while the engine starts.

    One thread loads them: the lazy modules of pulumi_aws are not safe to touch first from several.
    """
    loaded: Future[None] = Future()

    def load() -> None:
        try:
            from mutx_infra.stacks.components import foundation  # noqa: PLC0415

            foundation.load_vendor()
        except BaseException as exc:  # noqa: BLE001 - raised again where the program waits
            loaded.set_exception(exc)
        else:
            loaded.set_result(None)

    Thread(target=load, name="load-program", daemon=True).start()
    return loaded


def inline_program(plan: TenantPlan) -> Callable[[], None]:
    """Return the program of one plan: the platform's, or a tenant's."""

    def run() -> None:
        _drop_debug_log()
        start_loading().result()
        if project_of(plan.tenant) == PLATFORM_PROJECT:
            from mutx_infra.stacks.platform.program import build  # noqa: PLC0415
        else:
            from mutx_infra.stacks.tenant.program import build  # noqa: PLC0415
        build(plan)

    return run


def tailnet_program(plan: TailnetPlan) -> Callable[[], None]:
    """Return the program of the tailnet."""

    def run() -> None:
        from mutx_infra.stacks.tailnet.program import build  # noqa: PLC0415 - few commands need the vendor's package

        _drop_debug_log()
        build(plan)

    return run


class _QuietEngine:
    """The engine's log service without debug messages: each one would hold the program up for a round trip."""

    def __init__(self, engine: Any) -> None:  # noqa: ANN401 - a generated gRPC stub
        self._engine = engine

    def Log(self, request: engine_pb2.LogRequest) -> object:  # noqa: N802 - gRPC's name
        return None if request.severity == engine_pb2.DEBUG else self._engine.Log(request)

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)


def _drop_debug_log() -> None:
    settings.SETTINGS.engine = _QuietEngine(settings.get_engine())
