"""Measure the tailnet's policy by the number of tenants: composing, writing, every node's filter, its tests, reading.

`.venv/bin/python benchmarks/tailnet.py` prints Markdown; `--write` puts it into docs/reference/figures-tailnet.md. Each
size has a process of its own, on one core, since what it takes at most in memory is of interest.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from page import publish, table_page
from subjects import ROOT, commit

from mutx_infra.naming import tailnet_tag, tenant_tailnet_tag
from mutx_infra.tailnet.composition import Member, Platform, compose, tailnet_roles
from mutx_infra.tailnet.evaluation import Evaluator, Identity
from mutx_infra.tailnet.policy import read_policy

FIGURES = ROOT / "docs" / "reference" / "figures-tailnet.md"
SIZES = (10, 100, 1000, 10_000)
FIRST = IPv4Address("100.64.0.1")
_MIB = 1024
"""Of `ru_maxrss`, which Linux gives in KiB."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tenants", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.relative_to(ROOT)}")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one is not None:
        sys.stdout.write(json.dumps(_measure(options.one)))
        return 0
    text = _page([_in_a_process(number) for number in options.tenants])
    publish(FIGURES, text, write=options.write)
    return 0


def _in_a_process(number: int) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__)), "--one", str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _measure(number: int) -> dict[str, float]:
    """Measure one size. Seconds are of the processor."""
    members = [Member(f"t{n:05d}", (f"admin@{n}.example",), (f"client@{n}.example",)) for n in range(number)]
    nodes = _nodes(members)
    took: dict[str, float] = {"tenants": number}

    def timed(name: str, action: Callable[[], object]) -> object:
        begun = time.process_time()
        result = action()
        took[name] = time.process_time() - begun
        return result

    policy = compose(members, Platform(("operator@example.com",))).policy
    timed("compose", lambda: compose(members, Platform(("operator@example.com",))))
    timed("filters", lambda: Evaluator(policy).filters(nodes))
    failed = timed("tests", lambda: Evaluator(policy).failed_tests())
    if failed:
        sys.exit(f"the policy's own tests fail: {failed}")
    took["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB
    text = str(timed("write", policy.text))
    timed("read", lambda: read_policy(text))
    took["bytes"] = len(text.encode())
    return took


def _nodes(members: Sequence[Member]) -> dict[str, Identity]:
    tags = [tenant_tailnet_tag(member.id, role) for member in members for role in tailnet_roles()]
    tags.append(tailnet_tag("control-plane"))
    return {tag: Identity(tags=(tag,), addresses=(FIRST + n,)) for n, tag in enumerate(tags)}


def _page(rows: Sequence[dict[str, float]]) -> str:
    where = (
        f"Measured by `.venv/bin/python benchmarks/tailnet.py` on {datetime.now(UTC):%Y-%m-%d} at commit {commit()}, "
        f"Python {platform.python_version()}, on one core. Seconds of the processor. The filters are those of every "
        "node, four for each tenant and the control plane's; the tests are all that the policy brings along; the peak "
        "is what the process held until then, the policy and all filters included."
    )
    columns = "| tenants | compose s | filters s | tests s | peak MiB | write s | read s | bytes a tenant |"
    return table_page("Figures of the tailnet", where, columns, [_row(row) for row in rows])


def _row(row: dict[str, float]) -> str:
    return (
        f"| {row['tenants']:,.0f} | {row['compose']:.2f} | {row['filters']:.2f} | {row['tests']:.2f} "
        f"| {row['peak']:.0f} | {row['write']:.2f} | {row['read']:.2f} | {row['bytes'] / row['tenants']:,.0f} |"
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
