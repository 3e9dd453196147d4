"""The wheel and the editable install are whole: they work from `/`, out of the checkout's reach.

Dependencies come from the environment that runs the tests (a `.pth` file), so nothing is downloaded here.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

import pytest

IMPORTS = "import mutx_infra.cli.app, mutx_infra.stacks.tenant, mutx_infra.templates"
NOT_SOURCE = (
    ".git",
    ".venv",
    ".mutx",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    "build",
    "dist",
)

needs_ensurepip = pytest.mark.skipif(
    importlib.util.find_spec("ensurepip") is None, reason="ensurepip (python3-venv) is missing"
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Path:
    """A copy of the checkout without what was built or cached in it, at a path with a space."""
    copy = tmp_path_factory.mktemp("a copy") / "mutx infra"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(*NOT_SOURCE, "*.egg-info", "__pycache__"))
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the copy with the setuptools that the lock file names."""
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source)
    (made,) = out.glob("*.whl")
    return made


def test_the_wheel_has_every_mapped_package_and_no_tests_but_the_compliance_suites(wheel, checkout):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}

    assert tops == {"mutx_infra", "mutx_sandbox"}
    assert not [
        name
        for name in names
        if not name.startswith("mutx_infra/compliance/")
        and ("/tests/" in name or Path(name).name.startswith(("test_", "conftest")))
    ]


@pytest.mark.parametrize(
    ("directory", "package"),
    [
        ("mutx_infra", "mutx_infra"),
        ("cli", "mutx_infra/cli"),
        ("tests/compliance", "mutx_infra/compliance"),
        ("stacks", "mutx_infra/stacks"),
        ("playbooks", "mutx_infra/playbooks"),
        ("templates", "mutx_infra/templates"),
        ("sandbox", "mutx_sandbox"),
    ],
)
def test_every_source_file_is_in_the_wheel(wheel, source, directory, package):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = [
        path.relative_to(source / directory)
        for path in (source / directory).rglob("*")
        if path.suffix in {".py", ".j2"} or path.name == "py.typed"
    ]

    assert [str(path) for path in wanted if f"{package}/{path}" not in names] == []


def test_the_wheel_says_that_it_is_typed(wheel):
    assert "mutx_infra/py.typed" in zipfile.ZipFile(wheel).namelist()


@needs_ensurepip
def test_the_wheel_works_from_anywhere(wheel, tmp_path):
    environment = fresh_environment(tmp_path / "fresh")
    install(environment, str(wheel))

    run(environment / "bin" / "python", "-c", IMPORTS)
    said = run(environment / "bin" / "mutx-infra", "--version")

    assert said.split()[-1] == wheel.name.split("-")[1]


@needs_ensurepip
def test_an_editable_install_works_from_anywhere(source, tmp_path):
    environment = fresh_environment(tmp_path / "fresh")
    install(environment, "--no-build-isolation", "--editable", str(source))

    run(environment / "bin" / "python", "-c", IMPORTS)
    where = run(
        environment / "bin" / "python", "-c", "import mutx_infra.stacks; print(mutx_infra.stacks.__file__)"
    )

    assert Path(where.strip()) == source / "stacks" / "__init__.py"
    assert run(environment / "bin" / "mutx-infra", "--version").strip()


def fresh_environment(place: Path) -> Path:
    """Make an environment that sees the running one's packages, except for our own."""
    run(sys.executable, "-m", "venv", place)
    (inner,) = place.glob("lib/python*/site-packages")
    # Python 3.11 seeds an old setuptools, which would hide the locked one.
    for seeded in inner.glob("setuptools*"):
        shutil.rmtree(seeded)
    # addsitedir would follow the outer editable install's .pth file; a plain path does not.
    (inner / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place


def install(environment: Path, *what: str) -> None:
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    run(*pip, "--ignore-installed", *what)


def run(*command: object) -> str:
    """Run a command in `/` with a bare environment, and return what it wrote to stdout."""
    with tempfile.TemporaryDirectory() as home:
        done = run_at_home(home, *command)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def run_at_home(home: str, *command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": home, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
