"""Bring the settings of a tailscaled to a wanted state, joined or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: tailscale_settings
short_description: Bring the settings of tailscaled to a wanted state
description:
  - Compares what the daemon has with what is wanted, and gives it what differs by C(tailscale set).
author: mutx.dev
options:
  program:
    description: The client.
    type: path
    required: true
  wanted:
    description: Values by the names of C(tailscale set); those that the module knows.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Leave the firewall alone
  tailscale_settings:
    program: /usr/bin/tailscale
    wanted: {netfilter-mode: "off"}
"""

RETURN = r"""
differing:
  description: The names of the settings that were changed (or would be).
  type: list
  returned: always
"""

# Where the daemon keeps each (`ipn.Prefs`).
SETTINGS = {
    "operator": ("OperatorUser",),
    "netfilter-mode": ("NetfilterMode",),
    "accept-dns": ("CorpDNS",),
    "accept-routes": ("RouteAll",),
    "ssh": ("RunSSH",),
    "shields-up": ("ShieldsUp",),
    "advertise-routes": ("AdvertiseRoutes",),
    "exit-node": ("ExitNodeID",),
    "report-posture": ("PostureChecking",),
    "auto-update": ("AutoUpdate", "Apply"),
    "update-check": ("AutoUpdate", "Check"),
    "webclient": ("RunWebClient",),
}
FLAGS = ("accept-dns", "accept-routes", "ssh", "shields-up", "report-posture", "webclient")
# Not among them: automatic updates that nobody decided on are decided by the tailnet's administrator.
NETFILTER_MODES = ["off", "nodivert", "on"]
# It asks before it ends sessions by its own SSH, or thinks that it does; ours are sshd's.
RISK = "--accept-risk=lose-ssh"
EXIT_ROUTES = {"0.0.0.0/0", "::/0"}


def main() -> None:
    """Compare and set."""
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "path", "required": True},
            "wanted": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    program, wanted = module.params["program"], module.params["wanted"]
    if not Path(program).exists():
        if module.check_mode:
            module.exit_json(changed=True, differing=sorted(wanted))
        module.fail_json(
            msg=f"[tailscale-missing] there is no {program}: bake it into the image, or install it"
        )
    code, out, err = module.run_command([program, "debug", "prefs"])
    if code != 0 and module.check_mode:
        module.exit_json(changed=True, differing=sorted(wanted))
    if code != 0:
        module.fail_json(msg=f"[tailscale-silent] tailscaled does not tell its settings: {err.strip()}")
    seen = settings(json.loads(out))
    differing = {name: value for name, value in wanted.items() if seen[name] != value}
    if differing and not module.check_mode:
        flags = [f"--{name}={spelt(value)}" for name, value in differing.items()]
        code, _, err = module.run_command([program, "set", RISK, *flags])
        if code != 0:
            module.fail_json(
                msg=f"[tailscale-refused] `tailscale set` refuses {' '.join(flags)}: {err.strip()}"
            )
    module.exit_json(
        changed=bool(differing),
        differing=sorted(differing),
        diff={"before": text({name: seen[name] for name in differing}), "after": text(differing)},
    )


def settings(prefs: dict[str, Any]) -> dict[str, Any]:
    """Return the daemon's settings by the names of `tailscale set`."""
    found = {name: lookup(prefs, path) for name, path in SETTINGS.items()}
    routes = set(found["advertise-routes"] or [])
    return {
        **found,
        "netfilter-mode": NETFILTER_MODES[int(found["netfilter-mode"] or 0)],
        "advertise-routes": ",".join(sorted(routes - EXIT_ROUTES)),
        "advertise-exit-node": bool(routes & EXIT_ROUTES),
        "operator": found["operator"] or "",
        "exit-node": found["exit-node"] or prefs.get("ExitNodeIP") or "",
        **{name: bool(found[name]) for name in FLAGS},
    }


def lookup(values: dict[str, Any], path: tuple[str, ...]) -> Any:  # noqa: ANN401 - what JSON holds
    """Return what lies at a path; the daemon leaves out what is empty."""
    for name in path:
        values = (values or {}).get(name)  # type: ignore[assignment]
    return values


def spelt(value: object) -> str:
    """Return a value as the command line takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def text(values: dict[str, Any]) -> str:
    """Return values as lines, for a diff."""
    return "".join(f"{name}={spelt(value)}\n" for name, value in sorted(values.items()))


if __name__ == "__main__":
    main()
