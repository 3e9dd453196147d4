"""Runs the playbooks on the hosts of a test as an operator would: by plain ansible-playbook and an inventory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests.support.machines import Hosts

ROLES = Path(__file__).resolve().parents[2] / "playbooks" / "roles"
PROVISION = Path(__file__).resolve().parents[2] / "playbooks" / "provision.yml"

ANSIBLE_PLAYBOOK = str(Path(sys.executable).parent / "ansible-playbook")
# As in the playbook, but the connection's process does not outlive the test.
SSH_ARGS = {
    "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=4s -o ServerAliveInterval=5 -o ServerAliveCountMax=3"
}

SSH_RULE = {"port": 22, "protocol": "tcp", "interface": "tailscale0", "source": None, "comment": "operators"}
API_RULE = {
    "port": 8080,
    "protocol": "tcp",
    "interface": "eth0",
    "source": "10.63.255.210/32",
    "comment": "guard",
}
API_RULE_6 = {**API_RULE, "source": "fd6d:7574:a3f:ff00::d2/128"}


@dataclass(frozen=True)
class Outcome:
    """What a run said."""

    status: int
    stats: dict[str, dict[str, int]]
    results: list[dict[str, Any]]
    text: str

    def changed(self) -> dict[str, int]:
        """Changed tasks by host."""
        return {host: counts["changed"] for host, counts in self.stats.items()}

    def said(self) -> str:
        """Every message of every task."""
        return "\n".join(str(result.get("msg", "")) for result in self.results)


@dataclass(frozen=True)
class Playbook:
    """The playbook on some hosts, with variables for all of them.

    Attributes:
        prefix: runs it somewhere else, e.g. in a visitor's network.
        ssh_options: come before the file's, and win.
        play: another playbook than the one for every host.
    """

    hosts: Hosts
    names: tuple[str, ...]
    folder: Path
    variables: dict[str, Any] = field(default_factory=dict)
    _: KW_ONLY
    prefix: tuple[str, ...] = ()
    ssh_options: str = ""
    play: Path = PROVISION
    group: str = "agent"

    def run_until(self, task: int) -> bool:
        """Run it and kill all of it, without a chance to clean up, after so many tasks; False where it ended before."""
        inventory = self.prepare({})
        events = self.folder / "events.jsonl"
        with tempfile.TemporaryDirectory(prefix="cp") as sockets:
            running = subprocess.Popen(
                [ANSIBLE_PLAYBOOK, "-i", str(inventory), str(PROVISION), "-e", json.dumps(SSH_ARGS)],
                env={**os.environ, "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets, **_callback(self.folder)},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0,
            )  # fmt: skip
            while running.poll() is None and len(events.read_text("utf-8").splitlines()) < task:
                time.sleep(0.01)
            was_running = running.poll() is None
            if was_running:
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        return was_running

    def run(self, *options: str, **variables: Any) -> Outcome:
        """Run it; the outcome is Ansible's own JSON."""
        return self.run_prepared(self.prepare(variables), *options)

    def run_prepared(self, inventory: Path, *options: str) -> Outcome:
        """Run it on an inventory that was written before."""
        # Ansible names its connections by host alone: in a shared directory it would meet another test's `trial-1`.
        with tempfile.TemporaryDirectory(prefix="cp") as sockets:
            command = [
                ANSIBLE_PLAYBOOK,
                "-i",
                str(inventory),
                str(self.play),
                "-e",
                json.dumps(SSH_ARGS),
                *options,
            ]
            places = {"ANSIBLE_SSH_CONTROL_PATH_DIR": sockets, "ANSIBLE_ROLES_PATH": str(ROLES)}
            done = subprocess.run(
                [*self.prefix, *command],
                env={**os.environ, **places, **_callback(self.folder)},
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False,
            )  # fmt: skip
        lines = (self.folder / "events.jsonl").read_text("utf-8").splitlines()
        events = [json.loads(line) for line in lines]
        stats = next((event["stats"] for event in events if "stats" in event), {})
        return Outcome(
            done.returncode, stats, [e for e in events if "stats" not in e], done.stdout + done.stderr
        )

    def prepare(self, variables: dict[str, Any] | None = None) -> Path:
        """Write the inventory; every host must let the converge account in."""
        for name in () if self.prefix else self.names:
            self.hosts.answer(name, "true")
        inventory = self.folder / "inventory.json"
        inventory.write_text(json.dumps(self._inventory(variables or {})), "utf-8")
        return inventory

    def _inventory(self, variables: dict[str, Any]) -> dict[str, Any]:
        ssh = f"{self.ssh_options} -F '{self.hosts.files() / 'ssh_config'}'".strip()
        base = {"sshd_allow_groups": ["mutx"], "ufw_incoming_rules": [SSH_RULE, API_RULE, API_RULE_6]}
        return {
            self.group: {
                "hosts": {name: {"ansible_ssh_common_args": ssh} for name in self.names},
                "vars": {**base, **self.variables, **variables},
            }
        }


def _callback(folder: Path) -> dict[str, str]:
    """Write each result as a line of JSON: ansible-core has no machine-readable output of its own."""
    plugins = folder / "callbacks"
    plugins.mkdir(exist_ok=True)
    (folder / "events.jsonl").write_text("", "utf-8")
    (plugins / "events.py").write_text(_EVENTS, "utf-8")
    return {
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_CALLBACK_PLUGINS": str(plugins),
        "ANSIBLE_CALLBACKS_ENABLED": "events",
        "MUTX_EVENTS": str(folder / "events.jsonl"),
    }


_EVENTS = """
import json, os
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME, CALLBACK_NEEDS_ENABLED = 2.0, "aggregate", "events", True

    def _write(self, event):
        with open(os.environ["MUTX_EVENTS"], "a") as file:
            file.write(json.dumps(event, default=str) + "\\n")

    def _result(self, result, **_):
        if hasattr(result, "task"):
            task, host, values = result.task, result.host, result.result
        else:
            task, host, values = result._task, result._host, result._result
        kept = {key: values[key] for key in ("msg", "changed", "diff", "reasons") if key in values}
        self._write({"task": task.get_name(), "host": host.get_name(), **kept})

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_unreachable = _result

    def v2_playbook_on_stats(self, stats):
        self._write({"stats": {host: stats.summarize(host) for host in stats.processed}})
"""


@dataclass
class Logins:
    """What a probe loop saw: logins that came in, those that did not, the longest time without one that did."""

    longest_gap_s: float = 0.0
    count: int = 0
    failed: int = 0


@contextmanager
def new_logins(hosts: Hosts, name: str) -> Iterator[Logins]:
    """Log in anew, over and over, while the block runs."""
    seen, is_over = Logins(), Event()

    def log_in() -> None:
        last = time.monotonic()
        while not is_over.is_set():
            is_in = (
                hosts.ssh(name, "true", "-o", "ControlPath=none", "-o", "ConnectTimeout=2").returncode == 0
            )
            now = time.monotonic()
            if is_in:
                seen.longest_gap_s = max(seen.longest_gap_s, now - last)
                seen.count, last = seen.count + 1, now
            else:
                seen.failed += 1
        seen.longest_gap_s = max(seen.longest_gap_s, time.monotonic() - last)

    thread = Thread(target=log_in)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()
