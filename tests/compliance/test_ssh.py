"""SSH (HOST-1): who may come in, and by which means. Asked of sshd itself, not of its files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mutx_infra.compliance.conftest import Host, Settings, Unit
from mutx_infra.compliance.plugin import Look

KEX = {
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
}
CIPHERS = {"chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr"}
MACS = {"hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com"}
POST_QUANTUM = ("mlkem", "sntrup")


@pytest.mark.control("ssh-01")
def test_the_server_runs_from_boot_and_its_keys_are_root_s_alone(
    host: Host, unit: Callable[[str], Unit], observe: Look
) -> None:
    listed = host.check_output(
        "find /etc/ssh -type f \\( -name 'ssh_host_*_key' -o -name 'sshd_config' -o -path '*/sshd_config.d/*' \\) "
        "-printf '%m %u %p\\n'"
    )
    loose = [line for line in listed.splitlines() if not line.startswith("600 root ")]
    runs = unit("ssh.service").runs_from_boot or unit("ssh.socket").runs_from_boot

    observe(
        {"runs from boot": runs, "loose files": loose}, wanted={"runs from boot": True, "loose files": []}
    )


@pytest.mark.control("ssh-02")
def test_keys_and_certificates_alone_are_admitted(sshd: Settings, observe: Look) -> None:
    methods = (
        "passwordauthentication", "kbdinteractiveauthentication", "hostbasedauthentication",
        "gssapiauthentication", "kerberosauthentication", "permitemptypasswords",
    )  # fmt: skip
    open_ = [name for name in methods if sshd.one(name) not in {"no", ""}]

    seen = {"open": open_, "methods": sshd.one("authenticationmethods")}
    observe(seen, wanted={"open": [], "methods": "publickey"})


@pytest.mark.control("ssh-03")
def test_root_does_not_log_in(sshd: Settings, observe: Look) -> None:
    observe(sshd.one("permitrootlogin"), wanted="no")


@pytest.mark.control("ssh-04")
def test_only_named_groups_log_in(sshd: Settings, variables: dict[str, Any], observe: Look) -> None:
    seen = sorted(" ".join(sshd.values.get("allowgroups", [])).split())
    wanted = sorted(variables.get("sshd_allow_groups", []))

    observe(seen, wanted=wanted or "at least one group", is_met=seen == wanted if wanted else bool(seen))


@pytest.mark.control("ssh-05")
def test_only_modern_algorithms_are_offered_and_post_quantum_first(sshd: Settings, observe: Look) -> None:
    kex = sshd.listed("kexalgorithms")
    alien = sorted(
        {*kex} - KEX | {*sshd.listed("ciphers")} - CIPHERS | {*sshd.listed("macs")} - MACS
        | {name for name in sshd.listed("pubkeyacceptedalgorithms") if name in {"ssh-rsa", "ssh-dss"}}
    )  # fmt: skip

    seen = {"first": kex[0] if kex else "", "others": alien}
    wanted = "a post-quantum key exchange first, and none but the list of the role sshd"
    observe(seen, wanted=wanted, is_met=bool(kex) and kex[0].startswith(POST_QUANTUM) and not alien)


@pytest.mark.control("ssh-06")
def test_nothing_is_forwarded_but_to_named_hosts(
    sshd: Settings, variables: dict[str, Any], observe: Look
) -> None:
    targets = sorted(variables.get("sshd_permit_open", []))
    closed = (
        "allowagentforwarding",
        "allowstreamlocalforwarding",
        "gatewayports",
        "permittunnel",
        "x11forwarding",
    )
    open_ = [name for name in closed if sshd.one(name) not in {"no", ""}]
    permitted = sorted(sshd.one("permitopen").split())

    seen = {"open": open_, "tcp": sshd.one("allowtcpforwarding"), "to": permitted if targets else []}
    observe(seen, wanted={"open": [], "tcp": "local" if targets else "no", "to": targets})


@pytest.mark.control("ssh-07")
def test_attempts_and_silence_are_limited(sshd: Settings, observe: Look) -> None:
    numbers = {
        name: int(sshd.one(name) or 0)
        for name in ("maxauthtries", "logingracetime", "clientaliveinterval", "clientalivecountmax")
    }
    is_met = (
        0 < numbers["maxauthtries"] <= 4
        and 0 < numbers["logingracetime"] <= 60
        and 0 < numbers["clientaliveinterval"] <= 300
        and 0 < numbers["clientalivecountmax"] <= 3
    )

    observe(numbers, wanted="tries ≤ 4, grace ≤ 60 s, silence ≤ 3 × 300 s", is_met=is_met)
