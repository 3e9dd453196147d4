"""Where an engine is looked for, and what is passed over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mutx_infra.adapters.pulumi_engine import (
    cached_engine_path,
    find_engine,
    has_language_host,
    search_engine,
)
from mutx_infra.errors import SettingsError

SCRIPT = "#!/bin/sh\necho asked >>{log}\necho v{version}\n"


def make_engine(path: Path, version: str, log: Path | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SCRIPT.format(version=version, log=log or "/dev/null"))
    path.chmod(0o755)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_path_comes_before_home_and_cache(tmp_path, home, cache):
    on_path = make_engine(tmp_path / "bin" / "pulumi", "3.260.1")
    make_engine(home / ".pulumi" / "bin" / "pulumi", "3.300.0")
    make_engine(cached_engine_path(cache, "3.259.0"), "3.259.0")

    engine = find_engine(cache, str(on_path.parent), home)

    assert (engine.path, engine.version, engine.source) == (on_path, "3.260.1", "path")


def test_home_comes_before_cache(home, cache):
    installed = make_engine(home / ".pulumi" / "versions" / "3.261.0" / "bin" / "pulumi", "3.261.0")
    make_engine(cached_engine_path(cache, "3.300.0"), "3.300.0")

    engine = find_engine(cache, "", home)

    assert (engine.path, engine.source) == (installed, "home")


def test_the_newest_version_in_the_cache_wins(home, cache):
    for version in ("3.259.0", "3.300.0", "3.260.0"):
        make_engine(cached_engine_path(cache, version), version)

    assert find_engine(cache, "", home).version == "3.300.0"


@pytest.mark.parametrize(
    ("version", "words"),
    [
        pytest.param("3.258.9", "older than 3.259.0", id="older"),
        pytest.param("3.259.0-alpha.1", "older than 3.259.0", id="preview-of-the-minimum"),
        pytest.param("4.0.0", "another major version", id="next-major"),
        pytest.param("2.999.0", "another major version", id="previous-major"),
        pytest.param("nightly", "cannot be read", id="not-a-version"),
    ],
)
def test_an_unsuitable_engine_is_passed_over_with_its_reason(tmp_path, home, cache, version, words):
    unsuitable = make_engine(tmp_path / "bin" / "pulumi", version)
    make_engine(cached_engine_path(cache, "3.259.0"), "3.259.0")

    search = search_engine(cache, str(unsuitable.parent), home)

    assert search.engine is not None
    assert search.engine.source == "cache"
    assert [(skipped.path, words in skipped.reason) for skipped in search.skipped] == [(unsuitable, True)]


@pytest.mark.parametrize("version", ["3.259.0", "3.1000.0", "3.260.0-dev.0+abc"])
def test_a_suitable_version_is_taken(tmp_path, home, cache, version):
    path = make_engine(tmp_path / "bin" / "pulumi", version)

    assert find_engine(cache, str(path.parent), home).version == version


def test_a_later_path_entry_is_taken_when_the_first_is_too_old(tmp_path, home, cache):
    old = make_engine(tmp_path / "old" / "pulumi", "3.100.0")
    new = make_engine(tmp_path / "new" / "pulumi", "3.259.1")

    engine = find_engine(cache, f"{old.parent}:{new.parent}", home)

    assert engine.path == new


def test_an_engine_that_does_not_run_is_passed_over(tmp_path, home, cache):
    broken = tmp_path / "bin" / "pulumi"
    broken.parent.mkdir()
    broken.write_bytes(b"\x7fELF broken")
    broken.chmod(0o755)

    with pytest.raises(SettingsError) as raised:
        find_engine(cache, str(broken.parent), home)

    assert raised.value.code == "engine-missing"
    assert f"{broken}: it does not run" in raised.value.detail
    assert "make setup" in raised.value.remedy


def test_a_file_that_cannot_be_executed_is_no_engine(tmp_path, home, cache):
    make_engine(tmp_path / "bin" / "pulumi", "3.259.0").chmod(0o644)

    assert search_engine(cache, str(tmp_path / "bin"), home).engine is None


def test_half_made_directories_of_the_cache_are_not_taken(home, cache):
    make_engine(cache / "pulumi" / ".making-abc" / "bin" / "pulumi", "3.259.0")

    assert search_engine(cache, "", home).engine is None


def test_a_cached_engine_is_not_asked_its_version(tmp_path, home, cache):
    log = tmp_path / "log"
    make_engine(cached_engine_path(cache, "3.259.0"), "3.259.0", log)

    find_engine(cache, "", home)

    assert not log.exists()


def test_a_script_is_asked_every_time_because_it_may_be_a_shim(tmp_path, home, cache):
    log = tmp_path / "log"
    program = make_engine(tmp_path / "bin" / "pulumi", "3.259.0", log)

    find_engine(cache, str(program.parent), home)
    find_engine(cache, str(program.parent), home)

    assert log.read_text().count("asked") == 2


def test_what_a_program_answers_is_remembered(tmp_path, home, cache):
    program = tmp_path / "bin" / "pulumi"
    program.parent.mkdir()
    shutil.copy("/bin/echo", program)

    search = search_engine(cache, str(program.parent), home)

    assert [skipped.reason for skipped in search.skipped] == ["its version 'version' cannot be read"]
    assert "version" in (cache / "engine-versions.json").read_text()


def test_a_remembered_answer_is_used_and_a_changed_file_is_asked_again(tmp_path, home, cache):
    program = make_engine(tmp_path / "bin" / "pulumi", "3.270.0")
    status = program.stat()
    cache.mkdir()
    (cache / "engine-versions.json").write_text(
        f'{{"{program}:{status.st_mtime_ns}:{status.st_size}": "v3.299.0"}}'
    )

    remembered = find_engine(cache, str(program.parent), home).version
    os.utime(program, ns=(1, 1))
    asked = find_engine(cache, str(program.parent), home).version

    assert (remembered, asked) == ("3.299.0", "3.270.0")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', "\x00"])
def test_a_damaged_memory_is_ignored(tmp_path, home, cache, content):
    program = make_engine(tmp_path / "bin" / "pulumi", "3.270.0")
    cache.mkdir()
    (cache / "engine-versions.json").write_text(content)

    assert find_engine(cache, str(program.parent), home).version == "3.270.0"


def test_the_language_host_beside_the_engine_is_seen(tmp_path, home, cache):
    program = make_engine(tmp_path / "bin" / "pulumi", "3.270.0")
    engine = find_engine(cache, str(program.parent), home)
    before = has_language_host(engine)

    make_engine(program.with_name("pulumi-language-python"), "3.270.0")

    assert (before, has_language_host(engine)) == (False, True)


def test_the_language_host_on_path_is_seen(tmp_path, home, cache):
    engine = find_engine(cache, str(make_engine(tmp_path / "bin" / "pulumi", "3.270.0").parent), home)
    elsewhere = make_engine(tmp_path / "elsewhere" / "pulumi-language-python", "3.270.0").parent

    assert has_language_host(engine, str(elsewhere))
