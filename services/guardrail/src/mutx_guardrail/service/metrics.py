"""Prometheus metrics: counts and times, by check, layer, direction and declared agent; never text, never a caller."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mutx_guardrail.verdict import Verdict

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_RUN_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 1_000)
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._verdicts = Counter(
            "mutx_guardrail_verdicts",
            "Texts that were judged",
            ["direction", "allowed"],
            registry=self._registry,
        )
        self._failed = Counter(
            "mutx_guardrail_checks_failed", "Checks that did not pass", ["direction", "check", "action"],
            registry=self._registry,
        )  # fmt: skip
        self._unavailable = Counter(
            "mutx_guardrail_layer_unavailable", "Times that a layer could not judge", ["layer"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "mutx_guardrail_verdict_seconds", "Time from the text to its verdict", ["direction"],
            buckets=_BUCKETS, registry=self._registry,
        )  # fmt: skip
        self._running = Gauge("mutx_guardrail_texts_running", "Texts being judged", registry=self._registry)

        self._runs = Counter(
            "mutx_guardrail_runs", "Runs of agents, by how they ended", ["agent", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._run_seconds = Histogram(
            "mutx_guardrail_run_seconds", "Time from a run's request to its end", ["agent"],
            buckets=_RUN_BUCKETS, registry=self._registry,
        )  # fmt: skip

    def count(self, verdict: Verdict, direction: str) -> None:
        """Count one verdict."""
        self._verdicts.labels(direction, str(verdict.allowed).lower()).inc()
        self._seconds.labels(direction).observe(verdict.latency_ms / 1_000)
        for check in verdict.checks:
            if not check.passed:
                self._failed.labels(
                    direction, check.name.value, check.action.value if check.action else ""
                ).inc()
            for layer in check.unavailable:
                self._unavailable.labels(layer.value).inc()

    def count_run(self, agent: str, status: str, took_s: float) -> None:
        """Count one run that has ended; `status` is `completed`, `hung-up` or a problem's code."""
        self._runs.labels(agent, status).inc()
        self._run_seconds.labels(agent).observe(took_s)

    def running(self, number: int) -> None:
        """Note how many texts are being judged."""
        self._running.set(number)

    def expose(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self._registry)
