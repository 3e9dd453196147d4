"""What the image has beyond packages: what roles bake, and what stands in for a cloud's own parts.

The roles' files are the ones that `playbooks/image.yml` bakes, taken from the installed package. `mutx-user-data` does
what cloud-init does in a cloud's image: it runs the instance's user data once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined
from mutx_sandbox.machines.rootfs import ACCOUNT

AWS_ADDRESS = "169.254.170.23"
AWS_PORT = 80
"""Where hosts reach the sandbox's AWS; link-local, as the metadata service is."""
COORDINATION_ADDRESS = "169.254.170.24"
"""Where they reach the coordination server and its relay, where there is one."""

_UNITS = "etc/systemd/system"
_WANTS = f"{_UNITS}/multi-user.target.wants"
_PROGRAMS = "usr/libexec/mutx"
_EXECUTABLE, _PLAIN, _PRIVATE, _SUDOERS = 0o755, 0o644, 0o600, 0o440
_DIGEST_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the layer, or where `target` is given one link.

    Attributes:
        path: below the root, without a leading slash.
    """

    path: str
    content: str = ""
    mode: int = _PLAIN
    target: str | None = None


def entries() -> tuple[Entry, ...]:
    """Return the layer's files and links."""
    return tuple(sorted(_entries(), key=lambda entry: entry.path))


def ensure_layer(cache: Path) -> Path:
    """Return the directory of the layer, made where it is not there yet; its digest names it."""
    wanted = entries()
    digest = hashlib.sha256(repr(wanted).encode()).hexdigest()[:_DIGEST_LENGTH]
    place = cache / "machines" / f"recipe-{digest}"
    if place.is_dir():
        return place
    unfinished = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    for entry in wanted:
        _write(unfinished, entry)
    try:
        unfinished.rename(place)
    except OSError:  # another process was quicker, with the same content
        shutil.rmtree(unfinished)
    return place


def _entries() -> Iterator[Entry]:
    for name in ("mutx-join", "mutx-tailnet"):
        yield Entry(f"{_PROGRAMS}/{name}", _of_the_role(name), _EXECUTABLE)
    yield Entry(f"{_PROGRAMS}/mutx-user-data", _own("mutx-user-data"), _EXECUTABLE)
    for unit in ("mutx-join@.service", "mutx-tailnet.service", "mutx-host-key.service"):
        yield Entry(f"{_UNITS}/{unit}", _of_the_role(unit))
    yield Entry(f"{_UNITS}/mutx-user-data.service", _own("mutx-user-data.service"))
    for unit in ("mutx-host-key.service", "mutx-user-data.service"):
        yield Entry(f"{_WANTS}/{unit}", target=f"/{_UNITS}/{unit}")
    yield Entry(
        f"{_UNITS}/tailscaled.service.d/10-mutx-way-out.conf",
        _of_a_role("tailscale", "files/10-mutx-way-out.conf"),
    )
    yield from _proxy()
    yield Entry("etc/ssh/sshd_config.d/20-mutx-image.conf", _of_the_role("20-mutx-image.conf"), _PRIVATE)
    yield Entry("etc/sudoers.d/10-mutx", f"{ACCOUNT} ALL=(ALL:ALL) NOPASSWD: ALL\n", _SUDOERS)
    yield Entry("etc/mutx/join.json", json.dumps({"aws_endpoint": f"http://{AWS_ADDRESS}:{AWS_PORT}"}) + "\n")
    # A container shares this machine's kernel, whose audit trail belongs to nobody in it.
    for unit in ("auditd.service", "audit-rules.service"):
        condition = "[Unit]\nConditionVirtualization=!container\n"
        yield Entry(f"{_UNITS}/{unit}.d/10-container.conf", condition)


def _write(root: Path, entry: Entry) -> None:
    path = root / entry.path
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    if entry.target is not None:
        path.symlink_to(entry.target)
        return
    path.write_text(entry.content, encoding="utf-8")
    path.chmod(entry.mode)


def _proxy() -> Iterator[Entry]:
    """Yield what the role `squid` bakes: by its own templates and defaults."""
    values = {
        **yaml.safe_load(_of_a_role("squid", "defaults/main.yml")),
        **yaml.safe_load(_of_a_role("squid", "vars/main/main.yml")),
    }
    values["squid_all_destinations"] = values["squid_destinations"]
    rules = Environment(trim_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)  # noqa: S701 - no HTML
    for place, template in (("squid_configuration", "mutx.conf.j2"), ("squid_drop_in", "drop-in.conf.j2")):
        path, text = (
            rules.from_string(source).render(values)
            for source in (values[place], _of_a_role("squid", f"templates/{template}"))
        )
        yield Entry(path.removeprefix("/"), text)


def _of_the_role(name: str) -> str:
    return _of_a_role("mutx_join", f"files/{name}")


def _of_a_role(role: str, name: str) -> str:
    return (files("mutx_infra.playbooks") / "roles" / role / name).read_text(encoding="utf-8")


def _own(name: str) -> str:
    return (files("mutx_sandbox.machines") / "files" / name).read_text(encoding="utf-8")
