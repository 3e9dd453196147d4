"""The guard's application under the service's own server, in a thread; its models are stand-ins."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fake_parts import parts_with, pipeline_of
from mutx_guardrail.anomaly.memory import MemoryStore
from mutx_guardrail.anomaly.store import Store
from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.policy import Policy
from mutx_guardrail.runs.agents import Agents
from mutx_guardrail.service.app import Ports, create_app
from mutx_guardrail.service.metrics import Metrics
from mutx_guardrail.service.settings import Settings
from mutx_service.journal import OURS, JsonLines
from mutx_service.server import Listener, ServiceServer, build_config


async def _no_problems() -> dict[str, str]:
    return {}


class RunningGuard:
    """A guard that serves from construction on; `stop` ends it."""

    def __init__(
        self, settings: Settings, policy: Policy | None = None, store: Store | None = None, **parts: Any
    ) -> None:
        self.policy = policy or Policy()
        self.anomaly = Anomaly(MemoryStore() if store is None else store, lambda _event: None)
        self.metrics = Metrics()
        ports = Ports(
            pipeline=pipeline_of(self.policy, **parts),
            parts=parts_with(**parts),
            policy=lambda: self.policy,
            anomaly=self.anomaly,
            reviews=None,
            metrics=self.metrics,
            agents=Agents(settings),
            ready=_no_problems,
        )
        listener = Listener("127.0.0.1", 0, settings.tls, "CERTIFICATE", 1)
        listening = threading.Event()
        self.port = 0

        def note(_host: str, port: int) -> None:
            self.port = port
            listening.set()

        self._server = ServiceServer(build_config(create_app(settings, ports), listener), note, lambda: None)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        assert listening.wait(30)
        self.url = f"{'https' if settings.tls else 'http'}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()


class Journal:
    """What the process has said, as it would stand in the journal."""

    def __init__(self) -> None:
        self._stream = io.StringIO()

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    def of(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in lines if line["event"] == event]

    @contextmanager
    def kept(self) -> Iterator[Journal]:
        """Keep everything that is logged, by whomever."""
        handler = logging.StreamHandler(self._stream)
        handler.setFormatter(JsonLines())
        ours, root = logging.getLogger(OURS), logging.getLogger()
        level = ours.level
        root.addHandler(handler)
        ours.setLevel(logging.INFO)
        try:
            yield self
        finally:
            ours.setLevel(level)
            root.removeHandler(handler)
