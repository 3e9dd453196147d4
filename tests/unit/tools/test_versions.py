"""The engine's version is said once, in tools/pulumi/go.mod; everything else agrees with it."""

from __future__ import annotations

import re
import tomllib

import pytest
from get_engine import engine_version

from mutx_infra.adapters.pulumi_engine import MINIMUM_VERSION


def test_the_locked_sdk_is_the_engine_s_version(checkout):
    lock = (checkout / "requirements.lock").read_text()

    assert re.search(r"^pulumi==(\S+)", lock, re.MULTILINE)[1] == engine_version()


def test_the_oldest_accepted_engine_is_the_oldest_accepted_sdk(checkout):
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    sdk = next(line for line in project["dependencies"] if line.startswith("pulumi>"))

    assert sdk == f"pulumi>={MINIMUM_VERSION[0]}.{MINIMUM_VERSION[1]},<{MINIMUM_VERSION[0] + 1}"


def test_the_oldest_accepted_engine_is_not_newer_than_the_one_that_is_built():
    assert tuple(int(number) for number in engine_version().split(".")) >= MINIMUM_VERSION


def test_go_checks_what_it_builds(checkout):
    sums = (checkout / "tools" / "pulumi" / "go.sum").read_text()

    assert f"github.com/pulumi/pulumi/pkg/v3 v{engine_version()} h1:" in sums


@pytest.mark.parametrize("lock", ["requirements.lock", "tools/uv.lock"])
def test_every_locked_package_has_hashes_and_no_index_is_named(checkout, lock):
    text = (checkout / lock).read_text()
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))

    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|/tmp/|/root/", text)


def test_every_declared_dependency_is_locked(checkout):
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    declared = [*project["dependencies"], *(line for extra in extras for line in extra)]
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (checkout / "requirements.lock").read_text(), re.MULTILINE))

    names = {re.split(r"[\[<>=~ ]", line)[0].lower().replace("_", "-") for line in declared}

    assert names - locked == set()
