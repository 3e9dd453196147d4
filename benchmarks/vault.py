"""Measure a tenant's Vault: how soon it is there, how soon a key reaches an agent, and what our layer costs.

`.venv/bin/python benchmarks/vault.py` starts a server and a Vault Agent of its own on loopback and prints Markdown;
`--write` puts it into docs/reference/figures-vault.md. What is compared is compared in this one run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

import hvac
from page import Row, publish, table_page
from subjects import ROOT, commit

sys.path.insert(0, str(ROOT))

from mutx_infra.vault.agent import key_paths
from tests.support.vault import BAO, RunningVault, running_vault
from tests.support.vault_machine import Machine, deposit

FIGURES = ROOT / "docs" / "reference" / "figures-vault.md"
READS, CLI_READS, ROTATIONS, DEPOSITS, THREADS = 400, 20, 30, 50, 8
PATIENCE_S = 60


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    publish(FIGURES, _page(_measure()), write=options.write)
    return 0


def _measure() -> list[Row]:
    begun = time.monotonic()
    with running_vault() as vault, tempfile.TemporaryDirectory(prefix="mutx-bench-") as folder:
        rows = [
            Row("server started → self-initialised, unsealed, complete", _seconds(time.monotonic() - begun))
        ]
        rows += _deposits(vault)
        rows += _deliveries(vault, Path(folder) / "machine")
        rows += _reads(vault)
        rows.append(Row("memory of the server, resident", f"{_resident_mib(vault.process)} MiB"))
    return rows


def _deposits(vault: RunningVault) -> list[Row]:
    admin = vault.as_admin()
    took = [
        _timed(lambda number=number: deposit(admin, f"byok/data/shared/p{number}", "sk-bench"))  # type: ignore[misc]
        for number in range(DEPOSITS)
    ]
    return [Row("deposit of a key, with a look at its version", _spread(took))]


def _deliveries(vault: RunningVault, folder: Path) -> list[Row]:
    """Measure from an agent's start, and from a rotation, to the file."""
    admin, machine = vault.as_admin(), Machine(vault, folder)
    machine.prepare()
    machine.enroll(admin)
    path, file = key_paths(machine.key, "openai")[0], machine.file("openai")
    deposit(admin, path, "sk-0")
    begun = time.monotonic()
    with machine.running() as agent:
        _await(lambda: file.exists() and file.read_text() == "sk-0")
        rows = [Row("Vault Agent started → key in its file", _seconds(time.monotonic() - begun))]
        took = []
        for number in range(1, ROTATIONS + 1):
            # Not in step with the rhythm in which the agent looks.
            time.sleep(0.37 * (number % 7))
            deposit(admin, path, f"sk-{number}")
            took.append(_timed(lambda number=number: _await(lambda: file.read_text() == f"sk-{number}")))  # type: ignore[misc]
        rows.append(Row("rotation → the agent has the new key", _spread(took)))
        rows.append(Row("memory of the Vault Agent, resident", f"{_resident_mib(agent)} MiB"))
    return rows


def _reads(vault: RunningVault) -> list[Row]:
    admin = vault.as_admin()
    deposit(admin, "byok/data/shared/bench", "sk-bench")
    bare = hvac.Client(url=vault.url, token=admin._client.token, verify=str(_authority(vault)))
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: admin.read("byok/data/shared/bench"),
        "hvac": lambda: bare.read("byok/data/shared/bench"),
    }
    for read in ways.values():
        read()
    rates = {name: {1: [0.0], THREADS: [0.0]} for name in ways}
    for _ in range(3):  # in turns, so that a slow moment hits both
        for name, read in ways.items():
            for threads in (1, THREADS):
                rates[name][threads].append(_rate(read, threads))
    cli = _rate(lambda: _bao_reads(vault, admin._client.token), 1, CLI_READS)
    rows = []
    for threads in (1, THREADS):
        ours, theirs = max(rates["ours"][threads]), max(rates["hvac"][threads])
        rows.append(
            Row(
                f"reads of a key a second, {threads} thread{'s' if threads > 1 else ''}",
                f"{ours:,.0f}",
                f"{theirs:,.0f} by a plain hvac loop: ratio {ours / theirs:.2f}",
            )
        )
    rows.append(Row("reads a second by the CLI `bao kv get`, a process each", f"{cli:,.1f}"))
    return rows


def _bao_reads(vault: RunningVault, token: str) -> None:
    variables = {"BAO_ADDR": vault.url, "BAO_CACERT": str(_authority(vault)), "BAO_TOKEN": token}
    command = [BAO, "read", "-format=json", "byok/data/shared/bench"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **variables})


def _authority(vault: RunningVault) -> Path:
    path = vault.folder / "bench-ca.pem"
    path.write_text(vault.server_ca.pem, encoding="ascii")
    return path


def _rate(read: Callable[[], object], threads: int, reads: int = READS) -> float:
    begun = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(read) for _ in range(reads)]:
            done.result()
    return reads / (time.monotonic() - begun)


def _timed(do: Callable[[], object]) -> float:
    begun = time.monotonic()
    do()
    return time.monotonic() - begun


def _await(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError("what is measured did not come about")
        time.sleep(0.005)


def _resident_mib(process: subprocess.Popen[bytes] | None) -> int:
    """Return the memory of a process and of those below it, in MiB, from /proc."""
    if process is None:
        return 0
    tree = {process.pid}
    parents = {
        int(entry.name): int(stat.rpartition(")")[2].split()[1])
        for entry in Path("/proc").glob("[0-9]*")
        if (stat := _read(entry / "stat"))
    }
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    pages = sum(int(said.split()[1]) for pid in tree if (said := _read(Path(f"/proc/{pid}/statm"))))
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _spread(took: Sequence[float]) -> str:
    """Return median, 99th percentile and number of what was measured."""
    cut = quantiles(took, n=100, method="inclusive")[98]
    scale, unit = (1, "s") if median(took) >= 1 else (1000, "ms")
    return f"p50 {median(took) * scale:.3g} {unit}, p99 {cut * scale:.3g} {unit} ({len(took)} times)"


def _page(rows: Sequence[Row]) -> str:
    version = subprocess.run([BAO, "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    where = (
        f"Measured by `.venv/bin/python benchmarks/vault.py` on {datetime.now(UTC):%Y-%m-%d} at commit {commit()}, "
        f"OpenBao {version}, one node with raft storage and a static seal, server, agent and client on a machine with "
        f"{os.cpu_count()} cores, on loopback with TLS 1.3. What counts is the ratio."
    )
    return table_page("Figures of a tenant's Vault", where, "| what | measured | beside |",
                      [f"| {row.what} | {row.value} | {row.beside} |" for row in rows])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
