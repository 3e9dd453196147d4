"""Measure the hardening of hosts: by the command, the playbook, Ansible's default settings, and mitogen.

`make bench-hosts` runs it as root and prints Markdown; `--write` puts it into docs/reference/figures-hosts.md. For each
number of hosts and each way the machines are made anew, so that a first run is one.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import yaml
from measure import Sample, Series, run
from page import publish, table_page
from subjects import ROOT, Bench, bench, commit

from mutx_infra.settings import cache_directory

FIGURES = ROOT / "docs" / "reference" / "figures-hosts.md"
PLAYBOOKS = ROOT / "playbooks"
TENANT = "acme"
HOSTS = ("mgmt-1", "agent-1", "guard-1", "database-1")
"""In the order in which they are taken: a database is reached through mgmt."""
MITOGEN = "0.3.54"
_BIN = Path(sys.executable).parent
_RECAP = re.compile(r": ok=(\d+) +changed=(\d+)")


@dataclass(frozen=True)
class Way:
    """One way to bring hosts up to the playbooks.

    Attributes:
        title: with the command.
        command: given the inventory and the names of the hosts.
        variables: of its process.
    """

    title: str
    command: tuple[str, ...]
    variables: Mapping[str, str]


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hosts", type=int, nargs="*", default=[1, 2, 4], choices=range(1, len(HOSTS) + 1))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.relative_to(ROOT)}")
    options = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory(prefix="mutx-bench-") as scratch, bench(Path(scratch, "one")) as one:
        one.write_spec(TENANT)
        one.mutx("tenant", "create", TENANT)
        rows = [row for number in options.hosts for row in _rows(one, HOSTS[:number], options.rounds)]
    text = _page(rows, options.rounds)
    publish(FIGURES, text + _remarks() if options.write else text, write=options.write)
    return 0


def _remarks() -> str:
    """Return what somebody wrote below the figures; it stays."""
    written = FIGURES.read_text(encoding="utf-8") if FIGURES.is_file() else ""
    heading = written.find("\n## ")
    return written[heading:] if heading >= 0 else ""


def _page(rows: Sequence[str], rounds: int) -> str:
    where = (
        f"Measured by `make bench-hosts` (`benchmarks/hosts.py`) on {datetime.now(UTC):%Y-%m-%d} at commit "
        f"{commit()}: {os.cpu_count()} cores for the controller and all hosts together, ansible-core "
        f"{version('ansible-core')}, hosts of the sandbox (systemd-nspawn, Debian 12); medians of {rounds} round(s). "
        "CPU is the controller's. A first run starts from the image, a second one finds nothing to do. "
        "Seconds vary from machine to machine; the ratios, taken in one run, are what to compare."
    )
    columns = "| hosts | way | start s | first s | second s | first CPU s | second CPU s | tasks/s, second |"
    return table_page("Figures of hosts", where, columns, rows)


def _rows(one: Bench, hosts: Sequence[str], rounds: int) -> Iterator[str]:
    for way in _ways(one, hosts):
        starts, first, second = Series(), Series(), Series()
        for _ in range(rounds):
            one.mutx("sandbox", "hosts", "down")
            starts.samples.append(one.mutx("sandbox", "hosts", "up", "--tenant", TENANT, *_chosen(hosts)))
            first.samples.append(_run(one, way))
            second.samples.append(_run(one, way))
            changes = sum(int(changed) for _, changed in _RECAP.findall(second.samples[-1].said))
            if changes:
                sys.exit(f"{way.title}: the second run changed {changes}\n{second.samples[-1].said}")
        tasks = sum(int(ok) for ok, _ in _RECAP.findall(second.samples[-1].said))
        rate = f"{tasks / second.wall_s:.0f}" if tasks else "-"
        yield (
            f"| {len(hosts)} | {way.title} | {starts.wall_s:.1f} | {first.wall_s:.1f} | {second.wall_s:.1f} "
            f"| {first.cpu_s:.1f} | {second.cpu_s:.1f} | {rate} |"
        )
    one.mutx("sandbox", "hosts", "down")


def _run(one: Bench, way: Way) -> Sample:
    return run(way.command, one.directory, one.servers, variables=way.variables)


def _ways(one: Bench, hosts: Sequence[str]) -> Iterator[Way]:
    one.mutx("sandbox", "hosts", "up", "--tenant", TENANT, *_chosen(hosts))
    inventory = one.directory / "inventory.json"
    printed = subprocess.run(
        [str(_BIN / "mutx-infra"), "hosts", "inventory", TENANT, *_chosen(hosts)],
        cwd=one.directory, capture_output=True, text=True, check=True,
    )  # fmt: skip
    inventory.write_text(printed.stdout, encoding="utf-8")
    yield Way(
        "`mutx-infra hosts harden acme`",
        (str(_BIN / "mutx-infra"), "hosts", "harden", TENANT, *_chosen(hosts)),
        {},
    )
    playbook = (str(_BIN / "ansible-playbook"), "-i", str(inventory))
    yield Way("`ansible-playbook provision.yml`", (*playbook, str(PLAYBOOKS / "provision.yml")), {})
    plain = _plain(one.directory)
    yield Way(
        "the same with Ansible's defaults",
        (*playbook, str(plain)),
        {"ANSIBLE_ROLES_PATH": str(PLAYBOOKS / "roles")},
    )
    if strategies := _mitogen():
        yield Way(
            f"`provision.yml` with mitogen {MITOGEN}",
            (*playbook, str(_plain(one.directory, strategy="mitogen_free"))),
            {"ANSIBLE_STRATEGY_PLUGINS": str(strategies), "ANSIBLE_ROLES_PATH": str(PLAYBOOKS / "roles")},
        )


def _plain(directory: Path, strategy: str | None = None) -> Path:
    """Write the playbook without the settings that make it fast; with a strategy, with that one instead."""
    (play,) = yaml.safe_load((PLAYBOOKS / "provision.yml").read_text(encoding="utf-8"))
    if strategy is None:
        for setting in ("strategy", "gather_facts", "vars"):
            play.pop(setting, None)
    else:
        play["strategy"] = strategy
    place = directory / f"{strategy or 'plain'}.yml"
    place.write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
    return place


def _mitogen() -> Path | None:
    """Return mitogen's strategy plugins, fetched at the first call; None where it cannot be had."""
    home = cache_directory(os.environ) / f"benchmark-mitogen-{MITOGEN}"
    place = home / "ansible_mitogen" / "plugins" / "strategy"
    if not place.is_dir():
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        done = subprocess.run([*command, "--target", str(home), f"mitogen=={MITOGEN}"], check=False)
        if done.returncode != 0:
            sys.stderr.write("mitogen cannot be had, its rows are left out\n")
            return None
    return place


def _chosen(hosts: Sequence[str]) -> list[str]:
    return [word for host in hosts for word in ("--host", host)]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
