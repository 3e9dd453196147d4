"""How an operator's own variables of roles reach Ansible."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutx_infra.adapters.ansible_hosts import put_beside
from mutx_infra.errors import SettingsError


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    place = tmp_path / "run" / "inventory" / "hosts.json"
    place.parent.mkdir(parents=True)
    return place


def test_variables_of_groups_and_hosts_lie_beside_the_inventory_and_nothing_else_does(
    hosts: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    for name in ("group_vars/guard", "host_vars", "releases"):
        (told / name).mkdir(parents=True)
    (told / "group_vars/guard/release.yml").write_text("guardrail_wheel: /r/a.whl\n")

    put_beside(hosts, told)

    assert {entry.name for entry in hosts.parent.iterdir()} == {"group_vars", "host_vars"}
    assert (hosts.parent / "group_vars/guard/release.yml").read_text() == "guardrail_wheel: /r/a.whl\n"


@pytest.mark.parametrize("is_there", [True, False], ids=["empty", "missing"])
def test_a_directory_that_tells_nothing_is_refused(hosts: Path, tmp_path: Path, is_there: bool) -> None:
    told = tmp_path / "told"
    if is_there:
        told.mkdir()

    with pytest.raises(SettingsError) as refused:
        put_beside(hosts, told)

    assert refused.value.code == "hosts-variables-missing"
    assert str(told) in refused.value.message
