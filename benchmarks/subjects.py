"""What is measured: the CLI, the boto3 script and the Ansible playbook, each as a person would run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from documents import documents_of
from measure import Sample, run

from mutx_infra.plan import TenantPlan
from mutx_infra.settings import cache_directory

ROOT = Path(__file__).resolve().parent.parent
BASELINES = ROOT / "benchmarks" / "baselines"
REQUIREMENTS = BASELINES / "ansible_requirements.txt"
CHANGES_PENDING = 10
_PROGRAM = str(Path(sys.executable).parent / "mutx-infra")


@dataclass(frozen=True)
class Bench:
    """A project directory with a sandbox of its own.

    Attributes:
        servers: pids of the sandbox's processes, by name.
        endpoint: the sandbox's AWS.
        provider: address of its provider daemon.
    """

    directory: Path
    servers: Mapping[str, int]
    endpoint: str
    provider: str

    def mutx(self, *arguments: str, expect: tuple[int, ...] = (0,)) -> Sample:
        """Measure one command of the CLI."""
        return run([_PROGRAM, *arguments], self.directory, self.servers, expect=expect)

    def boto3(self, action: str, plan: Path) -> Sample:
        """Measure the boto3 script; its receipt lies beside the plan."""
        script = str(BASELINES / "boto3_script.py")
        command = [
            sys.executable,
            script,
            action,
            str(plan),
            self.endpoint,
            str(plan.with_suffix(".receipt")),
        ]
        return run(command, self.directory, self.servers)

    def ansible(self, python: Path, plan: Path, prefix_list: str) -> Sample:
        """Measure the playbook."""
        program = str(python.with_name("ansible-playbook"))
        variables = {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": _region(plan), "LC_ALL": "C.UTF-8",
            "AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark",
            "ANSIBLE_HOME": str(self.directory / ".ansible"),
        }  # fmt: skip
        extra = ["-e", f"@{plan}", "-e", f"prefix_list={prefix_list}"]
        playbook = str(BASELINES / "ansible_playbook.yml")
        return run([program, *extra, playbook], self.directory, self.servers, variables=variables)

    def forget_work(self) -> None:
        """Remove the stacks' work directories, so that a tenant is as new as on a machine that never saw it."""
        shutil.rmtree(self.directory / ".mutx" / "stacks", ignore_errors=True)

    def write_spec(self, tenant: str) -> None:
        """Write a tenant's spec."""
        spec = json.dumps({"id": tenant, "region": "eu-west-1"})
        (self.directory / "tenants" / f"{tenant}.yaml").write_text(spec, encoding="utf-8")

    def write_plan(self, tenant: str) -> Path:
        """Write what `tenant preview --json` prints, and the plan's documents; return its path."""
        path = self.directory / f"{tenant}.json"
        seen = self.ask("tenant", "preview", tenant, "--json")
        documents = documents_of(TenantPlan.model_validate(seen["plan"]))
        path.write_text(json.dumps({**seen, "documents": documents}), encoding="utf-8")
        return path

    def ask(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        """Return a command's JSON."""
        return ask(self.directory, *arguments)


@contextmanager
def bench(directory: Path) -> Iterator[Bench]:
    """Start a sandbox in a new project directory; it ends with the context."""
    (directory / "tenants").mkdir(parents=True)
    shutil.copy(ROOT / "Pulumi.yaml", directory)
    try:
        up = ask(directory, "sandbox", "up", "--json")
        servers = {process["name"]: process["pid"] for process in up["processes"]}
        yield Bench(directory, servers, up["endpoints"]["aws"], up["endpoints"]["aws_provider"])
    finally:
        subprocess.run([_PROGRAM, "sandbox", "down", "--quiet"], cwd=directory, check=True)


def ask(directory: Path, *arguments: str) -> Any:  # noqa: ANN401 - JSON
    """Run a command of the CLI and return its JSON."""
    done = subprocess.run([_PROGRAM, *arguments], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode not in {0, CHANGES_PENDING}:
        sys.exit(f"{' '.join(arguments)}: exit status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def commit() -> str:
    """Return how git names what is measured."""
    command = [shutil.which("git") or "git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def ansible_python() -> Path | None:
    """Return the Python of Ansible's own environment, made at the first call; None where it cannot be had."""
    pins = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if "==" in line]
    home = cache_directory(os.environ) / f"benchmark-{pins[0].replace('==', '-')}"
    python = home / "bin" / "python"
    if (home / ".complete").exists():
        return python
    sys.stderr.write(f"making an environment for {pins[0]} (once, about a minute)\n")
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run(
            [
                str(python),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
                str(REQUIREMENTS),
            ],
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        sys.stderr.write(f"Ansible cannot be had, its rows are left out: {exc}\n")
        return None
    (home / ".complete").touch()
    return python


def s3_prefix_list(plan: Path, endpoint: str) -> str:
    """Return the id of the region's prefix list of S3; the collection has no module that looks it up."""
    import boto3  # noqa: PLC0415

    client = boto3.client(
        "ec2", endpoint_url=endpoint, region_name=_region(plan),
        aws_access_key_id="benchmark", aws_secret_access_key="benchmark",  # noqa: S106
    )  # fmt: skip
    lists = client.describe_prefix_lists()["PrefixLists"]
    return next(found["PrefixListId"] for found in lists if found["PrefixListName"].endswith(".s3"))


def _region(plan: Path) -> str:
    return str(json.loads(plan.read_text(encoding="utf-8"))["plan"]["region"])
