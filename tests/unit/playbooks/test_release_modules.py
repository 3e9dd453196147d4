"""Releases of a service: what their modules decide, on files of the test."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import ROLES, load_program

FIRST, SECOND, THIRD = "agent-1.0-aaa", "agent-1.1-bbb", "agent-1.2-ccc"


service_release = load_program("service_release/library/service_release.py")
service_wheelhouse = load_program("service_release/library/service_wheelhouse.py")
release_names = load_program("service_release/lookup_plugins/service_release.py")


def run(program: str, /, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
    given = {"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check}}
    done = subprocess.run(
        [sys.executable, str(ROLES / program)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def put_release(root: Path, name: str, *, age_s: int = 0, is_whole: bool = True) -> None:
    place = root / "releases" / name
    place.mkdir(parents=True)
    if is_whole:
        (place / ".whole").touch()
        os.utime(place / ".whole", (1_700_000_000 - age_s, 1_700_000_000 - age_s))


def release(root: Path, name: str, state: str, **more: Any) -> dict[str, Any]:
    return run(
        "service_release/library/service_release.py", root=str(root), release=name, state=state, **more
    )


def test_a_switch_keeps_the_one_before_and_the_newest_others(tmp_path: Path) -> None:
    for age, name in enumerate([THIRD, SECOND, FIRST, "agent-0.9-ddd"]):
        put_release(tmp_path, name, age_s=age)
    (tmp_path / "current").symlink_to(f"releases/{FIRST}")

    done = release(tmp_path, THIRD, "current", kept=1)

    assert (done["changed"], done["is_current"]) == (True, True)
    assert sorted(done["releases"]) == sorted([FIRST, SECOND, THIRD])
    assert (tmp_path / "current").readlink() == Path("releases", THIRD)
    assert release(tmp_path, THIRD, "current", kept=1)["changed"] is False


def test_a_release_that_was_never_finished_is_missing(tmp_path: Path) -> None:
    put_release(tmp_path, FIRST, is_whole=False)

    assert release(tmp_path, FIRST, "looked_at") == {
        **release(tmp_path, FIRST, "looked_at"), "changed": False, "missing": True, "is_current": False, "releases": [],
    }  # fmt: skip


def test_check_mode_foretells_and_switches_nothing(tmp_path: Path) -> None:
    put_release(tmp_path, FIRST)

    assert release(tmp_path, FIRST, "current", check=True)["changed"] is True
    assert not (tmp_path / "current").exists()


def test_a_release_to_go_back_to_must_be_there_and_those_that_are_are_named(tmp_path: Path) -> None:
    put_release(tmp_path, SECOND)

    refused = release(tmp_path, FIRST, "looked_at", must_be_there=True)

    assert refused["failed"] is True
    assert "[release-missing]" in refused["msg"]
    assert SECOND in refused["msg"]


def test_an_archive_that_is_none_leaves_the_current_release(tmp_path: Path) -> None:
    put_release(tmp_path, FIRST)
    (tmp_path / "current").symlink_to(f"releases/{FIRST}")
    (tmp_path / "incoming.tar").write_bytes(b"no archive")

    refused = release(tmp_path, SECOND, "installed", archive=str(tmp_path / "incoming.tar"), command="agent")

    assert f"[release-install] {SECOND} could not be installed, {FIRST} stays" in refused["msg"]
    assert (tmp_path / "current").readlink() == Path("releases", FIRST)


def test_names_in_an_archive_decide_no_path(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (tmp_path / "content").write_text("x")
    with tarfile.open(tmp_path / "incoming.tar", "w") as tar:
        for name in (str(outside), "../outside", "sub/outside"):
            tar.add(tmp_path / "content", arcname=name)

    release(tmp_path / "root", FIRST, "installed", archive=str(tmp_path / "incoming.tar"), command="agent")

    assert not outside.exists()
    assert not list((tmp_path / "root").rglob("outside"))


def test_wheels_for_older_systems_are_taken_and_for_newer_ones_not() -> None:
    found = service_wheelhouse.platforms("x86_64", "2.36")

    assert found[0] == "manylinux_2_36_x86_64"
    assert {"manylinux2014_x86_64", "manylinux_2_17_x86_64", "linux_x86_64"} <= set(found)
    assert "manylinux_2_37_x86_64" not in found


def test_a_release_s_name_changes_with_wheels_lock_and_host_alone(tmp_path: Path) -> None:
    wheel, lock = tmp_path / "my_agent-1.0-py3-none-any.whl", tmp_path / "requirements.lock"
    companion = tmp_path / "our_kit-0.1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    companion.write_bytes(b"companion")
    lock.write_text("a==1\n")

    def name(python: str = "3.11") -> str:
        found: str = release_names.release_name([wheel, companion], [lock], {"python": python})
        return found

    first = name()
    assert first.startswith("my_agent-1.0-")
    assert name() == first
    assert name("3.12") != first
    companion.write_bytes(b"another")
    assert name() != first
    companion.write_bytes(b"companion")
    lock.write_text("a==2\n")
    assert name() != first


def test_a_wheel_that_is_none_or_is_not_there_is_refused(tmp_path: Path) -> None:
    good = tmp_path / "agent-1.0-py3-none-any.whl"
    good.touch()
    for path in ("", "agent.tar.gz", "my_agent-1.0-py3-none-any.whl"):
        with pytest.raises(release_names.AnsibleError, match=r"\[release-wheel\]"):
            release_names.release_name([tmp_path / path], [], {})
        with pytest.raises(release_names.AnsibleError, match=r"\[release-wheel\]"):
            release_names.release_name([good, tmp_path / path], [], {})


LOCK = """\
# made by hand
always==1 \\
    --hash=sha256:aa
    # via ; nobody
