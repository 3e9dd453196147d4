"""Look at a host once, and say what every role here needs to know of it.

`ansible.builtin.setup` takes longer and does not know the packages, the units or what sshd offers; with this, a role
runs `apt` and `systemd` only where something is missing.
"""

from __future__ import annotations

import grp
import importlib
import json
import os
import platform
import pwd
import re
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_facts
short_description: Look at a host once for all roles
description:
  - Sets the fact C(host_facts). Changes nothing. Needs root.
author: mutx.dev
options: {}
"""

EXAMPLES = r"""
- name: Look at the host
  host_facts:
"""

# `nft list` and `iptables -S` succeed on a kernel without nftables: only adding something fails, here in a check.
NFT_PROBE = ("nft", "--check", "add table inet mutx-probe")
UNITS = Path("/etc/systemd/system")
SSHD = "/usr/sbin/sshd"
APT = Path("/etc/apt")
HANDED_OVER = Path("/var/lib/mutx/handed-over")  # `mutx-hand-over` writes it
FAIL2BAN = "/run/fail2ban/fail2ban.sock"
SCRATCH = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - looked at, not written to
LIMITS = ("bantime", "findtime", "maxretry")
MIN_USER_ID = 1000
SHELL_FILES = (".bash_login", ".bash_logout", ".bash_profile", ".bashrc", ".profile")
LOOSE = 0o027
MODULUS_FIELD = 4
MIN_MODULUS_BITS = 3071  # a 3072-bit prime is listed as 3071

# PCI class codes of display controllers: VGA, XGA, 3D (PCI Code and ID Assignment Specification).
_DISPLAY = "0x03"
_NETLINK_AUDIT = 9
_AUDIT_GET = 1000
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
# Of the reply: the kind of the message and, behind its header and a mask, whether audit is enabled.
_AUDIT_STATUS = struct.Struct("=4xH14xI")
_LOCKED = 2


def main() -> None:
    """Collect and leave."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    if os.geteuid() != 0:
        module.fail_json(msg="[host-not-root] the host must be looked at as root: set `become: true`")
    facts = {
        **distribution(Path("/etc/os-release").read_text(encoding="utf-8")),
        "apparmor": apparmor(),
        "accounts": {
            entry.pw_name: {"uid": entry.pw_uid, "shell": entry.pw_shell} for entry in pwd.getpwall()
        },
        "audit": audit_state(),
        "boot_loader": "grub" if Path("/etc/default/grub").is_file() else "",
        "booted": Path("/run/systemd/system").is_dir(),
        "container": container(),
        "firewall": firewall(module),
        "ipv6": Path("/proc/net/if_inet6").exists(),
        "fail2ban": fail2ban_limits(),
        "docker": any(Path(place).exists() for place in ("/usr/bin/dockerd", "/var/run/docker.sock")),
        "gpus": display_devices(Path("/sys/bus/pci/devices")),
        "handed_over": HANDED_OVER.exists(),
        "hostname": socket.gethostname(),
        "kernel": os.uname().release,
        "libc": platform.libc_ver()[1],
        "login": login(module, os.environ.get("SUDO_USER") or "root"),
        "loose_homes": loose_homes(),
        "machine": os.uname().machine,
        "mounts": mounts(read("/proc/self/mounts")),
        "nft": runs(module, *NFT_PROBE),
        "packages": packages(read("/var/lib/dpkg/status")),
        "plain_mirrors": plain_mirrors(APT),
        "python": ".".join(map(str, sys.version_info[:2])),
        "routes": read("/proc/sys/net/ipv4/ip_forward").strip() == "1",
        "sshd": sshd(module),
        "units": units(module),
    }
    module.exit_json(changed=False, ansible_facts={"host_facts": facts})


def distribution(os_release: str) -> dict[str, str]:
    """Return distribution, version and family as /etc/os-release has them."""
    values = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', os_release, re.MULTILINE))
    words = [values.get("ID", "unknown"), *values.get("ID_LIKE", "").split()]
    return {
        "distribution": words[0],
        "version": values.get("VERSION_ID", ""),
        "codename": values.get("VERSION_CODENAME", ""),
        "family": "debian" if "debian" in words else words[-1],
    }


def container() -> str:
    """Return the kind of container that this is, or nothing for a machine with a kernel of its own."""
    kind = read("/run/systemd/container").strip()
    if not kind and (found := re.search(r"(?:^|\0)container=([^\0]+)", read("/proc/1/environ"))):
        kind = found[1]
    return kind or ("docker" if Path("/.dockerenv").exists() else "")


def display_devices(devices: Path) -> list[str]:
    """Return `vendor:device` of each display controller on the PCI bus, as the kernel lists them."""
    found = (entry for entry in sorted(devices.glob("*")) if read(f"{entry}/class").startswith(_DISPLAY))
    return [
        ":".join(read(f"{entry}/{name}").strip().removeprefix("0x") for name in ("vendor", "device"))
        for entry in found
    ]


