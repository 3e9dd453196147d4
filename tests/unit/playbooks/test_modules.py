"""The modules of the roles, run as Ansible runs them but on files of the test: no host, no root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import ROLES, load_program

host_facts = load_program("host/library/host_facts.py")
ufw_live = load_program("ufw/library/ufw_live.py")
ufw_rules = load_program("ufw/filter_plugins/ufw_rules.py")


@pytest.fixture
def file_set(tmp_path: Path) -> FileSet:
    return FileSet(tmp_path)


class FileSet:
    """Runs the module in a process, on a root of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # The pending marks lie at a fixed place on a host; here below the test's directory.
        source = (ROLES / "host/library/file_set.py").read_text("utf-8")
        self.program = root / "file_set_here.py"
        self.program.write_text(
            source.replace('"/var/lib/mutx/pending"', repr(str(root / "pending"))).replace(
                '"/usr/libexec/mutx/before-change"', repr(str(root / "before-change"))
            ),
            "utf-8",
        )

    def __call__(self, *files: dict[str, Any], check: bool = False, **more: Any) -> dict[str, Any]:
        me = {"owner": str(_name("passwd")), "group": str(_name("group"))}
        entries = [{**me, **file, "path": str(self.root / file["path"])} for file in files]
        arguments = {"name": "thing", "files": entries, "_ansible_check_mode": check, **more}
        done = subprocess.run(
            [sys.executable, str(self.program)],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
            capture_output=True,
            text=True,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def _name(database: str) -> str:
    import grp  # noqa: PLC0415 -- only to say who runs the test
    import pwd  # noqa: PLC0415

    return pwd.getpwuid(os.getuid()).pw_name if database == "passwd" else grp.getgrgid(os.getgid()).gr_name


def test_a_missing_file_is_written_with_its_mode(file_set):
    said = file_set({"path": "etc/a.conf", "content": "one\n", "mode": "0600"})

    assert said["changed"]
    assert (file_set.root / "etc/a.conf").read_text() == "one\n"
    assert (file_set.root / "etc/a.conf").stat().st_mode & 0o777 == 0o600


def test_a_set_stays_changed_until_it_is_applied(file_set):
    file = {"path": "a", "content": "x"}
    file_set(file)

    assert file_set(file)["landed"] == [str(file_set.root / "a")]
    file_set(file, applied=True)
    assert not file_set(file)["changed"]


def test_who_watches_the_host_is_told_before_a_change_lands_and_of_nothing_else(file_set):
    told = file_set.root / "before-change"
    told.write_text(f"#!/bin/sh\nls {file_set.root} >>{file_set.root}/../told-{file_set.root.name}\n")
    told.chmod(0o755)
    log = file_set.root.parent / f"told-{file_set.root.name}"

    file_set({"path": "landed.conf", "content": "x"}, check=True)
    assert not log.exists()
    file_set({"path": "landed.conf", "content": "x"})
    file_set({"path": "landed.conf", "content": "x"})

    assert "landed.conf" not in log.read_text()
    assert log.read_text().count("before-change") == 1


def test_check_mode_shows_the_difference_and_writes_nothing(file_set):
    said = file_set({"path": "a", "content": "x"}, check=True)

    assert said["changed"]
    assert said["diff"][0]["after"] == "x"
    assert not (file_set.root / "a").exists()
    assert not (file_set.root / "pending").exists()


def test_nothing_lands_where_a_check_fails(file_set):
    first, second = {"path": "a", "content": "x"}, {"path": "b", "content": "y"}

    said = file_set(first, second, checks=[{"command": "false {stage}"}])

    assert said["msg"].startswith("[file-check]")
    assert not (file_set.root / "a").exists()
    assert not (file_set.root / "b").exists()


def test_nothing_lands_where_one_of_the_files_cannot_be_written(file_set):
    (file_set.root / "file").write_text("no directory")

    said = file_set({"path": "a", "content": "x"}, {"path": "file/b", "content": "y"})

    assert said["failed"]
    assert said["msg"].startswith(f"[file-write] {file_set.root / 'file/b'}: ")
    assert sorted(path.name for path in file_set.root.iterdir()) == ["file", "file_set_here.py"]


def test_nothing_lands_where_the_effect_would_be_another(file_set):
    (file_set.root / "d").mkdir()
    (file_set.root / "d" / "00-first").write_text("login yes\n")
    check = {
        "copy": [str(file_set.root / "d")],
        "command": f"sort {{stage}}{file_set.root}/d/00-first",
        "expect": ["login no"],
    }

    said = file_set({"path": "d/10-ours", "content": "login no\n"}, checks=[check])

    assert said["msg"].startswith("[file-effect]")
    assert "login yes" in said["msg"]
    assert not (file_set.root / "d" / "10-ours").exists()


def test_a_check_for_always_runs_where_nothing_differs(file_set):
    file = {"path": "a", "content": "x"}
    file_set(file)

    assert "msg" not in file_set(file, checks=[{"command": "false"}])
    assert file_set(file, checks=[{"command": "false", "always": True}])["msg"].startswith("[file-check]")


def test_staged_files_name_each_other_and_not_the_originals(file_set):
    (file_set.root / "conf").write_text(f"Include {file_set.root}/conf.d/x\n")
    (file_set.root / "conf.d").mkdir()
    copied = [str(file_set.root / "conf"), str(file_set.root / "conf.d")]
    check = {
        "copy": copied,
        "command": f"cat {{stage}}{file_set.root}/conf",
        "expect": [f"Include {file_set.root}/conf.d/x"],
    }

    said = file_set({"path": "conf.d/x", "content": "y"}, checks=[check])

    assert said["msg"].startswith("[file-effect]")
    assert "mutx-stage-" in said["msg"]


def test_a_secret_is_in_no_difference(file_set):
    said = file_set({"path": "key", "content": "s3cret", "secret": True})

    assert "s3cret" not in json.dumps(said["diff"])


def test_content_for_a_missing_file_only_leaves_what_is_there(file_set):
    (file_set.root / "a").write_text("mine")
    (file_set.root / "a").chmod(0o644)

    assert not file_set({"path": "a", "content": "theirs", "initial": True})["changed"]


def test_a_file_that_is_to_be_absent_goes(file_set):
    (file_set.root / "a").write_text("x")

    assert file_set({"path": "a", "state": "absent"})["changed"]
    assert not (file_set.root / "a").exists()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n', ("debian", "12", "debian")),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n', ("ubuntu", "24.04", "debian")),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n', ("rocky", "9.4", "fedora")),
    ],
)
def test_a_distribution_is_known_by_its_file(text, wanted):
    found = host_facts.distribution(text)

    assert (found["distribution"], found["version"], found["family"]) == wanted


