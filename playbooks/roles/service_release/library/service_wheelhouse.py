"""Have all wheels of a release in one archive on the controller, fetched once and by hash."""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from packaging.markers import Marker

DOCUMENTATION = r"""
module: service_wheelhouse
short_description: Have all wheels of a release in one archive on the controller
description:
  - Runs on the controller. pip fetches the wheels of the locks for the host's Python, from the index that it is set up
    with, and takes none whose hash is not locked; nothing is built. The archive also holds the service's own wheel, its
    companions and C(requirements.txt), with hashes of all of it.
  - Wheels are kept by the digest of the locks and the target, the newest archives by the release's name. Hosts of one
    run that ask at once wait for one download.
author: mutx.dev
options:
  release: {description: The name of the release., type: str, required: true}
  wheel: {description: Path of the service's wheel., type: path, required: true}
  companions: {description: Paths of wheels on no index that it needs., type: list, elements: path, default: []}
  locks: {description: Paths of the requirements with hashes., type: list, elements: path, required: true}
  target: {description: "The host's C(python), C(machine) and C(libc)."  , type: dict, required: true}
  cache: {description: The directory of archives., type: path, required: true}
"""

EXAMPLES = r"""
- name: Fetch the wheels
  service_wheelhouse:
    release: my_service-1.0-0a1b2c3d4e5f
    wheel: dist/my_service-1.0-py3-none-any.whl
    locks: [requirements.lock]
    target: {python: "3.11", machine: x86_64, libc: "2.36"}
    cache: ~/.cache/mutx-infra/services
  delegate_to: localhost
"""

RETURN = r"""
archive: {description: Path of the archive on the controller., type: str, returned: always}
"""

# glibc's wheels name the oldest version that they run with (PEP 600); before 2.5 there are none.
_OLDEST_GLIBC = 5
_DIGEST_LENGTH = 12
_PYTHON_RELEASES = 30
"""More than any minor version of Python had."""
_KEPT = 4
"""Archives that stay: each is as large as all its wheels."""
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


class RefusedError(Exception):
    """The archive cannot be made."""


