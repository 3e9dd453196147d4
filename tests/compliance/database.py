"""What the suites of PostgreSQL and Redis look at in the same way: listeners, files, certificates, backups."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

from mutx_infra.compliance.conftest import Host
from mutx_infra.compliance.plugin import Look

SECRETS, TLS, BACKUPS = "/etc/mutx/secrets", "/etc/mutx/tls", "/var/backups/mutx"
FRESH = timedelta(hours=26)
A_DAY_S = 86_400
EXPIRES_WITHIN_S, VAULTS_LAST_S = 7 * A_DAY_S, 3600
STAND_IN = "mutx stand-in"


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
    # The Vault's end within a day, and are replaced when two thirds of it are over.
    left_s = VAULTS_LAST_S if is_the_vault_s(host, name) else EXPIRES_WITHIN_S
    older = host.run(f"openssl s_client {connect} -no_tls1_3 </dev/null")
    return {"shows the certificate of its file": bool(kept) and shown == kept, "lasts": lasts(host, name, left_s),
            "takes TLS 1.2": older.rc == 0}  # fmt: skip


GOOD_CERTIFICATES = {"shows the certificate of its file": True, "lasts": True, "takes TLS 1.2": False}


def mutual(host: Host, name: str) -> dict[str, Any]:
    """Return whether a service's certificate is of the authority by which its clients are known, and short-lived."""
    return {
        "its authority is its clients'": is_the_vault_s(host, name),
        "ends within a day": not lasts(host, name, A_DAY_S),
    }


GOOD_MUTUAL = {"its authority is its clients'": True, "ends within a day": True}


def is_the_vault_s(host: Host, name: str) -> bool:
    """Say whether a service's certificate is the authority's that the tenant's Vault has for services."""
    verified = f"openssl verify -CAfile {TLS}/service-ca.crt {TLS}/{name}.crt"
    own = f"openssl x509 -noout -issuer -in {TLS}/{name}.crt | grep -qF '{STAND_IN}'"
    return bool(host.run(f"{verified} && ! {own}").rc == 0)


def lasts(host: Host, name: str, seconds: int) -> bool:
    """Say whether a service's certificate is still good in so many seconds."""
    return bool(host.run(f"openssl x509 -noout -checkend {seconds} -in {TLS}/{name}.crt").rc == 0)


def require_mutual(host: Host, authority: str, observe: Look) -> None:
    """End a test about certificates on both sides where nobody issues any."""
    if not authority:
        observe.not_applicable("the tenant has no Vault, which would issue certificates")
    if not host.file("/etc/mutx/vault/machine.crt").exists:
        observe.not_applicable("the tenant has not let this host in to its Vault yet; nobody is let in here")


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
