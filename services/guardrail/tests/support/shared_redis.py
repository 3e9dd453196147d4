"""A Redis as a tenant's data host has it: by TLS with certificates of one CA, its users with the role's own rules."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import yaml
from authority import Authority
from mutx_guardrail.anomaly.shared import RedisSettings, open_store
from mutx_guardrail.anomaly.store import Store
from mutx_service.settings import TlsFiles
from pydantic import SecretStr
from redis_process import RedisServer
from tls_front import TlsFront

ROLE = Path(__file__).resolve().parents[4] / "playbooks/roles/redis"
DATABASE, GUARD, PASSWORD = "acme-database-1", "acme-guard-1", "a-password-of-the-guards"


def users(*passwords: str) -> str:
    """Return the file of users: as the role has them, but for the test's own that may do anything."""
    variables = yaml.safe_load((ROLE / "vars/main/main.yml").read_text())
    digests = " ".join(f"#{sha256(each.encode()).hexdigest()}" for each in passwords)
    return (
        "user default on nopass ~* &* +@all\n"
        f"user guard on {digests} resetkeys ~{variables['redis_guard_prefix']}* resetchannels -@all "
        f"{' '.join(variables['redis_guard_commands'])}\n"
        "user app on >app-app-app-app-app resetkeys ~app:* resetchannels &app:* -@all +@read +@write\n"
    )


class SharedRedis:
    """The server behind its TLS, and what a guard is told of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tenant = folder, Authority(folder, "tenant")
        self.acl, self.password_file = folder / "users.acl", folder / "redis-password"
        self.acl.write_text(users(PASSWORD))
        self.password_file.write_text(f"{PASSWORD}\n")
        self.server = RedisServer(folder, "--aclfile", str(self.acl))
        self.shown = self.tenant.issue(DATABASE, into=folder / "server.pem")
        self.mine = self.tenant.issue(GUARD, into=folder / "guard.pem")
        self.front = TlsFront(TlsFiles(self.shown, self.shown, self.tenant.file), folder / "redis.sock")

    def start(self) -> None:
        self.server.start()
        self.front.start()

    def stop(self) -> None:
        self.front.stop()
        self.server.kill()

    def renew(self, valid_for: timedelta = timedelta(hours=1)) -> None:
        """Give both sides new certificates, each in the place of its former one."""
        self.tenant.issue(DATABASE, valid_for=valid_for, into=self.shown)
        self.tenant.issue(GUARD, valid_for=valid_for, into=self.mine)

    def settings(self, *, host: str = "localhost", user: str = "guard", **tls: Path) -> RedisSettings:
        given = {"certificate": self.mine, "key": self.mine, "ca": self.tenant.file} | tls
        url = SecretStr(f"rediss://{user}@{host}:{self.front.port}/0")
        return RedisSettings(url, TlsFiles(**given), self.password_file)

    def replica(self, **changed: str) -> Store:
        return open_store(self.settings(**changed), "REDIS_CERTIFICATE")

    def variables(self) -> dict[str, str]:
        """Return the service's settings for it."""
        return {
            "REDIS_URL": f"rediss://guard@localhost:{self.front.port}/0",
            "REDIS_CERTIFICATE": str(self.mine), "REDIS_KEY": str(self.mine), "REDIS_CA": str(self.tenant.file),
            "REDIS_PASSWORD_FILE": str(self.password_file),
        }  # fmt: skip
