"""The root file system that all machines share: built once by mmdebstrap, kept outside the checkout, never written to.

Two layers: the packages (a minute or two to make, so kept by their list), and what the recipe adds to them (made anew
in an instant). A machine sees both through a copy-on-write view of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mutx_sandbox.machines.packages import IDLE_SERVICES, SUITE
from mutx_sandbox.machines.packages import packages as baked_packages
from mutx_sandbox.machines.tools import refresh_lists

from mutx_infra.errors import OutsideError, SettingsError

ACCOUNT = "mutx"
"""The converge account's name; it has no password and no key."""

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_BUILD_LIMIT_S = 1800
_DIGEST_LENGTH = 16
_UNFINISHED = ".building-"

# Run in the new root by mmdebstrap's hooks. No host key, machine id or package index may be shared by machines.
_FINISH = (
    f'chroot "$1" useradd --create-home --shell /bin/bash --comment "converge account" {ACCOUNT}',
    f'chroot "$1" passwd --lock {ACCOUNT}',
    f'chroot "$1" systemctl disable --quiet {" ".join(IDLE_SERVICES)}',
    'rm -f "$1"/etc/ssh/ssh_host_* "$1"/var/lib/systemd/random-seed',
    ': > "$1"/etc/machine-id && rm -f "$1"/var/lib/dbus/machine-id "$1"/etc/hostname "$1"/etc/resolv.conf',
    ': > "$1"/etc/fstab && : > "$1"/etc/resolv.conf',
)
_LEAN = ('Acquire::Languages "none"', 'APT::Install-Recommends "false"', 'APT::Sandbox::User "root"')
_DPKG = ("path-exclude=/usr/share/man/*", "path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright",
         "path-exclude=/usr/share/locale/*")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """One repository that this machine's apt knows, in apt's words."""

    label: str
    uri: str


@dataclass(frozen=True, slots=True)
class Image:
    """What an image is made of; its digest names it.

    Attributes:
        finish: shell lines run in the finished root, `$1` being its path.
        variant: of mmdebstrap; `extract` unpacks packages without installing them.
        what: it is, in a word.
    """

    suite: str = SUITE
    packages: tuple[str, ...] = field(default_factory=baked_packages)
    finish: tuple[str, ...] = _FINISH
    variant: str = "minbase"
    what: str = "image"

    @property
    def digest(self) -> str:
        """Name of the image: changes with anything that changes its content, except newer packages in the suite."""
        parts = "\0".join([self.suite, self.variant, *self.packages, "", *self.finish, *_LEAN, *_DPKG])
        return hashlib.sha256(parts.encode()).hexdigest()[:_DIGEST_LENGTH]


def ensure_rootfs(
    cache: Path,
    say: Callable[[str], None],
    image: Image | None = None,
    reduce: Callable[[Path], None] | None = None,
) -> Path:
    """Return the directory of an image's packages; builds it where no checkout has built it yet.

    `reduce` makes of what was built what is to be kept.

    A build works beside the place and is moved there when it is whole; two at once wait for each other.

    Raises:
        SettingsError: apt knows no Debian mirror (code `mirror-missing`).
        OutsideError: mmdebstrap failed (code `image-not-built`).
    """
    image = image or Image()
    home = cache / "machines"
    place = home / f"{image.suite}-{image.digest}"
    if place.is_dir():
        return place
    home.mkdir(parents=True, exist_ok=True)
    with _only_one(home / "build.lock"):
        _remove_unfinished(home)
        if not place.is_dir():
            say(
                f"building the {image.what} of the machines, {len(image.packages)} packages of Debian {image.suite} ..."
            )
            unfinished = home / f"{_UNFINISHED}{os.getpid()}"
            _build(image, unfinished)
            if reduce is not None:
                reduce(unfinished)
            unfinished.rename(place)
    return place


def mirror_lines(sources: Sequence[Source], suite: str) -> str:
    """Return the sources of a suite, by the mirrors that this machine's own sources name.

    Raises:
        SettingsError: there is no Debian mirror among them (code `mirror-missing`).
    """
    main = next((source.uri for source in sources if source.label == "Debian"), None)
    security = next((source.uri for source in sources if source.label == "Debian-Security"), None)
    if main is None:
        raise SettingsError(
            "this machine's apt knows no mirror of Debian, from which the image of the machines is made",
            code="mirror-missing",
            remedy="add a source of Debian's to /etc/apt/sources.list.d, then run `apt-get update`",
        )
    option = f"[signed-by={_KEYRING}] " if _KEYRING.is_file() else ""
    lines = [f"deb {option}{main} {suite} main", f"deb {option}{main} {suite}-updates main"]
    if security is not None:
        lines.append(f"deb {option}{security} {suite}-security main")
    return "".join(f"{line}\n" for line in lines)


def known_sources() -> tuple[Source, ...]:
    """Return what apt on this machine is set up with; its lists are fetched first where it has none."""
    found = _index_targets()
    if not found:
        refresh_lists()
        found = _index_targets()
    return found


def _index_targets() -> tuple[Source, ...]:
    command = ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    pairs = [line.rpartition(" ") for line in done.stdout.splitlines()]
    return tuple(dict.fromkeys(Source(label, uri) for label, _, uri in pairs if label and "$" not in uri))


def _build(image: Image, place: Path) -> None:
    # In namespaces of its own: a build that is killed takes its mounts with it, and removing the rest is safe.
    # The build also ends with this process, however that ends.
    command = ["setpriv", "--pdeathsig", "KILL"]
    command += [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation",
        "private",
    ]
    command += ["mmdebstrap", "--mode=root", f"--variant={image.variant}", "--format=directory", "--quiet"]
    command += [f"--include={','.join(image.packages)}"]
    command += [f"--aptopt={option}" for option in _LEAN]
    command += [f"--dpkgopt={option}" for option in _DPKG]
    command += [f"--customize-hook={line}" for line in image.finish]
    command += [image.suite, str(place), "-"]
    sources = mirror_lines(known_sources(), image.suite)
    try:
        done = subprocess.run(
            command, input=sources, capture_output=True, text=True, timeout=_BUILD_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise _not_built(str(exc)) from exc
    if done.returncode != 0:
        raise _not_built("\n".join(done.stderr.splitlines()[-10:]))


def _not_built(detail: str) -> OutsideError:
    return OutsideError(
        "mmdebstrap could not make the image of the machines",
        code="image-not-built",
        remedy="see that apt's mirror can be reached, then run the same command again; nothing half-made is kept",
        detail=detail,
    )


def _remove_unfinished(home: Path) -> None:
    for left in home.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left)


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
