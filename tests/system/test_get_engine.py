"""Getting the engine: each way, each failure, with stand-ins for the installer's result and for Go."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from get_engine import engine_version

from tests.support.processes import is_running

VERSION = engine_version()
# What `go build -o FILE` does, seen from outside.
GO = """#!/bin/sh
case "$1" in
env) echo go{go_version}; echo {toolchain};;
build)
    echo "$GOFLAGS" >>'{log}'
    while [ "$1" != -o ]; do shift; done
    echo some/package
    {before}
    printf '#!/bin/sh\\necho v%s\\n' {version} >"$2" && chmod +x "$2";;
esac
"""


class Machine:
    """An empty home and cache, a PATH with at most a stand-in for Go, and no way to the installer."""

    def __init__(self, root: Path, checkout: Path) -> None:
        self.root, self.checkout = root, checkout
        self.bin, self.cache, self.log = root / "bin", root / "cache", root / "log"
        self.bin.mkdir()
        for tool in ("sh", "chmod", "sleep", "touch", "cat"):
            (self.bin / tool).symlink_to(shutil.which(tool))

    @property
    def built(self) -> Path:
        return self.cache / "pulumi" / VERSION / "bin" / "pulumi"

    def put_go(self, go_version="1.26.0", toolchain="local", before=":", version=VERSION) -> None:
        go = self.bin / "go"
        go.write_text(
            GO.format(
                go_version=go_version, toolchain=toolchain, before=before, version=version, log=self.log
            )
        )
        go.chmod(0o755)

    def start(self, **extra: str) -> subprocess.Popen[str]:
        variables = {
            "PATH": str(self.bin),
            "HOME": str(self.root / "home"),
            "MUTX_INFRA_CACHE": str(self.cache),
            # The installer's script is fetched by urllib, which obeys this: nothing listens there.
            "https_proxy": "http://127.0.0.1:9",
            "TMPDIR": str(self.root),
            **extra,
        }
        return subprocess.Popen(
            [sys.executable, str(self.checkout / "tools" / "get_engine.py")],
            env=variables, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, **extra: str) -> tuple[int, str]:
        process = self.start(**extra)
        out, err = process.communicate(timeout=60)
        assert out == "", "stdout is for data"
        return process.returncode, err

    def builds(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def leftovers(self) -> list[str]:
        return [path.name for path in (self.cache / "pulumi").glob(".making-*")]


@pytest.fixture
def machine(tmp_path: Path, checkout: Path) -> Machine:
    root = tmp_path / "with a space"
    root.mkdir()
    return Machine(root, checkout)


def test_an_engine_is_built_where_the_installer_cannot_be_reached(machine):
    machine.put_go()

    status, said = machine.run()

    assert status == 0, said
    assert machine.built.is_file()
    assert "the official installer gave no engine (not reachable: " in said
    assert said.splitlines()[-1] == f"Pulumi engine {VERSION}: {machine.built}"


def test_go_sum_decides_what_may_be_built(machine):
    machine.put_go()

    machine.run(GOFLAGS="-mod=mod")

    assert machine.log.read_text() == "-mod=readonly\n"


def test_a_second_run_gets_nothing(machine):
    machine.put_go()
    machine.run()

    status, said = machine.run()

    assert (status, said) == (0, f"Pulumi engine {VERSION}: {machine.built}\n")
    assert machine.builds() == 1


def test_a_damaged_engine_is_got_again(machine):
    machine.put_go()
    machine.run()
    machine.built.write_bytes(machine.built.read_bytes()[:4])

    status, said = machine.run()

    assert status == 0, said
    assert "is damaged; getting it again" in said
    assert machine.builds() == 2


def test_two_at_once_build_once(machine):
    machine.put_go(before="sleep 2")

    first, second = machine.start(), machine.start()
    said = [process.communicate(timeout=60)[1] for process in (first, second)]

    assert (first.returncode, second.returncode) == (0, 0), said
    assert machine.builds() == 1
    assert sum("waiting for it" in words for words in said) == 1


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name
)
def test_a_build_that_is_ended_leaves_nothing_half_made(machine, number):
    started = machine.root / "started"
    machine.put_go(before=f"echo $$ >'{started}'; exec sleep 60 >/dev/null 2>&1")
    process = machine.start()
    wait_for(lambda: started.exists() and started.read_text().strip())

    process.send_signal(number)
    process.communicate(timeout=30)
    wait_for(lambda: not is_running(int(started.read_text())))
    machine.put_go()
    status, said = machine.run()

    assert process.returncode != 0
    assert status == 0, said
    assert machine.leftovers() == []


def test_ctrl_c_exits_as_the_shell_expects(machine):
    started = machine.root / "started"
    machine.put_go(before=f"touch '{started}'; exec sleep 60 >/dev/null 2>&1")
    process = machine.start()
    wait_for(started.exists)

    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]

    assert process.returncode == 130
    assert "Traceback" not in said
    assert machine.leftovers() == []


@pytest.mark.parametrize(
    ("go", "code"),
    [
        pytest.param(None, "go-missing", id="none"),
        pytest.param({"go_version": "1.20.1", "toolchain": ""}, "go-too-old", id="older-than-toolchains"),
        pytest.param({"go_version": "1.24.0", "toolchain": "local"}, "go-too-old", id="may-not-fetch"),
    ],
)
def test_a_go_that_cannot_build_it_is_an_error_with_a_remedy(machine, go, code):
    if go is not None:
        machine.put_go(**go)

    status, said = machine.run()

    assert status == 3
    assert f"error[{code}]" in said
    assert "hint: install Go 1." in said


def test_an_older_go_that_may_fetch_its_toolchain_is_good_enough(machine):
    machine.put_go(go_version="1.22.0", toolchain="auto")

    assert machine.run()[0] == 0


def test_a_failing_build_shows_its_last_lines(machine):
    machine.put_go(before="echo 'verifying module: checksum mismatch'; exit 1")

    status, said = machine.run()

    assert status == 5
    assert "error[engine-build-failed]" in said
    assert "  verifying module: checksum mismatch" in said
    assert not machine.built.exists()


def test_a_build_that_tells_another_version_is_not_kept(machine):
    machine.put_go(version="3.0.0")

    assert machine.run()[0] == 5
    assert not machine.built.exists()


def test_a_cache_that_cannot_be_written_is_said_plainly(machine):
    machine.put_go()
    machine.cache.write_text("a file where the directory should be")

    status, said = machine.run()

    assert status == 3
    assert "error[cache-unwritable]" in said
    assert "hint: set MUTX_INFRA_CACHE" in said


def test_a_missing_home_does_not_matter(machine):
    machine.put_go()
    variables = {
        "PATH": str(machine.bin),
        "MUTX_INFRA_CACHE": str(machine.cache),
        "https_proxy": "http://127.0.0.1:9",
    }

    done = subprocess.run(
        [sys.executable, str(machine.checkout / "tools" / "get_engine.py")],
        env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
