"""Runs the compliance suites by plain pytest on the hosts of a playbook, as an auditor would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.playbook import Playbook


def verdicts(playbook: Playbook, *suites: str) -> dict[str, str]:
    """The verdict of each control on the playbook's first host; all suites, or those named, e.g. `test_agent`.

    The playbook must have run: its inventory is taken.
    """
    written = json.loads((playbook.folder / "inventory.json").read_text("utf-8"))
    for group in written.values():
        group["vars"]["ansible_become"] = True
    packages = [f"mutx_infra.compliance.{suite}" for suite in suites] or ["mutx_infra.compliance"]
    # Ansible names its connections by host alone: in a shared directory it would meet another test's host.
    with tempfile.TemporaryDirectory(prefix="cp") as name:
        folder = Path(name)
        inventory, evidence = folder / "inventory.json", folder / "checks.jsonl"
        inventory.write_text(json.dumps(written), "utf-8")
        done = subprocess.run(
            [*playbook.prefix, sys.executable, "-m", "pytest", "--pyargs", *packages, "-q", "-p", "no:cacheprovider",
             "-c", os.devnull, f"--rootdir={folder}", f"--hosts=ansible://{playbook.names[0]}",
             f"--ansible-inventory={inventory}", f"--evidence={evidence}"],
            cwd=folder, capture_output=True, text=True, check=False, timeout=300,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                 "ANSIBLE_SSH_CONTROL_PATH_DIR": name},
        )  # fmt: skip
        assert evidence.exists(), done.stdout + done.stderr
        rows = [json.loads(line) for line in evidence.read_text("utf-8").splitlines()]
    for row in rows:
        if row["verdict"] == "fail":
            print(row)  # noqa: T201 - shown where the test fails
    return {row["control"]: row["verdict"] for row in rows}
