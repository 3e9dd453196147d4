"""Let the running server have its configuration and users, and notice where it no longer does.

All of it is asked of the server itself: a setting or a user that was changed by hand is mended like one that a killed
run did not reach. Passwords are read on the host, and the server is given their digests only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: redis_live
short_description: Put configuration and users of a Redis server in force
description:
  - Starts the server where it does not run, tells it the settings that differ, and restarts it where one of them
    cannot be told. The file of users is made on the host, from C(users) and the passwords in C(secrets).
author: mutx.dev
options:
  configuration: {description: The server's configuration file., type: path, required: true}
  settings: {description: What is in it, as C(CONFIG GET) says it., type: dict, required: true}
  users: {description: The users without their passwords., type: path, required: true}
  acl: {description: The file of users that the server reads., type: path, required: true}
  secrets: {description: The directory of passwords., type: path, required: true}
  fingerprint: {description: SHA-256 of the certificate that is to be served., type: str, default: ""}
  is_pending: {description: Files were landed (in check mode they would have been)., type: bool, default: false}
  guards: {description: Names of the hosts whose guards share state here., type: list, elements: str, default: []}
  digests: {description: SHA-256 of their passwords; the last one where it is missing., type: dict, default: {}}
  drop_in: {description: The unit's own file, with which a server starts., type: path, required: true}
"""

EXAMPLES = r"""
- name: Put configuration and users in force
  redis_live:
    configuration: /etc/redis/mutx.conf
    settings: {port: "0", tls-port: "6379"}
    users: /etc/redis/mutx-users.acl
    acl: /etc/redis/mutx.acl
    secrets: /etc/mutx/secrets
    drop_in: /etc/systemd/system/redis-server.service.d/10-mutx.conf
"""

PENDING = Path("/var/lib/mutx/pending/redis")
RECORD = Path("/var/lib/mutx/redis-users")
"""The digest of the users that the server had after it last loaded them: it prints them in a form of its own."""
GUARDS = Path("/var/lib/mutx/redis-guards.json")
"""The digests of guards' passwords, of which a run may not hear each."""
UNIT = "redis-server.service"
START_WITHIN_S = 120
SHORTEST_PASSWORD = 16
AOF = "appendonlydir"


@dataclass(frozen=True)
class Server:
    """The server, by its unit and its socket."""

    module: AnsibleModule

    @property
    def settings(self) -> dict[str, str]:
        """Return the wanted settings."""
        return {name: str(value) for name, value in self.module.params["settings"].items()}

    def runs(self) -> bool:
        """Say whether systemd runs it."""
        return bool(self.module.run_command(["systemctl", "is-active", "--quiet", UNIT])[0] == 0)

    def is_older_than_its_unit(self) -> bool:
        """Say whether the server was started before its unit's file landed."""
        file = Path(self.module.params["drop_in"])
        command = ["systemctl", "show", "--value", "--property=ActiveEnterTimestampMonotonic", UNIT]
        since_boot_s = int(self.module.run_command(command)[1].strip() or 0) / 1_000_000
        return file.exists() and file.stat().st_mtime > time.time() - time.monotonic() + since_boot_s

    def systemctl(self, *arguments: str) -> None:
        """Have systemd do something that must succeed."""
        code, _, err = self.module.run_command(["systemctl", *arguments])
        if code != 0:
            log = self.module.run_command(["journalctl", "-u", UNIT, "-n", "5", "-o", "cat", "--no-pager"])[1]
            self.module.fail_json(
                msg=f"[redis-down] `systemctl {' '.join(arguments)}`: {err.strip()} {log.strip()}"
            )

    def ask(self, *command: str) -> str | None:
        """Return what the server answers to `ops`; None where it refuses."""
        password = Path(self.module.params["secrets"], "redis-ops").read_text(encoding="utf-8").strip()
        asked = [
            "redis-cli",
            "-e",
            "-s",
            self.settings["unixsocket"],
            "--user",
            "ops",
            "--no-auth-warning",
            *command,
        ]
        code, out, _ = self.module.run_command(asked, environ_update={"REDISCLI_AUTH": password})
        return str(out) if code == 0 else None

    def differing(self) -> dict[str, str]:
        """Return the wanted settings that the server has otherwise."""
        lines = (self.ask("CONFIG", "GET", "*") or "").split("\n")
        live = dict(zip(lines[::2], lines[1::2], strict=False))
        return {name: value for name, value in self.settings.items() if live.get(name) != value}

    def users(self) -> str:
        """Return a digest of the users that it has."""
        return hashlib.sha256((self.ask("ACL", "LIST") or "").encode()).hexdigest()

    def await_answer(self) -> None:
        """Wait until it answers; what it has on disk may be much."""
        deadline = time.monotonic() + START_WITHIN_S
        while self.ask("PING") is None:
            if time.monotonic() > deadline or not self.runs():
                self.module.fail_json(
                    msg=f"[redis-down] {UNIT} does not answer its user `ops`; its log says why"
                )
            time.sleep(0.1)


