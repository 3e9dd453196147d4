"""The image's playbook takes the packages of every role, however the role is called."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"


def test_the_packages_of_every_role_are_baked() -> None:
    (play,) = yaml.safe_load((PLAYBOOKS / "image.yml").read_text())
    pattern = re.search(r"varnames', '(.*)'\)", play["vars"]["image_package_lists"])
    assert pattern is not None
    named = {
        name
        for file in PLAYBOOKS.glob("roles/*/vars/main/debian.yml")
        for name in yaml.safe_load(file.read_text())
        if name.endswith("_packages")
    }

    baked = {name for name in named if re.search(pattern[1], name)}

    assert {name for name in named - baked if "_vendor_" not in name and "_forbidden_" not in name} == set()
    assert "fail2ban_packages" in baked
