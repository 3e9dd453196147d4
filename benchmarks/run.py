"""Measure the tenant commands against a boto3 script and an Ansible playbook that make the same network.

`make bench` runs it and prints Markdown; `--write` puts it into docs/reference/figures.md. All figures of a table
come from one run on one machine, rounds interleaved, so that their ratios hold where the seconds do not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from measure import Series, resident_mib
from mutx_sandbox.aws.control import open_control
from page import paragraph, publish
from subjects import CHANGES_PENDING, ROOT, Bench, ansible_python, bench, commit, s3_prefix_list

FIGURES = ROOT / "docs" / "reference" / "figures.md"
SERVERS = {"aws_provider": "provider", "aws": "moto"}
TENANT = "acme"

COMMANDS = {
    "preview (new)": ("tenant", "preview", TENANT),
    "create": ("tenant", "create", TENANT),
    "converge, no refresh": ("tenant", "create", TENANT, "--no-refresh"),
    "converge, refresh": ("tenant", "create", TENANT),
    "preview (existing)": ("tenant", "preview", TENANT),
    "destroy": ("tenant", "destroy", TENANT, "--yes"),
}
"""In the order in which each round runs them; a create is of a new plan, which the policy pack has not judged yet."""

FLEET_COLUMNS = (
    "tenants", "create wall s", "create CPU s", "provider CPU s", "moto CPU s", "converge wall s",
    "`tenant list` s", "CLI peak MiB", "provider MiB", "moto MiB",
)  # fmt: skip

WHERE_IT_GOES = (
    "Where the rest goes: the engine saves its whole state before and after every resource, which is what a killed "
    "run is resumed from. With those saves off (`PULUMI_SKIP_CHECKPOINTS`, tried once by hand with the network alone, "
    "two runs of each) create took 2.0 s instead of 3.0 and destroy 1.5 s instead of 2.4. The pack adds 0.3 to 0.5 s "
    "to the create of a new plan (tried once by hand, three of each). Of a converge without refresh the larger part "
    "is Python: 0.3 s to import the SDKs, 0.2 s for botocore's clients, 0.3 s for pulumi_aws, and 0.5 s for the "
    "registrations."
)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmarks and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the one-tenant table")
    parser.add_argument(
        "--tenants", type=int, nargs="*", default=[1, 10, 50], help="sizes of the fleet table"
    )
    parser.add_argument("--without-ansible", action="store_true", help="leave the playbook out")
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.relative_to(ROOT)}")
    options = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory(prefix="mutx-bench-") as scratch:
        with bench(Path(scratch, "one")) as one:
            page = [_heading(), _one_tenant(one, options.rounds, with_ansible=not options.without_ansible)]
        if options.tenants:
            with bench(Path(scratch, "fleet")) as fleet:
                page.append(_fleet(fleet, options.tenants))
    text = "\n".join(page)
    publish(FIGURES, text, write=options.write)
    return 0


def _heading() -> str:
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in ("pulumi", "pulumi-aws", "boto3", "moto"))
    return f"""# Figures

