"""Let the kernel's rules be those of ufw's files, in one transaction, and notice where they no longer are.

`ufw reload` and `ufw --force reset` take all rules away before they come back; with one `iptables-restore` there is no
moment at which a packet meets something else than the old rules or the new ones.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: ufw_live
short_description: Put ufw's files in force in one step, and mend rules that were changed in the kernel alone
description:
  - Compares what the kernel has with what it had after the last run (C(/var/lib/mutx/ufw.json)); where either that
    or the files differ, the rules are put in force anew. Rules in the builtin chains that belong to nobody known are
    removed.
author: mutx.dev
options:
  init: {description: The script of ufw that loads rules at boot., type: path, required: true}
  tolerated: {description: Starts of names of chains of other programs., type: list, elements: str, default: []}
  ipv6: {description: Whether the kernel has IPv6., type: bool, default: true}
  is_pending: {description: Files were landed (in check mode they would have been)., type: bool, default: false}
"""

EXAMPLES = r"""
- name: Put the rules in force
  ufw_live:
    init: /usr/lib/ufw/ufw-init
"""

RECORD = Path("/var/lib/mutx/ufw.json")
PENDING = Path("/var/lib/mutx/pending/ufw")
CONFIGURATION = Path("/etc/ufw")
BUILTIN = ("INPUT", "FORWARD", "OUTPUT")
HOOKS = ("before-logging", "before", "after", "after-logging", "reject", "track")
DOCKER = "DOCKER-USER"


@dataclass(frozen=True)
class Family:
    """IPv4 or IPv6: the commands and names of each."""

    six: str
    tolerated: tuple[str, ...]

    @property
    def tool(self) -> str:
        """The program that shows and changes rules."""
        return f"ip{self.six}tables"

    def files(self) -> list[Path]:
        """The files in the order in which ufw loads them."""
        return [CONFIGURATION / f"{name}{self.six}.rules" for name in ("before", "after", "user")]

    def live(self, module: AnsibleModule) -> list[str]:
        """Return the kernel's rules as commands."""
        code, out, err = module.run_command([self.tool, "--wait", "10", "-S"])
        if code != 0:
            module.fail_json(msg=f"[ufw-kernel] `{self.tool} -S` failed: {err.strip()}")
        found: list[str] = out.splitlines()
        return found

    def own(self, live: list[str]) -> list[str]:
        """Return of the kernel's rules those that ufw made, without what others put beside them."""
        policies = [line for line in live if line.startswith("-P ")]
        return policies + [line for line in live if self._is_own(line)]

    def _is_own(self, line: str) -> bool:
        chain, target = line.split()[1], line.rsplit(maxsplit=1)[-1]
        if chain == DOCKER:
            # Docker appends a RETURN, which our DROP precedes.
            return line != f"-A {DOCKER} -j RETURN"
        return line[:2] in {"-A", "-N"} and (
            chain.startswith(f"ufw{self.six}-") or (chain in BUILTIN and target.startswith(f"ufw{self.six}-"))
        )

    def intruders(self, live: list[str]) -> list[str]:
        """Return rules in the builtin chains that come from nobody known: they would pass ufw by."""
        return [line for line in live if self._is_intruder(line)]

    def _is_intruder(self, line: str) -> bool:
        if not line.startswith(tuple(f"-A {chain} " for chain in BUILTIN)):
            return False
        target = re.search(r"-[jg] (\S+)", line)
        if target and target[1].startswith((f"ufw{self.six}-", *self.tolerated)):
            return False
        # Docker 28.0 names its bridges by a set; before and after it by interface, or in chains of its own.
        is_dockers = "DOCKER" in self.tolerated and re.search(r"-[io] (docker0|br-)|docker-ext-bridges", line)
        return not (is_dockers and line.startswith("-A FORWARD "))

    def is_loaded(self, live: list[str]) -> bool:
        """Say whether ufw's chains are there and every packet comes through them."""
        wanted = {f"-N ufw{self.six}-user-{chain.lower()}" for chain in BUILTIN}
        wanted |= {f"-A {c} -j ufw{self.six}-{hook}-{c.lower()}" for c in BUILTIN for hook in HOOKS}
        return wanted <= set(live)

    def transaction(self, defaults: dict[str, str]) -> str:
        """Return everything that ufw loads at boot, as one input of iptables-restore."""
        chains: list[str] = []
        rules: list[str] = []
        for file in self.files():
            for line in file.read_text(encoding="utf-8").splitlines():
                (chains if line.startswith(":") else rules if line[:2] in {"-A", "-I"} else []).append(line)
        for chain in BUILTIN:
            name, policy = chain.lower(), defaults[f"DEFAULT_{chain}_POLICY"]
            chains += [f":{chain} {policy} [0:0]"]
            chains += [
                f":ufw{self.six}-{kind}-{name} - [0:0]" for kind in ("reject", "track", "skip-to-policy")
            ]
            rules += [f"-A ufw{self.six}-skip-to-policy-{name} -j {policy}"]
            rules += [f"-A ufw{self.six}-before-{name} -j ufw{self.six}-user-{name}"]
            if policy == "ACCEPT":
                rules += [
                    f"-A ufw{self.six}-track-{name} -p {protocol} -m conntrack --ctstate NEW -j ACCEPT"
                    for protocol in ("tcp", "udp")
                ]
        return "\n".join(["*filter", *dict.fromkeys(chains), *rules, "COMMIT", ""])


