"""Give the running kernel the parameters that the files have for its next boot."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kernel_settings
short_description: Give the running kernel its parameters, all in one step
description:
  - A parameter that this kernel does not have is named in C(unknown); one that cannot be written fails the task, after
    the others were written.
author: mutx.dev
options:
  values: {description: Values by name., type: dict, required: true}
"""

EXAMPLES = r"""
- name: Give the kernel its parameters
  kernel_settings:
    values: {kernel.sysrq: 0}
"""


def main() -> None:
    """Compare with /proc/sys, write what differs."""
    module = AnsibleModule(
        argument_spec={"values": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    wanted = {name: str(value) for name, value in module.params["values"].items()}
    there = {name: place(name) for name in wanted if place(name).exists()}
    now = {name: file.read_text(encoding="utf-8").strip() for name, file in there.items()}
    different = sorted(name for name in there if now[name].split() != wanted[name].split())
    failed = {} if module.check_mode else write({name: wanted[name] for name in different})
    result = {
        "changed": bool(different),
        "unknown": sorted(wanted.keys() - there.keys()),
        "diff": {
            "before": "".join(f"{name} = {now[name]}\n" for name in different),
            "after": "".join(f"{name} = {wanted[name]}\n" for name in different),
        },
    }
    if failed:
        module.fail_json(msg=f"[base-sysctl] the kernel refuses {failed}", **result)
    module.exit_json(**result)


def place(name: str) -> Path:
    """Return where the kernel shows a parameter."""
    return Path("/proc/sys") / name.replace(".", "/")


def write(values: dict[str, str]) -> dict[str, str]:
    """Write values and return what was refused, by name."""
    failed = {}
    for name, value in values.items():
        try:
            place(name).write_text(value, encoding="utf-8")
        except OSError as exc:
            failed[name] = str(exc.strerror)
    return failed


if __name__ == "__main__":
    main()