def audit_state() -> dict[str, bool]:
    """Ask the kernel for its audit status; in a container there is none to ask."""
    state = {"available": False, "enabled": False, "locked": False}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_AUDIT) as link:
            link.settimeout(1)
            link.sendto(struct.pack("=IHHII", 16, _AUDIT_GET, _NLM_F_REQUEST, 1, 0), (0, 0))
            reply = link.recv(8192)
    except OSError:
        return state
    if len(reply) < _AUDIT_STATUS.size or _AUDIT_STATUS.unpack_from(reply)[0] == _NLMSG_ERROR:
        return state
    enabled = _AUDIT_STATUS.unpack_from(reply)[1]
    return {"available": True, "enabled": enabled > 0, "locked": enabled == _LOCKED}


def apparmor() -> dict[str, Any]:
    """Return whether the kernel confines programs, which profiles only complain, and who runs without theirs."""
    available = read("/sys/module/apparmor/parameters/enabled").strip() == "Y"
    loaded = re.findall(r"^(.+) \((\w+)\)$", read("/sys/kernel/security/apparmor/profiles"), re.MULTILINE)
    names = {name for name, _ in loaded}
    return {
        "available": available and Path("/sys/kernel/security/apparmor").is_dir(),
        "complaining": sorted(name for name, mode in loaded if mode == "complain"),
        "unconfined": sorted(unconfined(names)) if names else [],
    }


def unconfined(profiles: set[str]) -> set[str]:
    """Return the programs that run without the profile that is loaded for them: they were started before it was."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            program = str((process / "exe").readlink())
        except OSError:
            continue
        if program in profiles and read(f"{process}/attr/current").strip("\0\n ") == "unconfined":
            found.add(program)
    return found


def login(module: AnsibleModule, name: str) -> dict[str, Any]:
    """Return who is connected and in which groups: what AllowGroups must not lock out."""
    user = pwd.getpwnam(name)
    groups = [grp.getgrgid(gid).gr_name for gid in os.getgrouplist(name, user.pw_gid) if has_group(gid)]
    return {"user": name, "groups": sorted(groups), **connection(module)}


def connection(module: AnsibleModule) -> dict[str, Any]:
    """Return from where, over which interface and to which port the operator came, as sshd told the session.

    sudo takes SSH_CONNECTION away, so the nearest process above that has it is asked.
    """
    pid = os.getpid()
    while pid > 1:
        if found := re.search(r"(?:^|\0)SSH_CONNECTION=(\S+) \d+ (\S+) (\d+)", read(f"/proc/{pid}/environ")):
            return {"address": found[1], "interface": interface_of(module, found[2]), "port": int(found[3])}
        pid = int(read(f"/proc/{pid}/stat").rpartition(")")[2].split()[1])
    return {"address": "", "interface": "", "port": 0}


def interface_of(module: AnsibleModule, address: str) -> str:
    """Return the interface that has an address."""
    code, out, _ = module.run_command(["ip", "-json", "address"])
    for row in json.loads(out) if code == 0 else []:
        if any(own["local"] == address for own in row["addr_info"]):
            return str(row["ifname"])
    return ""


def loose_homes() -> list[str]:
    """Return people's homes, and what their shells read there, that others may read or a group may write."""
    homes = [
        Path(user.pw_dir)
        for user in pwd.getpwall()
        if user.pw_uid >= MIN_USER_ID and not user.pw_shell.endswith(("/nologin", "/false"))
    ]
    found = [path for home in homes for path in (home, *(home / name for name in SHELL_FILES))]
    return sorted(str(path) for path in found if is_loose(path))


def is_loose(path: Path) -> bool:
    """Say whether others may read a path, or its group may write it; a link is not followed."""
    try:
        now = path.lstat().st_mode
    except OSError:
        return False
    return not stat.S_ISLNK(now) and bool(now & LOOSE)


def has_group(gid: int) -> bool:
    """Say whether a number has a group's name."""
    try:
        grp.getgrgid(gid)
    except KeyError:
        return False
    return True


def mounts(table: str) -> dict[str, list[str]]:
    """Return the options in force of each mount, by where it is; of several at a place, of the last."""
    rows = [line.split(" ") for line in table.splitlines()]
    return {row[1]: row[3].split(",") for row in rows if row[1] in SCRATCH}


def packages(dpkg_status: str) -> dict[str, str]:
    """Return version by name of every installed package."""
    found = re.findall(
        r"^Package: (\S+)\n(?:[A-Z ].*\n)*?Status: \S+ ok installed\n(?:.+\n)*?Version: (\S+)$",
        dpkg_status,
        re.MULTILINE,
    )
    return dict(found)


def plain_mirrors(apt: Path) -> list[dict[str, str]]:
    """Return the mirrors that apt reaches by plain HTTP: each name with the file that says so."""
    lists = (apt.glob(f"{place}/*") for place in ("mirrors", "sources.list.d"))
    files = (apt / "sources.list", *(path for found in lists for path in sorted(found)))
    return [
        {"name": name, "file": str(path)}
        for path in files
        for name in dict.fromkeys(re.findall(r"^[^#\n]*http://([^/\s:]+)", read(str(path)), re.MULTILINE))
    ]


