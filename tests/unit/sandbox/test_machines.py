"""What machines are made of and told, as far as no machine is needed to see it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from mutx_sandbox.machines import tools
from mutx_sandbox.machines.kernel import watches_left
from mutx_sandbox.machines.machine import Wire, interface_lines, ipv6_network_of
from mutx_sandbox.machines.metadata import Tokens, answer_of
from mutx_sandbox.machines.packages import packages
from mutx_sandbox.machines.places import host_access
from mutx_sandbox.machines.recipe import ensure_layer, entries
from mutx_sandbox.machines.rootfs import Image, Source, ensure_rootfs, mirror_lines

from mutx_infra.environment import HostAccess
from mutx_infra.errors import RefusedError, SettingsError

MIRROR = (Source("Debian", "http://mirror/debian/"), Source("Debian-Security", "http://mirror/security/"))
ONE, OTHER = IPv4Address("10.0.0.4"), IPv4Address("10.0.0.5")


def quiet(_: str) -> None:
    """Say nothing."""


class TestImage:
    def test_its_name_follows_packages_suite_and_recipe(self) -> None:
        names = {
            Image().digest,
            Image(suite="trixie").digest,
            Image(packages=("one",)).digest,
            Image(finish=()).digest,
        }

        assert len(names) == 4
        assert Image().digest == Image().digest

    def test_what_is_baked_has_names_of_packages_alone(self) -> None:
        assert [name for name in packages() if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", name)] == []
        assert {"postgresql", "redis-server", "aide"} <= set(packages())
        assert not [name for name in packages() if name.startswith(("nvidia", "tailscale"))]

    def test_it_comes_from_the_mirrors_of_this_machine(self) -> None:
        lines = mirror_lines(MIRROR, "bookworm").splitlines()

        assert [line.split()[-3:] for line in lines] == [
            ["http://mirror/debian/", "bookworm", "main"],
            ["http://mirror/debian/", "bookworm-updates", "main"],
            ["http://mirror/security/", "bookworm-security", "main"],
        ]

    def test_without_a_mirror_of_debian_it_says_what_to_do(self) -> None:
        with pytest.raises(SettingsError) as caught:
            mirror_lines((Source("Ubuntu", "http://mirror/ubuntu/"),), "bookworm")

        assert caught.value.code == "mirror-missing"

    def test_one_that_is_there_is_taken_as_it_is(self, tmp_path: Path) -> None:
        place = tmp_path / "machines" / f"bookworm-{Image().digest}"
        place.mkdir(parents=True)

        assert ensure_rootfs(tmp_path, pytest.fail) == place

    def test_the_layer_is_the_roles_own_files_and_made_once(self, tmp_path: Path) -> None:
        layer = ensure_layer(tmp_path)

        role = Path(__file__).parents[3] / "playbooks/roles/mutx_join/files"
        assert (layer / "usr/libexec/mutx/mutx-join").read_text() == (role / "mutx-join").read_text()
        assert ensure_layer(tmp_path) == layer
        assert [path.name for path in (tmp_path / "machines").iterdir()] == [layer.name]

    def test_nothing_secret_and_nothing_of_a_tenant_is_in_it(self) -> None:
        text = "".join(entry.content for entry in entries())

        assert "PRIVATE KEY" not in text
        assert "authorized_keys" not in text
        assert all(entry.mode & 0o022 == 0 for entry in entries())

    def test_the_programs_of_the_role_compile(self) -> None:
        role = Path(__file__).parents[3] / "playbooks/roles/mutx_join/files"
        for name in ("mutx-join", "mutx-tailnet"):
            compile((role / name).read_text(), name, "exec")


class TestTools:
    def test_what_is_missing_is_named_by_package(self) -> None:
        here = {"ip": "/sbin/ip"}

        assert tools.missing_packages({"ip": "iproute2", "a": "pack", "b": "pack"}, here.get) == ("pack",)

    def test_where_apt_is_not_the_packages_are_named(self) -> None:
        with pytest.raises(SettingsError, match="systemd-container") as caught:
            tools.ensure_tools(tools.CONTAINER, quiet, lambda _: None)

        assert caught.value.code == "tools-missing"

    def test_others_than_root_are_told_so(self) -> None:
        with pytest.raises(RefusedError) as caught:
            tools.require_root(1000)

        assert caught.value.code == "root-needed"


class TestWire:
    def wire(self, *, way_out: bool = True) -> Wire:
        subnet = IPv4Network("10.0.1.128/25")
        block = IPv4Network("10.0.1.0/24")
        return Wire(vpc="v", block=block, subnet=subnet, address=IPv4Address("10.0.1.132"), way_out=way_out)

    def test_the_ipv6_address_is_in_its_subnet_and_ends_as_the_other(self) -> None:
        wire = self.wire()

        assert wire.address6 in ipv6_network_of(wire.subnet)
        assert int(wire.address6) & 0xFFFFFFFF == int(wire.address)

    def test_a_machine_without_a_way_out_knows_its_network_and_the_services_only(self) -> None:
        routes = [
            line.split()[2] for line in interface_lines(self.wire(way_out=False)) if line.startswith("route")
        ]

        assert routes == ["169.254.0.0/16", "10.0.1.0/24", "fd6d:7574::/32"]
        assert any("default" in line for line in interface_lines(self.wire()))


@dataclass
class Clock:
    """A hand that moves when told."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