def main() -> None:
    """Make the archive unless it is there."""
    module = AnsibleModule(
        argument_spec={
            "release": {"type": "str", "required": True},
            "wheel": {"type": "path", "required": True},
            "companions": {"type": "list", "elements": "path", "default": []},
            "locks": {"type": "list", "elements": "path", "required": True},
            "target": {"type": "dict", "required": True},
            "cache": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    cache = Path(given["cache"]).expanduser()
    archive = cache / f"{given['release']}.tar"
    if not module.check_mode:
        try:
            with only_one(cache):
                if not archive.exists():
                    make(module, cache, archive)
        except (RefusedError, OSError) as exc:
            module.fail_json(msg=f"[release-wheels] the wheels of {given['release']} cannot be had: {exc}")
    # A cache: nothing that an operator needs to hear of.
    module.exit_json(changed=False, archive=str(archive))


def make(module: AnsibleModule, cache: Path, archive: Path) -> None:
    """Pack the locked wheels and our own beside the archive's place, and move it there when it is whole."""
    own = [Path(wheel) for wheel in (module.params["wheel"], *module.params["companions"])]
    locks = [Path(lock) for lock in module.params["locks"]]
    target = module.params["target"]
    needed = "".join(locked_for(lock.read_text(encoding="utf-8"), target) for lock in locks)
    digest = hashlib.sha256(json.dumps(target, sort_keys=True).encode())
    digest.update(needed.encode())
    wheels = cache / f"wheels-{digest.hexdigest()[:_DIGEST_LENGTH]}"
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=cache) as name:
        place = Path(name)
        if not wheels.is_dir():
            fetch(target, needed, place / "wheels")
            (place / "wheels").rename(wheels)
        requirements = place / "requirements.txt"
        text = "".join(lock.read_text(encoding="utf-8") for lock in locks)
        requirements.write_text(text + "".join(map(requirement, own)), encoding="utf-8")
        with tarfile.open(place / "archive.tar", "w") as tar:
            for file in [*sorted(wheels.iterdir()), *own, requirements]:
                tar.add(file, arcname=file.name)
        (place / "archive.tar").rename(archive)
    newest = sorted(cache.glob("*.tar"), key=lambda file: -file.stat().st_mtime_ns)
    for old in newest[_KEPT:]:
        old.unlink()


def requirement(wheel: Path) -> str:
    """Return the line that pins a wheel to its bytes."""
    name, version = wheel.name.split("-")[:2]
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def locked_for(text: str, target: Mapping[str, str]) -> str:
    """Return a lock's entries that the host may need, without conditions: pip would hold those against this Python.

    Of the host's Python the last number is not known; what one of them needs is fetched, and the host's pip chooses.
    """
    kept: list[str] = []
    continues, is_needed = False, True
    for line in text.splitlines():
        said = line
        if not continues:
            name, is_conditional, condition = line.partition(" ; ")
            is_needed = True
            if is_conditional and not line.startswith(("#", " ")):
                said = f"{name} \\" if line.endswith("\\") else name
                is_needed = may_hold(condition.rstrip("\\").strip(), target)
        if is_needed:
            kept.append(said)
        continues = line.endswith("\\")
    return "".join(f"{line}\n" for line in kept)


def may_hold(condition: str, target: Mapping[str, str]) -> bool:
    """Say whether a condition (PEP 508) holds on a host, with one of the releases of its Python."""
    host = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": target["machine"],
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_version": target["python"],
        "sys_platform": "linux",
    }
    marker = Marker(condition)
    return any(
        marker.evaluate({**host, "python_full_version": f"{target['python']}.{release}"})
        for release in range(_PYTHON_RELEASES)
    )


def fetch(target: Mapping[str, str], needed: str, place: Path) -> None:
    """Have pip download the locked wheels.

    Raises:
        RefusedError: pip refuses, e.g. because of a hash, or a package that has no wheel for the host.
    """
    tag = "cp" + target["python"].replace(".", "")
    command = [*pip(place.parent), "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", target["python"], "--abi", tag, "--abi", "abi3", "--abi", "none"]
    for platform in platforms(target["machine"], target["libc"]):
        command += ["--platform", platform]
    lock = place.with_name("needed.txt")
    lock.write_text(needed, encoding="utf-8")
    command += ["--requirement", str(lock)]
    done = subprocess.run([*command, "--dest", str(place)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RefusedError((done.stderr or done.stdout).strip()[-2000:])


def platforms(machine: str, libc: str) -> list[str]:
    """Return the names of the platforms whose wheels run on a host, the newest first."""
    newest = int(libc.split(".")[1])
    found = []
    for minor in range(newest, _OLDEST_GLIBC - 1, -1):
        found.append(f"manylinux_2_{minor}_{machine}")
        if minor in _OLD_NAMES:
            found.append(f"{_OLD_NAMES[minor]}_{machine}")
    return [*found, f"linux_{machine}"]


def pip(place: Path) -> list[str]:
    """Return the command of a pip; a virtual environment may have none, the Python behind it brings one."""
    if (
        subprocess.run(
            [sys.executable, "-m", "pip", "--version"], capture_output=True, check=False
        ).returncode
        == 0
    ):
        return [sys.executable, "-m", "pip"]
    made = subprocess.run(
        [sys.executable, "-m", "venv", str(place / "pip")], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise RefusedError(
            f"this Python has no pip, and none can be made: {(made.stderr or made.stdout).strip()}"
        )
    return [str(place / "pip" / "bin" / "python"), "-m", "pip"]


@contextmanager
def only_one(cache: Path) -> Iterator[None]:
    """Let one run at a time work on the cache."""
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (cache / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main()