Measured by `make bench` (`benchmarks/run.py`) on {datetime.now(UTC):%Y-%m-%d} at commit
{commit()}: {os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()},
Python {platform.python_version()}, {versions}.
The cloud is the sandbox's moto on loopback, so no network latency and no waiting for AWS is in these figures.
Seconds vary from machine to machine; the ratios, taken in one run, are what to compare.
"""


def _one_tenant(one: Bench, rounds: int, *, with_ansible: bool) -> str:
    one.write_spec(TENANT)
    plan = one.write_plan(TENANT)
    calls = _warm_up(one, plan)
    series = {name: Series() for name in (*COMMANDS, "boto3 create", "boto3 destroy")}
    for _ in range(rounds):
        for action in ("create", "destroy"):
            series[f"boto3 {action}"].samples.append(one.boto3(action, plan))
        one.forget_work()
        for name, command in COMMANDS.items():
            series[name].samples.append(one.mutx(*command, expect=(0, CHANGES_PENDING)))
    python = ansible_python() if with_ansible else None
    played = Series([one.ansible(python, plan, s3_prefix_list(plan, one.endpoint))] if python else [])
    rows = [_row(_shown(name), found) for name, found in series.items()]
    if played.samples:
        rows.append(_row("`amazon.aws` playbook, create (once)", played))
    lines = [
        "## One tenant\n",
        f"{calls['resources']} cloud resources (`starter` tier, one zone); median of {rounds} rounds.\n",
        "| command | wall s | from–to | CPU s | provider CPU s | moto CPU s |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        *_compared(series["create"], series["boto3 create"], played, calls),
    ]
    return "\n".join(lines) + "\n"


def _compared(create: Series, script: Series, played: Series, calls: dict[str, int]) -> list[str]:
    """Return the ratios in words."""
    texts = [
        f"`tenant create` makes {calls['provider']} calls to AWS through the provider and takes "
        f"{create.wall_s / script.wall_s:.1f} times as long as the boto3 script with its {calls['script']}, "
        "which keeps no state, compares nothing and cannot be run twice. " + WHERE_IT_GOES
    ]
    if played.samples:
        texts.append(
            f"The playbook, which makes the network alone, takes {played.wall_s / create.wall_s:.1f} times as long "
            "as `tenant create`, and "
            f"{played.cpu_s / create.cpu_s:.1f} times its CPU; most of the rest it sleeps in its modules' waiters."
        )
    return ["\n\n".join(map(paragraph, texts))]


def _warm_up(one: Bench, plan: Path) -> dict[str, int]:
    """Fill the caches of bytecode and of moto's imports before anything counts; return numbers of calls."""
    one.boto3("create", plan)
    script = json.loads(plan.with_suffix(".receipt").read_text(encoding="utf-8"))["calls"]
    one.boto3("destroy", plan)
    with open_control(one.provider) as control:
        control.calls(reset=True)
        one.mutx(*COMMANDS["create"])
        provider = sum(control.calls().values())
    one.mutx(*COMMANDS["destroy"])
    resources = len(json.loads(plan.read_text(encoding="utf-8"))["changes"]["resources"])
    return {"script": script, "provider": provider, "resources": resources}


def _shown(name: str) -> str:
    if name in COMMANDS:
        return f"{name}: `mutx-infra {' '.join(COMMANDS[name])}`"
    return f"{name}: `benchmarks/baselines/boto3_script.py`"


def _row(name: str, found: Series) -> str:
    servers = " | ".join(f"{found.server_cpu_s(server):.2f}" for server in SERVERS)
    return f"| {name} | {found.wall_s:.2f} | {found.spread} | {found.cpu_s:.2f} | {servers} |"


def _fleet(fleet: Bench, sizes: Sequence[int]) -> str:
    lines = [
        "## Many tenants in one environment\n",
        "Created one after the other; times are medians per tenant since the line above.\n",
        f"| {' | '.join(FLEET_COLUMNS)} |",
        f"|{' --- |' * len(FLEET_COLUMNS)}",
    ]
    made = 0
    for size in sorted(sizes):
        created = Series()
        for number in range(made, size):
            fleet.write_spec(f"tenant-{number}")
            created.samples.append(fleet.mutx("tenant", "create", f"tenant-{number}"))
        made = size
        converged = fleet.mutx("tenant", "create", "tenant-0", "--no-refresh")
        listed = fleet.mutx("tenant", "list")
        servers = " | ".join(f"{created.server_cpu_s(server):.2f}" for server in SERVERS)
        memory = " | ".join(f"{resident_mib(fleet.servers[server]):.0f}" for server in SERVERS)
        peak = max(sample.peak_mib for sample in created.samples)
        lines.append(
            f"| {size} | {created.wall_s:.2f} | {created.cpu_s:.2f} | {servers} | {converged.wall_s:.2f} "
            f"| {listed.wall_s:.2f} | {peak:.0f} | {memory} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