def firewall(module: AnsibleModule) -> dict[str, Any]:
    """Return whether the role `ufw` has this host already, and else the rules that somebody else made.

    `usable` is false where the kernel has no nftables, which Debian's iptables wants unless it is told otherwise.
    """
    wants_nft = "nf_tables" in "".join(lines(module, "iptables", "-V"))
    usable = not (wants_nft and Path("/usr/sbin/nft").exists() and not runs(module, *NFT_PROBE))
    # The mark: a run of ours landed the files, and died before the kernel had them.
    if any(Path(place).exists() for place in ("/var/lib/mutx/ufw.json", "/var/lib/mutx/pending/ufw")):
        return {"owned": True, "foreign": [], "usable": usable}
    foreign = [
        f"ufw {line[len('### tuple ### ') :]}"
        for name in ("user", "user6")
        for line in read(f"/etc/ufw/{name}.rules").splitlines()
        if line.startswith("### tuple ###")
    ]
    others = re.compile(r"-A (INPUT|FORWARD|OUTPUT) (?!-j (ufw6?|f2b|ts|DOCKER)-|.*-[io] (docker0|br-))")
    for tool in ("iptables", "ip6tables"):
        said = lines(module, tool if usable else f"{tool}-legacy", "-S")
        foreign += [f"{tool} {line}" for line in said if others.match(line)]
    return {"owned": False, "foreign": foreign, "usable": usable}


def sshd(module: AnsibleModule) -> dict[str, Any]:
    """Return what the installed sshd offers and understands."""
    if not Path(SSHD).exists():
        return {"installed": False}
    # `sshd -Q` came with OpenSSH 9.7; `ssh` of the same package set answers for both.
    asked = {
        "kex": "kex",
        "ciphers": "cipher",
        "macs": "mac",
        "key_types": "key",
        "signatures": "PubkeyAcceptedAlgorithms",
    }
    offers = {name: lines(module, "ssh", "-Q", query) for name, query in asked.items()}
    effective = lines(module, SSHD, "-T")
    moduli = [
        line.split()
        for line in read("/etc/ssh/moduli").splitlines()
        if line[:1].isdigit() and len(line.split()) > MODULUS_FIELD
    ]
    return {
        "installed": True,
        **offers,
        "keywords": sorted({line.split()[0] for line in effective if line}),
        "weak_moduli": any(int(fields[MODULUS_FIELD]) < MIN_MODULUS_BITS for fields in moduli),
        "host_keys": sorted(
            path.name[len("ssh_host_") : -len("_key")] for path in Path("/etc/ssh").glob("ssh_host_*_key")
        ),
    }


def fail2ban_limits() -> dict[str, int]:
    """Ask the running fail2ban for the limits of its jail `sshd`; {} where it does not run.

    By its own client's module: the command takes ten times as long.
    """
    try:
        asked = importlib.import_module("fail2ban.client.csocket").CSocket(FAIL2BAN, timeout=2)
        return {name: int(asked.send(["get", "sshd", name])[1]) for name in LIMITS}
    except Exception:  # noqa: BLE001 - no server, no such jail, another protocol: the role brings it up
        return {}


def units(module: AnsibleModule) -> dict[str, dict[str, str]]:
    """Return whether each unit is enabled or masked, as the links say, and active, as systemd says.

    `systemctl list-unit-files` says the first too, but parses every unit for it and times out on a busy host.
    """
    links = [path for path in UNITS.rglob("*") if path.is_symlink()]
    enabled = {path.name for path in links if path.parent.suffix in {".wants", ".requires"}}
    masked = {path.name for path in links if path.parent == UNITS and str(path.readlink()) == os.devnull}
    active = active_units(module)
    return {
        name: {
            "enabled": "masked" if name in masked else "enabled" if name in enabled else "",
            "active": active.get(name, "inactive"),
        }
        for name in sorted(enabled | masked | active.keys())
    }


def active_units(module: AnsibleModule) -> dict[str, str]:
    """Return the state of every loaded unit, where systemd runs."""
    if not Path("/run/systemd/system").is_dir():
        return {}
    command = [
        "systemctl",
        "list-units",
        "--all",
        "--type=service,socket,timer",
        "--output=json",
        "--no-pager",
    ]
    code, out, err = module.run_command(command)
    if code != 0:
        module.fail_json(msg=f"[host-systemd] systemd does not say which units run: {err.strip()}")
    return {row["unit"]: row["active"] for row in json.loads(out)}


def lines(module: AnsibleModule, *command: str) -> list[str]:
    """Return a command's lines; none where it fails or is not there."""
    try:
        code, out, _ = module.run_command(list(command), handle_exceptions=False)
    except OSError:
        return []
    return out.split("\n")[:-1] if code == 0 else []


def runs(module: AnsibleModule, *command: str) -> bool:
    """Say whether a command is there and succeeds."""
    try:
        return bool(module.run_command(list(command), handle_exceptions=False)[0] == 0)
    except OSError:
        return False


def read(path: str) -> str:
    """Return a file's text, or nothing where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
