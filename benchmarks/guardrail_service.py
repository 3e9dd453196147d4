"""What the guardrail's service costs beyond its pipeline, and what replicas and batches gain: asked over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(sys.executable).parent / "mutx-guardrail"
START_S = 120
CALLERS = 4
PROFANITY = "alt-profanity-check==1.9.1"
_PROFANITY_CODE = """
import json, sys, time
from profanity_check import predict_prob
texts, taken = json.load(sys.stdin), []
predict_prob(texts[:1])
for text in texts:
    began = time.perf_counter()
    predict_prob([text])
    taken.append(time.perf_counter() - began)
print(json.dumps(taken))
"""


@dataclass(frozen=True, slots=True)
class Replica:
    """A running service: its port and its process."""

    port: int
    pid: int

    def memory_mib(self) -> int:
        """Return how much of its memory is resident."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS:"))


@contextmanager
def replicas(count: int) -> Iterator[list[Replica]]:
    """Run so many services, each a process with a pool of threads of its own."""
    with ExitStack() as stack:
        own = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        started = [_start(stack, own / f"{number}.log") for number in range(count)]
        yield [Replica(_port(process, log), process.pid) for process, log in started]


def overhead(replica: Replica, texts: Sequence[str]) -> tuple[list[float], list[float]]:
    """Return for each text how many seconds the answer took beyond the verdict, and as many of `/healthz` alone."""
    connection = http.client.HTTPConnection("127.0.0.1", replica.port, timeout=60)
    beyond, alive = [], []
    for text in texts:
        began = time.perf_counter()
        answer = _ask(connection, "/v1/guard/input", {"text": text})
        beyond.append(time.perf_counter() - began - float(str(answer["latency_ms"])) / 1_000)
        began = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        alive.append(time.perf_counter() - began)
    return beyond, alive


def per_second(running: Sequence[Replica], texts: Sequence[str], batch: int) -> float:
    """Return how many texts a second all replicas judge together, asked side by side in batches of such a size."""
    batches = [texts[at : at + batch] for at in range(0, len(texts), batch)]

    def ask(number: int) -> None:
        port = running[number % len(running)].port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        for each in batches[number::CALLERS]:
            items = [{"text": text} for text in each]
            _ask(connection, "/v1/guard/batch", {"items": items})

    began = time.perf_counter()
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(ask, range(CALLERS)))
    return len(texts) / (time.perf_counter() - began)


def profanity_times(texts: Sequence[str]) -> list[float]:
    """Return what alt-profanity-check takes for each text; empty where no index has it.

    Its models are pickles: it is installed into an environment of its own, which ends with the measurement.
    """
    with tempfile.TemporaryDirectory() as own:
        python = Path(own) / "bin" / "python"
        steps = (
            [sys.executable, "-m", "venv", own],
            [str(python), "-m", "pip", "install", "--quiet", PROFANITY],
        )
        for step in steps:
            if subprocess.run(step, check=False, capture_output=True).returncode:
                return []
        done = subprocess.run(
            [str(python), "-W", "ignore", "-c", _PROFANITY_CODE], input=json.dumps(list(texts)),
            capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        return [float(each) for each in json.loads(done.stdout)] if done.returncode == 0 else []


def _start(stack: ExitStack, log: Path) -> tuple[subprocess.Popen[bytes], Path]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(SCRIPT), "serve"],
            env={"PATH": os.environ["PATH"], "MUTX_GUARDRAIL_PORT": "0", "MUTX_GUARDRAIL_MAX_TEXTS": "1000"},
            stdout=out, stderr=out,
        )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process, log


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if '"listening"' in line:
                return int(json.loads(line)["port"])
        time.sleep(0.1)
    raise SystemExit(f"the service did not start: {log.read_text()[-500:]}")


def _ask(connection: http.client.HTTPConnection, path: str, document: object) -> dict[str, object]:
    connection.request("POST", path, json.dumps(document).encode(), {"content-type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != http.client.OK:
        raise SystemExit(f"{path}: {answer.status}")
    document = json.loads(content)
    assert isinstance(document, dict)  # noqa: S101 - what the service promises
    return document
