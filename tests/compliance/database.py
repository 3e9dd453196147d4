"""What the suites of PostgreSQL and Redis look at in the same way: listeners, files, certificates, backups."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

from mutx_infra.compliance.conftest import Host

SECRETS, TLS, BACKUPS = "/etc/mutx/secrets", "/etc/mutx/tls", "/var/backups/mutx"
FRESH = timedelta(hours=26)
EXPIRES_WITHIN_S = 7 * 86_400


def listeners(host: Host, port: int) -> list[str]:
    """Return the addresses on which something listens at a port."""
    listed = host.check_output(f"ss -Hltn 'sport = :{port}'").splitlines()
    return sorted(line.split()[3].rpartition(":")[0] for line in listed)


def loose(host: Host, name: str) -> list[str]:
    """Return which of a service's secrets, keys and backups others can read, with mode and owner."""
    wanted = {
        f"{SECRETS} {BACKUPS}/{name}": "700 root",
        f"{SECRETS}/{name}-*": "600 root",
        f"{TLS}/{name}.key": "640 root",
    }
    lines = {
        line: mode
        for files, mode in wanted.items()
        for line in host.run(f"stat -c '%a %U %n' {files}").stdout.splitlines()
    }
    return sorted(line for line, mode in lines.items() if not line.startswith(f"{mode} "))


def certificates(host: Host, name: str, connect: str) -> dict[str, Any]:
    """Return whether the server shows the certificate of its file, and whether that lasts.

    Args:
        host: the host.
        name: of the service, which its files have.
        connect: options of `openssl s_client` by which it is reached.
    """
    digest = "openssl x509 -noout -fingerprint -sha256"
    shown = host.run(f"openssl s_client {connect} </dev/null 2>/dev/null | {digest}").stdout.strip()
    kept = host.run(f"{digest} -in {TLS}/{name}.crt").stdout.strip()
    lasts = host.run(f"openssl x509 -noout -checkend {EXPIRES_WITHIN_S} -in {TLS}/{name}.crt").rc == 0
    older = host.run(f"openssl s_client {connect} -no_tls1_3 </dev/null")
    return {"shows the certificate of its file": bool(kept) and shown == kept, "lasts a week": lasts,
            "takes TLS 1.2": older.rc == 0}  # fmt: skip


GOOD_CERTIFICATES = {"shows the certificate of its file": True, "lasts a week": True, "takes TLS 1.2": False}


def backup(host: Host, name: str, timer: bool) -> dict[str, Any]:
    """Return how old the last backup that was read back is, and whether the next one is due."""
    text = host.run(f"cat {BACKUPS}/{name}/last-success").stdout
    said = json.loads(text) if text else {}
    is_there = (
        bool(said)
        and host.run(f"test -f {BACKUPS}/{name}/{shlex.quote(said['backup'])}/manifest.json").rc == 0
    )
    age = datetime.now(UTC) - datetime.fromisoformat(said["at"]) if said else None
    return {"hours": round(age / timedelta(hours=1)) if age else "never", "is there": is_there, "timer": timer,
            "fresh": age is not None and age < FRESH}  # fmt: skip


def is_good(seen: dict[str, Any]) -> bool:
    """Say whether a backup is fresh and there, and another one will be made."""
    return bool(seen["fresh"] and seen["is there"] and seen["timer"])
