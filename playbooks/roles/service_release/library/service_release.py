"""Releases of a service on its host: side by side, whole or not there, and one of them current by one rename."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: service_release
short_description: Releases of a service, side by side
description:
  - Each release is a virtual environment below C(releases) with a mark that is written last; one without it was begun
    and never finished, and is made anew. The running service has the paths of its own release, so it is not disturbed.
author: mutx.dev
options:
  root: {description: The place of the releases., type: path, required: true}
  release: {description: The name of the release., type: str, required: true}
  state:
    description: >-
      C(looked_at) changes nothing; C(installed) installs it from C(archive); C(current) makes it what the unit starts.
    type: str
    choices: [looked_at, installed, current]
    required: true
  must_be_there: {description: Fail where it is not there., type: bool, default: false}
  archive: {description: What service_wheelhouse made; removed afterwards., type: path}
  command: {description: The console script that it must have., type: str}
  kept: {description: How many others stay beside the current one and the one before., type: int, default: 2}
  pending: {description: The mark that says that the unit must be restarted., type: str}
"""

EXAMPLES = r"""
- name: Switch to the release
  service_release:
    root: /opt/my-service
    release: my_service-1.0-0a1b2c3d4e5f
    state: current
"""

RETURN = r"""
release: {description: Its name., type: str, returned: always}
missing: {description: Whether it is not installed., type: bool, returned: always}
is_current: {description: Whether the unit starts it., type: bool, returned: always}
releases: {description: Those that are installed., type: list, returned: always}
"""

PENDING = Path("/var/lib/mutx/pending")
WHOLE = ".whole"
PYTHON = "/usr/bin/python3"


class RefusedError(Exception):
    """The release cannot be had; the current one is as it was."""


class Releases:
    """The releases below a place."""

    def __init__(self, root: Path) -> None:
        self.root, self.current = root, root / "current"

    def place(self, release: str) -> Path:
        """Return where a release is, or would be."""
        return self.root / "releases" / release

    def names(self) -> list[str]:
        """Return those that are whole, the newest first."""
        marks = (self.root / "releases").glob(f"*/{WHOLE}")
        return [mark.parent.name for mark in sorted(marks, key=lambda mark: -mark.stat().st_mtime_ns)]

    def current_name(self) -> str:
        """Return the current one's name, or nothing."""
        return self.current.readlink().name if self.current.is_symlink() else ""

    def switch(self, release: str) -> None:
        """Let the unit start another one; there is no moment without one."""
        fresh = self.root / ".current"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path("releases") / release)
        fresh.rename(self.current)

    def remove_old(self, others: int, *, but: set[str]) -> None:
        """Remove all but some, the newest of them."""
        for name in [name for name in self.names() if name not in but][others:]:
            (self.place(name) / WHOLE).unlink()
            shutil.rmtree(self.place(name))


def main() -> None:
    """Look, install or switch."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["looked_at", "installed", "current"], "required": True},
            "must_be_there": {"type": "bool", "default": False},
            "archive": {"type": "path"},
            "command": {"type": "str"},
            "kept": {"type": "int", "default": 2},
            "pending": {"type": "str"},
        },
        supports_check_mode=True,
    )
    # Whatever the operator's umask is, the service's account must be able to read it.
    os.umask(0o022)
    releases, wanted, state = (
        Releases(Path(module.params["root"])),
        module.params["release"],
        module.params["state"],
    )
    if module.params["must_be_there"] and wanted not in releases.names():
        there = ", ".join(releases.names()) or "none"
        module.fail_json(
            msg=f"[release-missing] {wanted} is not on this host, nothing was changed; there are: {there}"
        )
    changed = {
        "looked_at": False,
        "installed": wanted not in releases.names(),
        "current": releases.current_name() != wanted,
    }[state]
    if changed and not module.check_mode:
        try:
            act(module, releases, wanted)
        except (RefusedError, OSError, tarfile.TarError) as exc:
            stays = releases.current_name() or "no release"
            module.fail_json(msg=f"[release-install] {wanted} could not be installed, {stays} stays: {exc}")
    names = releases.names()
    module.exit_json(
        changed=changed,
        release=wanted,
        missing=wanted not in names,
        is_current=releases.current_name() == wanted,
        releases=names,
    )


def act(module: AnsibleModule, releases: Releases, wanted: str) -> None:
    """Bring the state about."""
    given = module.params
    if given["state"] == "installed":
        archive = Path(given["archive"])
        install(archive, releases.place(wanted), given["command"])
        archive.unlink()
        return
    before = releases.current_name()
    if given["pending"]:
        # A kill between the switch and the restart leaves the mark to the next run.
        PENDING.mkdir(parents=True, exist_ok=True, mode=0o755)
        (PENDING / given["pending"]).touch(mode=0o600)
    releases.switch(wanted)
    releases.remove_old(given["kept"], but={wanted, before})


def install(archive: Path, place: Path, command: str) -> None:
    """Make a release from an archive; pip takes a wheel only if its hash is the locked one.

    Raises:
        RefusedError: Python or pip failed, or the command is not among what was installed.
    """
    if place.exists():
        shutil.rmtree(place)
    wheels = place / "wheels"
    wheels.mkdir(parents=True)
    unpack(archive, wheels)
    installer = next(wheels.glob("pip-*.whl"), None)
    if installer is None:
        raise RefusedError("the archive holds no pip: it was not made by service_wheelhouse")
    # Without pip: Debian's Python has no ensurepip, and a release needs none once it is installed.
    must_run(PYTHON, "-m", "venv", "--without-pip", str(place))
    pip = [str(place / "bin/python"), "-I", f"{installer}/pip", "--isolated", "--no-input",
           "--disable-pip-version-check", "--no-cache-dir"]  # fmt: skip
    must_run(*pip, "install", "--quiet", "--no-index", "--find-links", str(wheels), "--no-deps", "--require-hashes",
             "--requirement", str(wheels / "requirements.txt"))  # fmt: skip
    if not os.access(place / "bin" / command, os.X_OK):
        raise RefusedError(f"it has no command `{command}`: name the console script that serves")
    shutil.rmtree(wheels)
    os.sync()
    (place / WHOLE).touch()


def unpack(archive: Path, place: Path) -> None:
    """Unpack the files of an archive into one directory; names from outside decide no path."""
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if Path(member.name).name == member.name else None
            if content is not None:
                with (place / member.name).open("wb") as file, content:
                    shutil.copyfileobj(content, file)


def must_run(*command: str) -> None:
    """Run a command that has to succeed, with nothing of the operator's environment."""
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RefusedError((done.stderr or done.stdout).strip()[-2000:])


if __name__ == "__main__":
    main()
