"""The driver of a GPU, on machines that have none: what is looked at, refused, and would be written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.machines import Hosts
from tests.support.playbook import PROVISION, Playbook

CHOSEN = {"gpu_node_driver_version": "580.95.05-1", "gpu_node_toolkit_version": "1.18.0-1"}
# A key that is on every Debian, in the place of the vendor's.
KEY = "/usr/share/keyrings/debian-archive-bookworm-stable.gpg"
FINGERPRINT = "4D64FEC119C2029067D6E791F8D2585B8783D481"
KEYS = {"gpu_node_driver_key": KEY, "gpu_node_toolkit_key": KEY}
GPU = ("-e", '{"gpu_node_is_there": true}')
"""As if one had been found: no machine here has one."""
PLAY = [{"hosts": "all", "become": True, "gather_facts": False, "roles": ["gpu_node"]}]


@pytest.fixture
def playbook(hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Playbook:
    """The role alone, as another project would take it."""
    monkeypatch.setitem(os.environ, "ANSIBLE_ROLES_PATH", str(PROVISION.parent / "roles"))
    play = tmp_path / "play.json"
    play.write_text(json.dumps(PLAY), "utf-8")
    return Playbook(
        hosts, ("trial-1",), tmp_path, {"ansible_python_interpreter": "/usr/bin/python3"}, play=play
    )


def test_a_machine_without_a_gpu_is_left_alone_and_said_to_be_one(playbook: Playbook) -> None:
    outcome = playbook.run()

    assert (outcome.status, outcome.changed()) == (0, {"trial-1": 0}), outcome.text
    assert "[gpu-none]" in outcome.said()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "[gpu-unchosen]"),
        ({**CHOSEN, **KEYS}, f"it holds {FINGERPRINT}, wanted was EB693B3035CD5710E231E123A4B469963BF863CC"),
    ],
    ids=["no version", "another key"],
)
def test_what_was_not_chosen_or_is_signed_by_another_is_refused_and_nothing_lands(
    playbook: Playbook, hosts: Hosts, given: dict[str, Any], said: str
) -> None:
    outcome = playbook.run(*GPU, **given)

    assert outcome.status != 0
    assert said in outcome.text
    assert outcome.changed() == {"trial-1": 0}
    assert (
        hosts.answer("trial-1", "find /etc/apt /etc/modprobe.d -name '*nvidia*' -o -name '*nouveau*'") == ""
    )


def test_the_files_are_what_apt_reads_and_check_mode_foretells_them(playbook: Playbook, hosts: Hosts) -> None:
    pinned = {"gpu_node_driver_fingerprint": FINGERPRINT, "gpu_node_toolkit_fingerprint": FINGERPRINT}

    outcome = playbook.run("--check", "--diff", *GPU, **CHOSEN, **KEYS, **pinned)

    assert (outcome.status, outcome.changed()) == (0, {"trial-1": 2}), outcome.text
    files = {each["after_header"]: each["after"] for each in diffs(outcome.results)}
    source = files["/etc/apt/sources.list.d/nvidia-driver.sources"]
    assert "Signed-By: /etc/apt/keyrings/nvidia-driver.pgp" in source
    assert "Pin: version 580.95.05-1" in files["/etc/apt/preferences.d/nvidia"]
    assert "blacklist nouveau" in files["/etc/modprobe.d/10-mutx-nouveau.conf"]
    targets = hosts.answer(
        "trial-1",
        f"d=$(mktemp -d); cat >$d/x.sources <<'END'\n{source}END\n"
        "apt-get indextargets --no-release-info -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=$d"
        " --format '$(URI)' 'Created-By: Packages'",
    )
    assert targets == "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/Packages"


def diffs(results: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [each for result in results for each in result.get("diff") or [] if "after_header" in each]
