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
LIMIT_S = 300
"""For one command: the longest, `platform create`, took 40 s beside other work and over 120 s on a crowded machine."""


@dataclass(frozen=True)
class Checkout:
    """A directory with specs and Pulumi.yaml, with a sandbox of its own."""

    root: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).parent / "mutx-infra"), *arguments]

    def run(
        self, *arguments: str, expect: int | None = 0, limit_s: float = LIMIT_S
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
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

    def aws(self, service: str, region: str = "eu-west-1", account: str | None = None) -> Any:
        """A client in the sandbox's own account, or in another one, entered by its role."""
        keys: Keys = ("test", "test", None)
        if account is not None:
            entered = self.aws("sts").assume_role(
                RoleArn=f"arn:aws:iam::{account}:role/mutx-deploy",
                RoleSessionName="test",
                ExternalId="mutx-sandbox",
            )["Credentials"]
            keys = (entered["AccessKeyId"], entered["SecretAccessKey"], entered["SessionToken"])
        return _client(self.endpoint, service, region, keys)

    def profile(self, name: str, **parts: dict[str, Any] | None) -> str:
        """Write the sandbox's profile with some fields changed; None takes a field or a part out. Returns its name."""
        content = yaml.safe_load((self.root / ".mutx/sandbox/environment.yaml").read_text(encoding="utf-8"))
        for part, fields in parts.items():
            if fields is None:
                del content[part]
                continue
            merged = {**content[part], **fields}
            content[part] = {field: value for field, value in merged.items() if value is not None}
        path = self.root / "environments" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return name

    def write_spec(self, tenant: str, **more: object) -> Path:
        path = self.root / "tenants" / f"{tenant}.yaml"
        path.write_text(json.dumps({"id": tenant, "region": "eu-west-1", **more}), encoding="utf-8")
        return path


Keys = tuple[str, str, str | None]
"""An access key, its secret, and a session's token."""


@cache
def _client(endpoint: str, service: str, region: str, keys: Keys) -> Any:
    """Make a client once: loading a service's model takes 0.1 s, EC2's more."""
    key, secret, token = keys
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
    )


def make_checkout(root: Path) -> Checkout:
    (root / "tenants").mkdir(parents=True)
    shutil.copy(ROOT / "Pulumi.yaml", root)
    (root / "tools").symlink_to(ROOT / "tools")
    return Checkout(root)


def copy_platform(checkout: Checkout) -> None:
    """Put the repository's platform spec into a checkout, without what was allocated for it."""
    shutil.copytree(
        ROOT / "platform", checkout.root / "platform", ignore=shutil.ignore_patterns("*.lock.yaml")
    )


def copy_programs(checkout: Checkout) -> None:
    """Put the repository's Pulumi programs into a checkout."""
    if not (checkout.root / "stacks").exists():
        shutil.copytree(
            ROOT / "stacks", checkout.root / "stacks", ignore=shutil.ignore_patterns("__pycache__")
        )