def main() -> None:
    """Have passwords and users' file, compare, put in force."""
    module = AnsibleModule(
        argument_spec={
            "configuration": {"type": "path", "required": True},
            "settings": {"type": "dict", "required": True},
            "users": {"type": "path", "required": True},
            "acl": {"type": "path", "required": True},
            "secrets": {"type": "path", "required": True, "no_log": False},
            "fingerprint": {"type": "str", "default": ""},
            "is_pending": {"type": "bool", "default": False},
            "guards": {"type": "list", "elements": "str", "default": []},
            "digests": {"type": "dict", "default": {}, "no_log": False},
            "drop_in": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    server = Server(module)
    was_running = server.runs()
    if not was_running and module.check_mode:
        module.exit_json(changed=True, reasons=["the server does not run"])
    reasons = ["the files changed"] if module.params["is_pending"] else []
    digests = {user: [digest_of(password_of(module, user, reasons))] for user in ("app", "ops")}
    if module.check_mode and reasons:
        module.exit_json(changed=True, reasons=reasons)
    digests["guard"] = guards_digests(module)
    reasons += users_file(module, digests)
    if not was_running:
        reasons.append("the server did not run")
        start(server, "start")
    else:
        reasons += differences(server)
        if reasons and not module.check_mode:
            put_in_force(server)
    if reasons and not module.check_mode:
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        RECORD.write_text(server.users(), encoding="ascii")
        PENDING.unlink(missing_ok=True)
    module.exit_json(changed=bool(reasons), reasons=reasons)


def differences(server: Server) -> list[str]:
    """Say what the running server has otherwise."""
    if server.ask("PING") is None:
        return ["the server does not know `ops`"]
    found = [f"{name} is otherwise" for name in server.differing()]
    found += ["the server is older than its unit"] if server.is_older_than_its_unit() else []
    if not RECORD.exists() or RECORD.read_text(encoding="ascii") != server.users():
        found.append("the users were changed")
    wanted = server.module.params["fingerprint"]
    if wanted and wanted != served(int(server.settings["tls-port"])):
        found.append("another certificate is served")
    return found


def put_in_force(server: Server) -> None:
    """Tell the server what differs, and restart it where that is not enough."""
    server.systemctl("daemon-reload")
    told = [word for pair in server.differing().items() for word in pair]
    is_told = server.ask("PING") is not None and (not told or server.ask("CONFIG", "SET", *told) is not None)
    if is_told and not server.is_older_than_its_unit():
        server.systemctl("reload", UNIT)
        return
    start(server, "restart")


def start(server: Server, how: str) -> None:
    """Start the server anew, with the data that it had."""
    server.systemctl("daemon-reload")
    data = Path(server.settings["dir"])
    if not (data / AOF).exists():
        server.systemctl("stop", UNIT)
        adopt(data)
    server.systemctl(how, UNIT)
    server.await_answer()


def adopt(data: Path) -> None:
    """Make a dump the base of the append-only file, without which Redis would start empty and write over the dump."""
    dump, unfinished = data / "dump.rdb", data / f".{AOF}"
    if not dump.exists():
        return
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    shutil.copyfile(dump, unfinished / "appendonly.aof.1.base.rdb")
    (unfinished / "appendonly.aof.manifest").write_text(
        "file appendonly.aof.1.base.rdb seq 1 type b\n", "ascii"
    )
    for path in (unfinished, *unfinished.iterdir()):
        shutil.chown(path, "redis", "redis")
        path.chmod(0o750 if path.is_dir() else 0o640)
    unfinished.rename(data / AOF)


def served(port: int) -> str:
    """Return the digest of the certificate that clients are shown; "" where there is no TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as wrapped:
            return hashlib.sha256(wrapped.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError:
        return ""


def digest_of(password: str) -> str:
    """Return what the server knows a password by."""
    return hashlib.sha256(password.encode()).hexdigest()


def guards_digests(module: AnsibleModule) -> list[str]:
    """Return the digests of the guards that there are: those of this run, else those of an earlier one."""
    known = json.loads(GUARDS.read_text(encoding="ascii")) if GUARDS.exists() else {}
    told = {name: digest for name, digest in module.params["digests"].items() if digest}
    wanted = {name: (known | told)[name] for name in module.params["guards"] if name in known | told}
    if wanted != known and not module.check_mode:
        GUARDS.parent.mkdir(parents=True, exist_ok=True)
        GUARDS.write_text(json.dumps(wanted, sort_keys=True) + "\n", encoding="ascii")
    return sorted(wanted.values())


def users_file(module: AnsibleModule, digests: dict[str, list[str]]) -> list[str]:
    """Have the file of users, each with the digests of its passwords; says whether it differed."""
    source, target = Path(module.params["users"]), Path(module.params["acl"])
    if not source.exists():
        return []
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if not line.startswith("# ")]
    text = re.sub(
        r"#\{(\w+)\}",
        lambda found: " ".join(f"#{digest}" for digest in digests[found[1]]),
        "\n".join(lines),
    )
    if target.exists() and target.read_text(encoding="utf-8") == f"{text}\n":
        return []
    if not module.check_mode:
        unfinished = target.with_name(f".{target.name}")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "w") as file:
            shutil.chown(unfinished, "root", "redis")
            unfinished.chmod(0o640)
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    return ["the users' file changed"]


def password_of(module: AnsibleModule, user: str, reasons: list[str]) -> str:
    """Return a user's password out of its file; one that is not there is made."""
    file = Path(module.params["secrets"], f"redis-{user}")
    if not file.exists():
        reasons.append(f"{file} was made")
        if module.check_mode:
            return ""
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = file.with_name(f".{file.name}")
        unfinished.touch(mode=0o600)
        unfinished.write_text(secrets.token_urlsafe(32) + "\n", encoding="ascii")
        unfinished.replace(file)
    if file.stat().st_mode & 0o177 or file.stat().st_uid:
        reasons.append(f"others could read {file}")
        if not module.check_mode:
            os.chown(file, 0, 0)
            file.chmod(0o600)
    value = file.read_text(encoding="utf-8").strip()
    if len(value) < SHORTEST_PASSWORD or not value.isascii():
        module.fail_json(
            msg=f"[redis-password-file] {file} must hold at least {SHORTEST_PASSWORD} characters of ASCII"
        )
    return value


if __name__ == "__main__":
    main()
