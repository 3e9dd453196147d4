"""The guard of the egress: the same pipeline as the service's, in the egress's own process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from mutx_service.journal import describe_exception, write_event

from mutx_guardrail.egress.settings import PREFIX
from mutx_guardrail.panel import Panel
from mutx_guardrail.parts import build_parts
from mutx_guardrail.pipeline import Pipeline
from mutx_guardrail.service.policy_file import PolicyFile
from mutx_guardrail.service.process import read_key
from mutx_guardrail.service.settings import Settings, read_settings


def read_guard_settings(variables: Mapping[str, str]) -> Settings:
    """Return what judges, from the same variables as the service's; those of the egress are read elsewhere.

    Raises:
        SettingsError: the first variable that is wrong.
    """
    return read_settings({name: value for name, value in variables.items() if not name.startswith(PREFIX)})


def build_local_guard(settings: Settings) -> Pipeline:
    """Build the pipeline; it takes one to two seconds with the models.

    Raises:
        SettingsError: the key of masks cannot be used.
        PolicyError: the policy is not valid.
    """
    policy = PolicyFile(settings.policy, write_event)
    parts = build_parts(policy().layers, models=settings.models, judge=settings.judge)
    threads = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="judge")
    return Pipeline(policy, Panel(parts, threads, settings.layer_s, _tell_defect), key=read_key(settings))


def _tell_defect(error: BaseException) -> None:
    write_event("defect", describe_exception(type(error), error.__traceback__))
