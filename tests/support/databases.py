"""A database host of a test: its clients from other places of the network, and what its administrator does."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field

from mutx_sandbox.machines.rootfs import Image

from mutx_infra.settings import cache_directory
from tests.support.machines import NSENTER, SSH, Hosts, Visitor

HOST = "trial-1"


@dataclass(frozen=True)
class Client:
    """Somebody in the network with Debian's clients, who knows a password or not."""

    visitor: Visitor
    address: str
    postgresql: str = field(repr=False)
    redis: str = field(repr=False)

    def psql(self, sql: str, password: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        said = {
            "host": self.address,
            "user": "app",
            "dbname": "app",
            "sslmode": "require",
            "connect_timeout": "5",
            **more,
        }
        line = " ".join(f"{name}={value}" for name, value in {**said, **more}.items())
        return self._run("psql", "-XqAt", line, "-c", sql, PGPASSWORD=password or self.postgresql)

    def redis_cli(self, *command: str, password: str = "", user: str = "app", plain: bool = False) -> str:
        way = [
            "-h",
            self.address,
            "--user",
            user,
            "--no-auth-warning",
            *([] if plain else ["--tls", "--insecure"]),
        ]
        done = self._run("redis-cli", *way, *command, REDISCLI_AUTH=password or self.redis)
        return f"{done.stdout}{done.stderr}".strip()

    def _run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        image = Image()
        root = cache_directory(os.environ) / "machines" / f"{image.suite}-{image.digest}"
        return subprocess.run(
            [NSENTER, f"--net={self.visitor.place}", "chroot", str(root), *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


def as_root(hosts: Hosts, script: str, name: str = HOST) -> str:
    done = subprocess.run(
        [SSH, "-F", str(hosts.files() / "ssh_config"), name, "sudo", "sh", "-s"],
        input=script, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def sql(hosts: Hosts, statement: str, database: str = "app") -> str:
    return as_root(
        hosts, f"cd /; runuser -u postgres -- psql -XqAt -d {database} <<'END'\n{statement}\nEND\n"
    )


def as_owner(hosts: Hosts, statement: str) -> None:
    sql(hosts, f"SET ROLE app_owner; {statement};")
