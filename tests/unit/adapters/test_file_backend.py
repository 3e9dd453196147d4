"""A `file:` backend's state as an engine leaves it when it dies while it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mutx_infra.adapters.file_backend import StateFile, without_sidecars
from mutx_infra.adapters.supervised import GRACE_S
from mutx_infra.leases import LEASE_S, SILENCE_S

NEW = {"version": 3, "checkpoint": {"stack": "acme", "latest": {"resources": [{"urn": "new"}]}}}
OLD = {"version": 3, "checkpoint": {"stack": "acme", "latest": {"resources": [{"urn": "old"}]}}}


@pytest.fixture
def state(tmp_path: Path) -> StateFile:
    found = StateFile.of((tmp_path / "with space").as_uri(), "mutx-infra", "acme")
    assert found is not None
    found.path.parent.mkdir(parents=True)
    found.path.write_text(json.dumps(NEW))
    _backup(found).write_text(json.dumps(OLD))
    return found


def _backup(state: StateFile) -> Path:
    return state.path.with_name("acme.json.bak")


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.attrs")


@pytest.mark.parametrize(
    ("file", "may_exist"),
    [
        ("mutx-infra/acme.json", True),
        ("mutx-infra/acme.json.gz", True),
        ("mutx-infra/acme.json.zst", True),
        ("mutx-infra/acme.json.bak", True),
        ("acme.json", True),
        ("mutx-infra/acme-two.json", False),
        ("other/acme.json", False),
        (None, False),
    ],
)
def test_a_stack_without_any_file_does_not_exist(tmp_path: Path, file: str | None, may_exist: bool) -> None:
    if file:
        path = tmp_path / ".pulumi" / "stacks" / file
        path.parent.mkdir(parents=True)
        path.write_text("{}")

    state = StateFile.of(tmp_path.as_uri(), "mutx-infra", "acme")

    assert state is not None
    assert state.may_exist() is may_exist


def test_whole_state_is_read_and_not_touched(state: StateFile) -> None:
    _sidecar(state.path).write_text("{}")

    assert state.read() == {"resources": [{"urn": "new"}]}
    assert not state.mend()
    assert _sidecar(state.path).read_text() == "{}"


@pytest.mark.parametrize("torn", ["", "{", '{"md5": "ab'])
def test_a_torn_sidecar_is_removed_and_no_step_is_lost(state: StateFile, torn: str) -> None:
    _sidecar(state.path).write_text(torn)
    _sidecar(_backup(state)).write_text(torn)
    assert state.read() is None  # the engine could not read it either

    assert state.mend()

    assert state.read() == {"resources": [{"urn": "new"}]}
    assert not _sidecar(state.path).exists()
    assert not _sidecar(_backup(state)).exists()


def test_a_torn_state_is_replaced_by_its_predecessor(state: StateFile) -> None:
    state.path.write_text(json.dumps(NEW)[:40])

    assert state.mend()

    assert state.read() == {"resources": [{"urn": "old"}]}


def test_two_torn_states_are_left_for_a_person(state: StateFile) -> None:
    state.path.write_text("")
    _backup(state).write_text("")

    assert not state.mend()
    assert state.read() is None


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"checkpoint": null}', '{"checkpoint": {"latest": null}}', "\x00"]
)
def test_only_the_engine_judges_a_state_of_another_form(state: StateFile, content: str) -> None:
    state.path.write_text(content)

    assert state.read() is None


@pytest.mark.parametrize(
    "url",
    ["s3://bucket", "https://api.pulumi.com", "file://~", "file://./state", "file://state", "postgres://h/d"],
)
def test_other_backends_have_no_state_file(url: str) -> None:
    assert StateFile.of(url, "mutx-infra", "acme") is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:///state", "file:///state?metadata=skip"),
        ("file:///a%20b?no_tmp_dir=true", "file:///a%20b?no_tmp_dir=true&metadata=skip"),
        ("file:///state?metadata=", "file:///state?metadata=skip"),
        ("s3://bucket?region=eu-west-1", "s3://bucket?region=eu-west-1"),
        ("https://api.pulumi.com", "https://api.pulumi.com"),
    ],
)
def test_only_file_urls_are_told_to_write_no_sidecars(url: str, expected: str) -> None:
    assert without_sidecars(url) == expected


def test_an_engine_ends_before_its_lease_can_be_taken() -> None:
    poll_s = 0.5  # supervise.py looks this often
    assert SILENCE_S + GRACE_S + poll_s < LEASE_S
