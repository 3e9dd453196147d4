"""The service's own PostgreSQL: it starts, keeps what it was given, comes back, and ends with its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from mutx_control_plane.store.embedded import EmbeddedServer, ephemeral_server
from mutx_control_plane.store.errors import StoreError

PATIENCE_S = 40
OWNER = """
import sys, time
from pathlib import Path
from mutx_control_plane.store.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), is_durable=False)
server.start()
print(server.server_pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that the server's user reaches as well, which pytest's own is not for root."""
    with tempfile.TemporaryDirectory(prefix="mutx-test-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o711)
        yield Path(made)


@pytest.fixture
def running(folder: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(folder / "pg", is_durable=False)
    server.start()
    yield server
    server.stop()


def eventually(claim: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if claim():
            return True
        time.sleep(0.05)
    return False


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def keep(server: EmbeddedServer, value: int) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])


def kept(server: EmbeddedServer) -> list[int]:
    with psycopg.connect(server.url("postgres")) as connection:
        return [row[0] for row in connection.execute("SELECT value FROM kept ORDER BY 1")]


def answers(server: EmbeddedServer) -> bool:
    try:
        with psycopg.connect(server.url(), connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def test_what_was_kept_is_there_after_a_stop_and_after_a_kill(running: EmbeddedServer) -> None:
    keep(running, 1)

    os.kill(running.server_pid, signal.SIGKILL)
    came_back = eventually(lambda: answers(running))
    keep(running, 2)
    running.stop()
    was_ended = not answers(running)
    running.start()

    assert came_back
    assert was_ended
    assert kept(running) == [1, 2]


def test_nothing_listens_on_the_network_and_no_other_user_gets_to_the_socket(running: EmbeddedServer) -> None:
    with psycopg.connect(running.url()) as connection:
        addresses = connection.execute("SHOW listen_addresses").fetchone()

    modes = {
        path.name: path.stat().st_mode & 0o077 for path in (running._state, running._data, running._sockets)
    }
    assert addresses == ("",)
    assert set(modes.values()) == {0}


def test_it_writes_before_it_answers_unless_it_is_thrown_away(folder: Path) -> None:
    settings = {}
    for is_durable in (True, False):
        server = EmbeddedServer(folder / f"pg-{is_durable}", is_durable=is_durable)
        server.start()
        with psycopg.connect(server.url()) as connection:
            settings[is_durable] = [
                connection.execute(query).fetchone()[0] for query in ("SHOW fsync", "SHOW synchronous_commit")
            ]
        server.stop()

    assert settings == {True: ["on", "on"], False: ["off", "on"]}


def test_a_second_owner_is_refused_and_told_of_the_first(running: EmbeddedServer) -> None:
    second = EmbeddedServer(running._state)

    with pytest.raises(StoreError, match=f"owned by process {os.getpid()}") as refused:
        second.start()

    assert refused.value.code == "embedded-owned"
    assert answers(running)


def test_it_ends_when_its_owner_is_killed(folder: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(folder / "pg")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        pid = int(owner.stdout.readline())
        was_running = is_running(pid)

        owner.kill()
        owner.wait()

    assert was_running
    assert eventually(lambda: not is_running(pid))


def test_a_cluster_that_was_begun_and_not_ended_is_made_anew(folder: Path) -> None:
    half = folder / "pg" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = EmbeddedServer(folder / "pg", is_durable=False)

    server.start()

    try:
        assert answers(server)
        assert not half.exists()
    finally:
        server.stop()


def test_a_state_directory_with_a_long_path_has_its_socket_elsewhere(folder: Path) -> None:
    server = EmbeddedServer(folder / ("long" * 30) / "pg", is_durable=False)
    server.start()

    sockets = server._sockets
    assert answers(server)
    server.stop()

    assert sockets is not None
    assert not sockets.exists()


def test_a_server_that_cannot_start_is_told_with_its_log(folder: Path) -> None:
    server = EmbeddedServer(folder / "pg", is_durable=False)
    server.start()
    server.stop()
    (folder / "pg/data/global/pg_control").write_bytes(b"")
    broken = EmbeddedServer(folder / "pg", start_s=3)

    with pytest.raises(StoreError) as refused:
        broken.start()

    assert refused.value.code == "embedded-failed"
    assert str(folder / "pg/log") in refused.value.remedy


def test_a_directory_that_the_servers_user_cannot_reach_is_refused_at_once(folder: Path) -> None:
    private = folder / "private"
    private.mkdir(mode=0o700)
    server = EmbeddedServer(private / "pg", is_durable=False)

    # Only root's server is another user; anybody else's reaches what its owner does.
    try:
        server.start()
        code = ""
    except StoreError as refused:
        code = refused.code
    finally:
        server.stop()

    assert code == ("embedded-unreachable" if os.geteuid() == 0 else "")


def test_an_ephemeral_one_leaves_nothing() -> None:
    with ephemeral_server() as server:
        state, pid = server._state, server.server_pid

        assert answers(server)

    assert not state.exists()
    assert not is_running(pid)
