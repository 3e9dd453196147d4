"""What the image has beyond packages: the files of the role `mutx_join`, and what stands in for a cloud's own parts.

The role's files are the ones that `playbooks/image.yml` bakes, taken from the installed package. `mutx-user-data` does
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

from mutx_sandbox.machines.rootfs import ACCOUNT

AWS_ADDRESS = "169.254.170.23"
AWS_PORT = 80
"""Where hosts reach the sandbox's AWS; link-local, as the metadata service is."""

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


def _of_the_role(name: str) -> str:
    return (files("mutx_infra.playbooks") / "roles" / "mutx_join" / "files" / name).read_text(
        encoding="utf-8"
    )


def _own(name: str) -> str:
    return (files("mutx_sandbox.machines") / "files" / name).read_text(encoding="utf-8")
