"""A tenant's Vault on its host, and what other hosts log in to it by (BYOK), as systemd and the file system show it.

What the Vault itself holds is for the tenant to see: `mutx-vault-verify`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.database import listeners
from mutx_infra.compliance.plugin import Look

SERVER, AGENT, DELIVERY = "openbao.service", "mutx-vault-agent.service", "mutx-vault-deliver.service"
HOME, KEYS = "/var/lib/openbao", "/etc/mutx/vault"
CONFIGURATION, AUDIT = "/etc/openbao/server.hcl", "/var/log/openbao/audit.log"
A_DAY_S, LEFT_S = 86_400, 6 * 3600
CONFINED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateDevices": "yes",
    "MemoryDenyWriteExecute": "yes",
    "RestrictSUIDSGID": "yes",
    "LimitCORE": "0",
    "MemorySwapMax": "0",
}
CAPABILITIES = {SERVER: "", AGENT: "", DELIVERY: "cap_chown cap_dac_override cap_fowner"}
A_VAULT = pytest.mark.roles("vault")
A_CLIENT = pytest.mark.roles("agent", "guard", "database")


@pytest.fixture(autouse=True)
def _where_one_is(host: Host, observe: Look, role: str) -> None:
    unit = SERVER if role == "vault" else AGENT
    if not host.file(f"/etc/systemd/system/{unit}").exists:
        observe.not_applicable("the host is told of no Vault")


def confinement(host: Host, unit: str) -> dict[str, str]:
    """Return how a unit is confined, drop-ins of others included."""
    names = ",".join([*CONFINED, "CapabilityBoundingSet"])
    text = host.check_output(f"systemctl show {unit} --property={names}")
    return dict(line.partition("=")[::2] for line in text.splitlines())


def confined(unit: str) -> dict[str, str]:
    """Return how it should be."""
    return {**CONFINED, "CapabilityBoundingSet": CAPABILITIES[unit]}


def modes(host: Host, *paths: str) -> dict[str, str]:
    """Return owner and mode of files by their path; nothing for one that is not there."""
    listed = host.run(f"stat -c '%n %U %a' {shlex.join(paths)}").stdout.splitlines()
    return {line.split()[0]: " ".join(line.split()[1:]) for line in listed}


@A_VAULT
@pytest.mark.control("vault-02")
def test_what_the_server_has_is_its_own(host: Host, observe: Look) -> None:
    wanted = {
        HOME: "openbao 700",
        f"{HOME}/raft": "openbao 700",
        "/var/log/openbao": "openbao 700",
        "/etc/openbao/tls/server.key": "root 640",
    }
    seen = {"shell": host.check_output("getent passwd openbao").rpartition(":")[2], **modes(host, *wanted)}

    observe(seen, wanted={"shell": "/usr/sbin/nologin", **wanted})


@A_VAULT
@pytest.mark.control("vault-03")
def test_the_server_runs_from_boot_confined_on_its_two_ports(
    host: Host, unit: Callable[[str], Unit], observe: Look
) -> None:
    process = host.check_output(f"systemctl show --property MainPID --value {SERVER}")
    seen = {
        "runs from boot": unit(SERVER).runs_from_boot,
        "account": host.run(f"ps -o user= -p {process}").stdout.strip(),
        "API": len(listeners(host, 8200)),
        "raft": len(listeners(host, 8201)),
        **confinement(host, SERVER),
    }

    observe(
        seen,
        wanted={"runs from boot": True, "account": "openbao", "API": 1, "raft": 1, **confined(SERVER)},
    )


@A_VAULT
@pytest.mark.control("vault-04")
def test_its_certificate_lasts_a_day_at_most_and_is_renewed(
    host: Host, unit: Callable[[str], Unit], observe: Look
) -> None:
    shown = "openssl s_client -connect 127.0.0.1:8200 </dev/null 2>/dev/null | openssl x509 -noout"
    seen = {
        "lasts more than a day": host.run(f"{shown} -checkend {A_DAY_S}").rc == 0,
        "lasts six hours": host.run(f"{shown} -checkend {LEFT_S}").rc == 0,
        "renewal": unit("mutx-vault-certificate.timer").runs_from_boot,
        "its authority's key": modes(host, "/etc/openbao/authority/ca.key"),
    }

    observe(
        seen,
        wanted={
            "lasts more than a day": False, "lasts six hours": True, "renewal": True,
            "its authority's key": {"/etc/openbao/authority/ca.key": "root 600"},
        },
    )  # fmt: skip


@A_VAULT
@pytest.mark.control("vault-05")
def test_it_is_sealed_by_a_key_that_is_not_on_this_host(host: Host, observe: Look) -> None:
    seals = host.run(f"grep -o '^seal \"[a-z]*\"' {CONFIGURATION}").stdout.split('"')[1:2]

    observe(seals, wanted="transit or awskms", is_met=seals in (["transit"], ["awskms"]))


@A_VAULT
@pytest.mark.control("vault-06")
def test_it_is_initialised_unsealed_and_complete(host: Host, observe: Look) -> None:
    done = host.run("/usr/libexec/mutx/mutx-vault wait 1")

    observe("complete" if done.rc == 0 else done.stderr.strip()[:300], wanted="complete")


@A_VAULT
@pytest.mark.control("vault-07")
def test_its_audit_log_is_declared_and_for_its_account_alone(
    host: Host, unit: Callable[[str], Unit], observe: Look
) -> None:
    seen = {
        "declared": host.run(f"grep -c '^audit \"file\"' {CONFIGURATION}").stdout.strip(),
        "file": modes(host, AUDIT),
        "rotated": host.file("/etc/logrotate.d/openbao").exists and unit("logrotate.timer").runs_from_boot,
    }

    observe(seen, wanted={"declared": "1", "file": {AUDIT: "openbao 600"}, "rotated": True})


@A_VAULT
@pytest.mark.control("vault-08")
def test_ssh_ends_when_the_tenant_claims_it(host: Host, unit: Callable[[str], Unit], observe: Look) -> None:
    told = json.loads(host.run("cat /etc/mutx/hand-over.json").stdout or "{}")
    has_ended = host.file("/var/lib/mutx/handed-over").exists
    seen = {
        "looks": unit("mutx-hand-over.timer").runs_from_boot,
        "ends SSH": told.get("ends_ssh"),
        "SSH after the claim": unit("ssh.service").active if has_ended else "not claimed",
    }

    observe(
        seen,
        wanted={"looks": True, "ends SSH": True, "SSH after the claim": "inactive, or not claimed"},
        is_met=seen["looks"] is True
        and seen["ends SSH"] is True
        and seen["SSH after the claim"] in {"inactive", "not claimed"},
    )


@A_CLIENT
@pytest.mark.control("va-02")
def test_the_host_s_key_is_one_account_s(host: Host, observe: Look) -> None:
    wanted = {f"{KEYS}/machine.key": "mutx-vault 400", KEYS: "mutx-vault 750"}

    observe(modes(host, *wanted), wanted=wanted)


@A_CLIENT
@pytest.mark.control("va-03")
def test_the_agent_and_what_delivers_are_confined(
    host: Host, variables: dict[str, Any], observe: Look
) -> None:
    seen: dict[str, object] = {unit: confinement(host, unit) for unit in (AGENT, DELIVERY)}
    wanted: dict[str, object] = {unit: confined(unit) for unit in (AGENT, DELIVERY)}
    if "vault_agent_settings" in variables:
        told = json.loads(host.run(f"cat {KEYS}/machine.json").stdout or "{}")
        seen["settings are the inventory's"] = told == variables["vault_agent_settings"]
        wanted["settings are the inventory's"] = True

    observe(seen, wanted=wanted)


@A_CLIENT
@pytest.mark.control("va-04")
def test_the_agent_runs_from_boot_or_waits_until_the_host_is_enrolled(
    host: Host, unit: Callable[[str], Unit], observe: Look
) -> None:
    is_enrolled = host.file(f"{KEYS}/machine.crt").exists
    seen = {name: str(unit(name)) for name in (AGENT, DELIVERY)}
    seen["renewal"] = str(unit("mutx-vault-renew.timer"))
    state = "enabled, active" if is_enrolled else "enabled, inactive"

    observe(seen, wanted={AGENT: state, DELIVERY: state, "renewal": "enabled, active"})


@A_CLIENT
@pytest.mark.control("va-05")
def test_what_is_delivered_is_in_memory_and_its_service_s_alone(host: Host, observe: Look) -> None:
    told = json.loads(host.run(f"cat {KEYS}/machine.json").stdout or "{}")
    owners = {each["file"]: each["owner"] for kind in ("keys", "certificates") for each in told.get(kind, [])}
    if not owners:
        observe.not_applicable("nothing is delivered to this host")
    there = modes(host, *owners)
    kinds = host.run(f"stat -f -c %T {shlex.join(there)}").stdout.split() if there else []
    seen = {
        "loose": sorted(f for f, mode in there.items() if mode != f"{owners[f]} 400"),
        "on": sorted({*kinds}),
    }

    observe(seen, wanted="nothing loose, on tmpfs", is_met=not seen["loose"] and {*kinds} <= {"tmpfs"})