class TestTokens:
    def test_a_token_is_good_for_the_machine_that_got_it(self) -> None:
        tokens = Tokens(Clock())
        token = tokens.give(ONE, 60)

        assert tokens.holds(token, ONE)
        assert not tokens.holds(token, OTHER)
        assert not tokens.holds("", ONE)

    def test_a_token_ends_with_its_time(self) -> None:
        clock = Clock()
        tokens = Tokens(clock)
        token = tokens.give(ONE, 60)

        clock.seconds = 60.0

        assert not tokens.holds(token, ONE)


@dataclass
class Facts:
    """`metadata.InstanceFacts` of an instance."""

    its_role: str | None = "mutx-acme-agent-1"

    def document(self) -> Mapping[str, str]:
        return {"instanceId": "i-1", "instanceType": "t3.small", "privateIp": "10.0.0.4", "region": "eu-west-1",
                "availabilityZone": "eu-west-1a"}  # fmt: skip

    def user_data(self) -> bytes | None:
        return b"#!/bin/sh\n"

    def role(self) -> str | None:
        return self.its_role

    def credentials(self) -> Mapping[str, str]:
        return {"AccessKeyId": "ASIA"}

    def hop_limit(self) -> int:
        return 1


class TestMetadata:
    @pytest.mark.parametrize(
        ("path", "answer"),
        [
            ("user-data", b"#!/bin/sh\n"),
            ("meta-data/instance-id", b"i-1"),
            ("meta-data/placement/region", b"eu-west-1"),
            ("meta-data/iam/security-credentials", b"mutx-acme-agent-1"),
            ("meta-data/iam/security-credentials/mutx-acme-guard-1", None),
            ("meta-data/public-keys", None),
            ("", None),
        ],
    )
    def test_a_path_has_the_answer_of_ec2(self, path: str, answer: bytes | None) -> None:
        assert answer_of(Facts(), path) == answer

    def test_credentials_are_those_of_the_instances_own_role(self) -> None:
        found = answer_of(Facts(), "meta-data/iam/security-credentials/mutx-acme-agent-1")

        assert json.loads(found or b"{}") == {"AccessKeyId": "ASIA"}

    def test_an_instance_without_a_role_has_no_credentials(self) -> None:
        assert answer_of(Facts(its_role=None), "meta-data/iam/security-credentials") is None


def test_inotify_instances_are_counted_and_given_back() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    assert watches_left(1) <= 1
    assert watches_left(0) == 0

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_profile_of_the_sandbox_survives_odd_directories(tmp_path: Path) -> None:
    access = HostAccess.model_validate(host_access(tmp_path / "a b 50%"))

    command = (access.proxy_command or "").replace("%h", "HOST").replace("%p", "22").replace("%%", "%")
    told = subprocess.run(
        ["/bin/sh", "-c", command.replace(shlex.quote(sys.executable), "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.splitlines()[-3:] == [str(tmp_path / "a b 50%/machines/control"), "HOST", "22"]
