"""Debian's own kernel as a layer of the image: `/boot`, its modules, and an initial root that mounts what is shared.

Kept in the cache as the packages are. The initial root is written here rather than by initramfs-tools: it needs four
modules and one mount, and is then the same wherever it is made (cpio's "newc" format, Linux's
Documentation/driver-api/early-userspace/buffer-format.rst).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mutx_sandbox.machines.kernel import run
from mutx_sandbox.machines.own_kernel import INIT
from mutx_sandbox.machines.rootfs import Image, ensure_rootfs

KERNEL, INITIAL_ROOT = "boot/vmlinuz", "boot/initrd.img"
"""Where a machine's kernel lies, below its root."""
SHARE = "root"
"""The name under which a machine is shown its root (9P's mount tag)."""
PROBE = "mutx.probe"
"""On the kernel's command line: say `ALIVE` and power off."""
ALIVE = "mutx-probe-alive"

_PACKAGES = ("linux-image-amd64", "busybox-static")
_MODULES = ("virtio_pci", "virtio_net", "9p", "9pnet_virtio")
_INIT_SCRIPT = f"""#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "/modules/$module"; done </modules/order
if $b grep -q -w {PROBE} /proc/cmdline; then echo {ALIVE}; $b poweroff -f; fi
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose {SHARE} /root || $b poweroff -f
$b umount /proc
$b mount --move /dev /root/dev
exec $b switch_root /root {INIT}
"""
_DIRECTORY, _EXECUTABLE, _PLAIN = 0o40755, 0o100755, 0o100644


def ensure_kernel(cache: Path, say: Callable[[str], None], suite: str) -> Path:
    """Return the directory of a release's kernel; fetched where no checkout has fetched it yet.

    Raises:
        SettingsError: apt knows no Debian mirror (code `mirror-missing`).
        OutsideError: the packages could not be had (code `image-not-built`).
    """
    image = Image(suite=suite, packages=_PACKAGES, finish=(), variant="extract", what="kernel")
    return ensure_rootfs(cache, say, image, reduce_to_kernel)


def reduce_to_kernel(place: Path) -> None:
    """Make of unpacked packages a layer with the kernel, its modules and the initial root, and nothing else."""
    (modules,) = (place / "lib/modules").iterdir()
    run("chroot", str(place), "/sbin/depmod", modules.name)
    order = load_order((modules / "modules.dep").read_text(encoding="ascii"), _MODULES)
    archive = initial_root(
        (place / "bin/busybox").read_bytes(),
        [(Path(name).name, (modules / name).read_bytes()) for name in order],
    )
    layer = place / ".layer"
    (layer / "usr/lib/modules").mkdir(parents=True)
    (layer / "boot").mkdir()
    (place / f"boot/vmlinuz-{modules.name}").rename(layer / KERNEL)
    (layer / INITIAL_ROOT).write_bytes(archive)
    modules.rename(layer / "usr/lib/modules" / modules.name)
    for old in place.iterdir():
        if old == layer:
            continue
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink()
    for new in layer.iterdir():
        new.rename(place / new.name)
    layer.rmdir()


def load_order(dependencies: str, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the files of modules, each after those it needs; `dependencies` is depmod's `modules.dep`."""
    known = {}
    for line in dependencies.splitlines():
        file, _, needs = line.partition(":")
        known[_module_name(file)] = (file, needs.split())
    order: dict[str, None] = {}
    for name in wanted:
        module, others = known[name]
        # depmod lists the nearest first, so that the farthest is loaded first.
        order.update(dict.fromkeys([*reversed(others), module]))
    return tuple(order)


def initial_root(busybox: bytes, modules: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a cpio archive with a shell, modules in the order of loading, and the script that starts a machine."""
    entries = [(name, _DIRECTORY, b"") for name in ("bin", "dev", "modules", "proc", "root")]
    entries.append(("bin/busybox", _EXECUTABLE, busybox))
    entries += [(f"modules/{name}", _PLAIN, content) for name, content in modules]
    entries.append(("modules/order", _PLAIN, "".join(f"{name}\n" for name, _ in modules).encode()))
    entries.append(("init", _EXECUTABLE, _INIT_SCRIPT.encode()))
    entries.append(("TRAILER!!!", 0, b""))
    return b"".join(part for number, entry in enumerate(entries, 1) for part in _cpio(number, *entry))


def _cpio(number: int, name: str, mode: int, content: bytes) -> Iterator[bytes]:
    path = name.encode() + b"\0"
    # inode, mode, uid, gid, links, time, size, four devices' numbers, length of the path, checksum
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
    header = "070701" + "".join(f"{value:08x}" for value in fields)
    for part in (header.encode() + path, content):
        yield part + b"\0" * (-len(part) % 4)


def _module_name(file: str) -> str:
    return Path(file).name.partition(".ko")[0].replace("-", "_")