def test_the_options_in_force_of_scratch_directories_are_found():
    table = "tmpfs /tmp tmpfs rw,nosuid 0 0\n/dev/sda1 / ext4 rw 0 0\ntmpfs /tmp tmpfs rw,nosuid,nodev 0 0\n"

    assert host_facts.mounts(table) == {"/tmp": ["rw", "nosuid", "nodev"]}  # noqa: S108


def test_only_installed_packages_are_found():
    status = (
        "Package: ufw\nStatus: install ok installed\nPriority: optional\nVersion: 0.36.2-1\nConffiles:\n /etc/ufw a\n\n"
        "Package: old\nStatus: deinstall ok config-files\nVersion: 1\n\n"
        "Package: new\nEssential: yes\nStatus: install ok installed\nVersion: 2:3\n"
    )

    assert host_facts.packages(status) == {"ufw": "0.36.2-1", "new": "2:3"}


FAMILY = ufw_live.Family("", ("f2b-", "ts-", "DOCKER"))


@pytest.mark.parametrize(
    ("line", "is_intruder"),
    [
        ("-A INPUT -s 1.2.3.4/32 -j ACCEPT", True),
        ("-A FORWARD -j ACCEPT", True),
        ("-A INPUT -j ufw-before-input", False),
        ("-A INPUT -p tcp -j f2b-sshd", False),
        ("-A INPUT -j ts-input", False),
        ("-A FORWARD -j DOCKER-USER", False),
        ("-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", False),
        ("-A INPUT -i docker0 -j ACCEPT", True),
        ("-A ufw-user-input -j ACCEPT", False),
    ],
)
def test_a_rule_of_nobody_known_is_an_intruder(line, is_intruder):
    assert FAMILY.intruders([line]) == ([line] if is_intruder else [])


def test_rules_of_others_are_no_part_of_what_is_compared():
    live = [
        "-P INPUT DROP",
        "-A INPUT -j f2b-sshd",
        "-A DOCKER-USER -j RETURN",
        "-A ufw-user-input -p tcp -j ACCEPT",
    ]

    assert FAMILY.own(live) == ["-P INPUT DROP", "-A ufw-user-input -p tcp -j ACCEPT"]


LOGIN = {"address": "100.64.0.1", "interface": "tailscale0", "port": 22}


@pytest.mark.parametrize(
    ("change", "admits"),
    [
        ({}, True),
        ({"interface": None, "source": None}, True),
        ({"interface": "eth0"}, False),
        ({"source": "10.0.0.0/8"}, False),
        ({"protocol": "udp"}, False),
        ({"port": 2222}, False),
        ({"source": "fd00::/8"}, False),
    ],
)
def test_rules_admit_the_operator_or_do_not(change, admits):
    rule = {"port": 22, "protocol": "tcp", "interface": "tailscale0", "source": "100.64.0.0/10", **change}

    assert ufw_rules.ufw_admits([rule], LOGIN) is admits


def test_who_came_by_no_network_passes_no_firewall():
    assert ufw_rules.ufw_admits([], {"port": 0})