def main() -> None:
    """Compare, put in force, write down what the kernel has now."""
    module = AnsibleModule(
        argument_spec={
            "init": {"type": "path", "required": True},
            "tolerated": {"type": "list", "elements": "str", "default": []},
            "ipv6": {"type": "bool", "default": True},
            "is_pending": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    tolerated = tuple(module.params["tolerated"])
    families = [Family(six, tolerated) for six in ("", "6") if not six or module.params["ipv6"]]
    reasons = [] if not module.params["is_pending"] else ["the files changed"]
    reasons += [reason for family in families for reason in differences(module, family)]
    if reasons and not module.check_mode:
        put_in_force(module, families)
    module.exit_json(changed=bool(reasons), reasons=reasons)


def differences(module: AnsibleModule, family: Family) -> list[str]:
    """Say why the rules must be put in force, if they must."""
    live = family.live(module)
    before = read_record().get(family.tool, {})
    found = [f"not ours: {family.tool} {line}" for line in family.intruders(live)]
    if not family.is_loaded(live):
        return [*found, f"{family.tool}: ufw is not loaded"]
    if before.get("files") != digest(family):
        found.append(f"{family.tool}: the files are not those of the last run")
    if before.get("live") != family.own(live):
        found.append(f"{family.tool}: the kernel's rules were changed")
    return found


def put_in_force(module: AnsibleModule, families: list[Family]) -> None:
    """Load ufw where it is not, replace its rules in one transaction where it is, and remove intruders last."""
    defaults = dict(
        re.findall(r'^(\w+)="?([^"\n]*)"?$', Path("/etc/default/ufw").read_text("utf-8"), re.MULTILINE)
    )
    if not all(family.is_loaded(family.live(module)) for family in families):
        must_run(module, [module.params["init"], "force-reload"])
    for family in families:
        must_run(
            module, [f"{family.tool}-restore", "--wait", "10", "--noflush"], family.transaction(defaults)
        )
        for line in family.intruders(family.live(module)):
            must_run(module, [family.tool, "--wait", "10", *shlex.split(line.replace("-A", "-D", 1))])
    record = {f.tool: {"files": digest(f), "live": f.own(f.live(module))} for f in families}
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1), encoding="utf-8")
    RECORD.chmod(0o600)
    PENDING.unlink(missing_ok=True)


def must_run(module: AnsibleModule, command: list[str], data: str | None = None) -> None:
    """Run a command that has to succeed."""
    code, out, err = module.run_command(command, data=data)
    if code != 0:
        module.fail_json(msg=f"[ufw-apply] `{shlex.join(command)}` failed: {(err or out).strip()}")


def digest(family: Family) -> str:
    """Return a digest of a family's files and of the defaults."""
    files = [*family.files(), Path("/etc/default/ufw")]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def read_record() -> dict[str, Any]:
    """Return what the last run wrote down; nothing where there was none."""
    try:
        found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


if __name__ == "__main__":
    main()