early==5.0.1 ; python_full_version < '3.11.3' \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via
newer==2 ; python_full_version >= '3.12'
windows==1 ; sys_platform == 'win32' \\
    --hash=sha256:dd
arm==1 ; platform_machine == 'aarch64' and platform_python_implementation != 'PyPy' \\
    --hash=sha256:ee
"""


@pytest.mark.parametrize(
    ("python", "machine", "names"),
    [
        ("3.11", "x86_64", ["always==1", "early==5.0.1"]),
        ("3.12", "x86_64", ["always==1", "newer==2"]),
        ("3.13", "aarch64", ["always==1", "newer==2", "arm==1"]),
    ],
    ids=["old", "new", "another machine"],
)
def test_what_is_fetched_is_what_the_host_may_need_and_not_this_machine(
    python: str, machine: str, names: list[str]
) -> None:
    wheelhouse = load_program("service_release/library/service_wheelhouse.py")

    needed = wheelhouse.locked_for(LOCK, {"python": python, "machine": machine, "libc": "2.36"})

    entries = [line.removesuffix(" \\") for line in needed.splitlines() if not line.startswith(("#", " "))]
    assert entries == names
    hashes = {word for word in needed.split() if word.startswith("--hash")}
    wanted = {"always==1": {"aa"}, "early==5.0.1": {"bb", "cc"}, "arm==1": {"ee"}}
    assert hashes == {f"--hash=sha256:{each}" for name in names for each in wanted.get(name, ())}


def test_an_archive_holds_companions_and_their_hashes(tmp_path: Path) -> None:
    wheel, companion = tmp_path / "my_agent-1.0-py3-none-any.whl", tmp_path / "our_kit-0.1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    companion.write_bytes(b"companion")
    lock, target = tmp_path / "requirements.lock", {"python": "3.11", "machine": "x86_64", "libc": "2.36"}
    lock.write_text("# nothing\n")
    digest = hashlib.sha256(json.dumps(target, sort_keys=True).encode() + lock.read_bytes()).hexdigest()
    # What pip would have fetched is there already: this test is without network.
    (tmp_path / "cache" / f"wheels-{digest[:12]}").mkdir(parents=True)

    made = run(
        "service_release/library/service_wheelhouse.py", release="my_agent-1.0-aaa", wheel=str(wheel),
        companions=[str(companion)], locks=[str(lock)], target=target, cache=str(tmp_path / "cache"),
    )  # fmt: skip

    with tarfile.open(made["archive"]) as tar:
        assert {wheel.name, companion.name, "requirements.txt"} == set(tar.getnames())
        text = tar.extractfile("requirements.txt").read().decode()  # type: ignore[union-attr]
    assert f"our_kit==0.1 --hash=sha256:{hashlib.sha256(b'companion').hexdigest()}" in text
