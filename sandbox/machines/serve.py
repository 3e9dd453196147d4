"""The laboratory's processes: `python -m mutx_sandbox.machines.serve --folder DIR …`.

Three of them. The keeper stays in this machine's own namespaces and waits: for a signal, for its state directory to be
removed, for the others' end; then it removes what the kernel does not remove by itself. The first process of a process
tree of its own reaps. The third runs the machines. When any of them is killed, the kernel ends the rest, and with them
go all mounts, networks and addresses.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event

from mutx_sandbox.machines.groups import MOUNT, group_name, mount_unified, remove_everywhere
from mutx_sandbox.machines.kernel import CLONE_NEWNS, CLONE_NEWPID, end_with_parent, run, unshare
from mutx_sandbox.machines.record import LabRecord, record_file, socket_file

from mutx_infra.adapters.process import current_owner

_LOOK_EVERY_S = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Keep a laboratory until it is told to end."""
    parser = argparse.ArgumentParser(prog="machines", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where machines are kept")
    parser.add_argument("--environment", type=Path, required=True, help="the sandbox's profile")
    parser.add_argument(
        "--end-without", type=Path, required=True, metavar="FILE", help="end when this file is gone"
    )
    parser.add_argument(
        "--layer", type=Path, action="append", required=True, help="of the image, uppermost first"
    )
    parser.add_argument("--tailnet", type=Path, metavar="DIRECTORY", help="programs of the tailnet to join")
    parser.add_argument("--tailnet-ports", type=int, nargs=2, metavar=("CONTROL", "DERP"), default=(0, 0))
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    remove_everywhere(group_name(folder))
    unshare(CLONE_NEWPID)
    inner = os.fork()
    if inner == 0:
        _become_first_process(folder, options)
    record = LabRecord(keeper=current_owner(), inner=inner)
    record_file(folder).write_text(record.model_dump_json(indent=2), encoding="utf-8")
    _wait(inner, options.end_without, stop)
    remove_everywhere(group_name(folder))
    for left in (record_file(folder), socket_file(folder)):
        left.unlink(missing_ok=True)
    return 0


def _wait(inner: int, leash: Path, stop: Event) -> None:
    """Return when the inner processes have ended; end them when it is time."""
    while os.waitpid(inner, os.WNOHANG) == (0, 0):
        if stop.is_set() or not leash.exists():
            os.kill(inner, signal.SIGKILL)
            os.waitpid(inner, 0)
            return
        stop.wait(_LOOK_EVERY_S)


def _become_first_process(folder: Path, options: argparse.Namespace) -> None:
    """Set up what only the machines see, start what runs them, and reap; never returns."""
    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        end_with_parent()
        unshare(CLONE_NEWNS)
        run("mount", "--make-rprivate", "/")
        run("mount", "-t", "proc", "proc", "/proc")
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
        mount_unified()
        worker = os.fork()
        if worker == 0:
            status = _work(folder, options)
            return
        while True:
            with suppress(ChildProcessError):
                ended, found = os.wait()
                if ended == worker:
                    status = os.waitstatus_to_exitcode(found)
                    return
    finally:
        _leave(status)


def _work(folder: Path, options: argparse.Namespace) -> int:
    """Serve requests until the end."""
    from mutx_sandbox.machines.control import serve_requests  # noqa: PLC0415 - after the fork, before any thread
    from mutx_sandbox.machines.coordination import CoordinationPorts  # noqa: PLC0415
    from mutx_sandbox.machines.following import Follower, registered  # noqa: PLC0415
    from mutx_sandbox.machines.wiring import TailnetParts, make_laboratory  # noqa: PLC0415

    group = MOUNT / group_name(folder)
    group.mkdir(exist_ok=True)
    environment: Path = options.environment
    ports = CoordinationPorts(*options.tailnet_ports)
    tailnet = TailnetParts(options.tailnet, ports) if options.tailnet else None
    laboratory = make_laboratory(folder, environment, tuple(options.layer), group, tailnet)
    laboratory.start()
    serve_requests(laboratory, Follower(laboratory, lambda: registered(environment)), socket_file(folder))
    return 0


def _leave(status: int) -> None:
    if sys.exc_info()[0] is not None:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(status if status >= 0 else 1)


if __name__ == "__main__":
    raise SystemExit(main())
