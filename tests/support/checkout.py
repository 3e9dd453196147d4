"""A copy of what an operator has in a checkout, and the installed CLI run in it as a person would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import yaml

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Checkout:
    """A directory with specs and Pulumi.yaml, with a sandbox of its own."""

    root: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).parent / "mutx-infra"), *arguments]

    def run(self, *arguments: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if expect is not None:
            assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def json(self, *arguments: str, expect: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", expect=expect).stdout)

    @property
    def endpoint(self) -> str:
        """Where the sandbox's AWS listens, as its profile says: `sandbox status` says the same in 0.3 s."""
        profile = self.root / ".mutx/sandbox/environment.yaml"
        return str(yaml.safe_load(profile.read_text(encoding="utf-8"))["aws"]["endpoint_url"])

    def aws(self, service: str, region: str = "eu-west-1") -> Any:
        return _client(self.endpoint, service, region)

    def write_spec(self, tenant: str, **more: object) -> Path:
        path = self.root / "tenants" / f"{tenant}.yaml"
        path.write_text(json.dumps({"id": tenant, "region": "eu-west-1", **more}), encoding="utf-8")
        return path


@cache
def _client(endpoint: str, service: str, region: str) -> Any:
    """Make a client once: loading a service's model takes 0.1 s, EC2's more."""
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def make_checkout(root: Path) -> Checkout:
    (root / "tenants").mkdir(parents=True)
    shutil.copy(ROOT / "Pulumi.yaml", root)
    return Checkout(root)
