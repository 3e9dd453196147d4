"""The guard of the egress: the same pipeline as the service's, in the egress's own process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from mutx_service.journal import describe_exception, write_event

from mutx_guardrail.anomaly.event import Event
from mutx_guardrail.anomaly.shared import open_store
from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.egress.settings import PREFIX
from mutx_guardrail.panel import Panel
from mutx_guardrail.parts import build_parts
from mutx_guardrail.pipeline import Pipeline
from mutx_guardrail.policy import Policy
from mutx_guardrail.service.mask_key import MaskKeyFile
from mutx_guardrail.service.policy_file import PolicyFile
from mutx_guardrail.service.settings import REDIS_VARIABLE, Settings, read_settings
from mutx_guardrail.verdict import Check


def read_guard_settings(variables: Mapping[str, str]) -> Settings:
    """Return what judges, from the same variables as the service's; those of the egress are read elsewhere.

    Raises:
        SettingsError: the first variable that is wrong.
    """
    return read_settings({name: value for name, value in variables.items() if not name.startswith(PREFIX)})


class LocalGuard:
    """Judges texts, and counts calls by the policy's `anomaly`.

    An agent's calls to providers are counted apart from the runs that it is asked for.
    """

    def __init__(self, policy: Callable[[], Policy], pipeline: Pipeline, anomaly: Anomaly) -> None:
        self.input, self.output = pipeline.input, pipeline.output
        self._policy, self._anomaly = policy, anomaly

    async def admit(self, agent: str) -> Check:
        """Say whether an agent may make a call now."""
        limits = self._policy().anomaly_for(agent)
        return await asyncio.to_thread(self._anomaly.admit, f"{agent}@egress", limits)


def build_local_guard(settings: Settings) -> LocalGuard:
    """Build what judges; it takes one to two seconds with the models.

    Raises:
        SettingsError: the key of masks, or the certificate for Redis, cannot be used.
        PolicyError: the policy is not valid.
    """
    policy = PolicyFile(settings.policy, write_event)
    parts = build_parts(policy().layers, models=settings.models, judge=settings.judge)
    threads = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="judge")
    panel = Panel(parts, threads, settings.layer_s, _tell_defect)
    store = open_store(settings.redis, REDIS_VARIABLE, settings.state)
    pipeline = Pipeline(policy, panel, key=MaskKeyFile(settings.mask_key, write_event))
    return LocalGuard(policy, pipeline, Anomaly(store, _tell_event))


def _tell_event(event: Event) -> None:
    write_event("anomaly", event.document())


def _tell_defect(error: BaseException) -> None:
    write_event("defect", describe_exception(type(error), error.__traceback__))
