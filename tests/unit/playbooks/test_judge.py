"""A judge's model on its host, and the program that starts the server and asks it, on files and answers of the test."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.programs import ROLES, load_program

FILES = {"config.json": b"{}", "part/model.safetensors": b"numbers"}
MODULE = "judge/library/judge_model.py"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def manifest_of(files: dict[str, bytes]) -> str:
    return "".join(f"{digest(content)}  {name}\n" for name, content in files.items())


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def run(
    place: Path, state: str, manifest: str = manifest_of(FILES), *, check: bool = False
) -> dict[str, Any]:
    given = {"place": str(place), "state": state, "manifest": manifest, "_ansible_check_mode": check}
    done = subprocess.run(
        [sys.executable, str(ROLES / MODULE)],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": given}),
        capture_output=True,
        text=True,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_what_was_brought_in_part_is_not_brought_again(tmp_path: Path) -> None:
    place = tmp_path / "models/guard"
    put(tmp_path / "models/.incoming-guard", {"config.json": b"{}", "part/model.safetensors": b"numb"})

    seen = run(place, "looked_at")

    assert (seen["is_whole"], seen["absent"]) == (False, ["part/model.safetensors"])
    assert seen["directories"] == [seen["incoming"], f"{seen['incoming']}/part"]


def test_a_model_lands_whole_with_its_manifest_and_without_what_is_not_in_it(tmp_path: Path) -> None:
    place = tmp_path / "models/guard"
    put(tmp_path / "models/.incoming-guard", {**FILES, "old.safetensors": b"of another manifest"})

    first, again = run(place, "installed"), run(place, "installed")

    assert (first["changed"], again["changed"]) == (True, False)
    landed = {str(file.relative_to(place)) for file in place.rglob("*") if file.is_file()}
    assert landed == {*FILES, "manifest.sha256"}
    assert run(place, "looked_at")["absent"] == []


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"config.json": b"{}"}, "[judge-model-missing]"),
        ({**FILES, "config.json": b"{} "}, "[judge-model-hash]"),
    ],
    ids=["one is not there", "one is another"],
)
def test_files_that_are_not_the_model_are_not_taken(
    tmp_path: Path, files: dict[str, bytes], code: str
) -> None:
    place = tmp_path / "models/guard"
    put(tmp_path / "models/.incoming-guard", files)

    failed = run(place, "installed")

    assert failed["failed"]
    assert failed["msg"].startswith(code)
    assert not place.exists()


@pytest.mark.parametrize("state", ["checked", "looked_at", "installed"])
@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"{'0' * 64}  pytorch_model.bin", "[judge-model-format]"),
        (f"{'0' * 64}  modeling.PY", "[judge-model-format]"),
        (f"{'0' * 64}  ../../etc/passwd", "[judge-model-manifest]"),
        (f"{'0' * 64}  /etc/passwd", "[judge-model-manifest]"),
        (f"{'0' * 64}  a/../../b", "[judge-model-manifest]"),
        (f"{'0' * 64}  manifest.sha256", "[judge-model-manifest]"),
        (f"{'0' * 63}  config.json", "[judge-model-manifest]"),
        ("", "[judge-model-manifest]"),
    ],
)
def test_a_manifest_that_leads_outside_or_to_code_is_refused(
    tmp_path: Path, state: str, line: str, code: str
) -> None:
    assert run(tmp_path / "guard", state, line)["msg"].startswith(code)


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    twice = f"{'0' * 64}  a.json\n{'1' * 64}  a.json\n"

    assert run(tmp_path / "guard", "looked_at", twice)["msg"].startswith("[judge-model-manifest]")


def test_other_models_go_once_this_one_is_in_its_place(tmp_path: Path) -> None:
    put(tmp_path / "models/.incoming-guard", FILES)
    put(tmp_path / "models/before", {"config.json": b"{}"})
    place = tmp_path / "models/guard"

    early = run(place, "alone")
    run(place, "installed")
    foretold, done = run(place, "alone", check=True), run(place, "alone")

    assert (early["changed"], foretold["changed"], done["changed"]) == (False, True, True)
    assert [each.name for each in (tmp_path / "models").iterdir()] == ["guard"]


@pytest.fixture
def program() -> ModuleType:
    return load_program("judge/files/mutx-judge")


def installed(tmp_path: Path) -> tuple[Path, str]:
    model, text = put(tmp_path / "guard", FILES), manifest_of(FILES)
    (model / "manifest.sha256").write_text(text, "utf-8")
    return model, digest(text.encode())


def test_the_files_that_were_installed_are_served(program: ModuleType, tmp_path: Path) -> None:
    assert program.compare(*installed(tmp_path)) == ""


@pytest.mark.parametrize("name", [*FILES, "manifest.sha256"])
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_file_that_was_changed_since_is_not_served(
    program: ModuleType, tmp_path: Path, name: str, how: str
) -> None:
    model, known = installed(tmp_path)
    if how == "gone":
        (model / name).unlink()
    else:
        (model / name).write_bytes((model / name).read_bytes() + b"\n")

    assert name in program.compare(model, known)


def test_a_manifest_that_was_written_anew_for_other_files_is_not_the_installed_one(
    program: ModuleType, tmp_path: Path
) -> None:
    model, known = installed(tmp_path)
    others = {**FILES, "config.json": b"other"}
    put(model, others)
    (model / "manifest.sha256").write_text(manifest_of(others), "utf-8")

    assert "is not the manifest that was installed" in program.compare(model, known)


@pytest.mark.parametrize(
    ("models", "unknown", "is_ready", "status"),
    [
        ((200, {"data": [{"id": "guard"}]}), 401, True, "ready"),
        ((200, {"data": [{"id": "other"}]}), 401, False, "does not have the model"),
        ((401, {"error": "Unauthorized"}), 401, False, "does not have the model"),
        ((200, {"data": [{"id": "guard"}]}), 400, False, "answers who shows no key"),
        ((200, ["no", "models"]), 401, False, "does not answer"),
        (None, 401, False, "does not answer"),
    ],
    ids=["ready", "another model", "another key", "open", "no list", "silent"],
)
def test_ready_is_who_has_the_model_and_refuses_who_shows_no_key(
    program: ModuleType, models: tuple[int, object] | None, unknown: int, is_ready: bool, status: str
) -> None:
    def ask(_port: int, _method: str, path: str, key: str | None) -> tuple[int, object]:
        if models is None:
            raise ConnectionRefusedError("nobody listens")
        if path == "/v1/models":
            assert key == "k"
            return models
        assert key is None
        return unknown, {}

    program.ask = ask

    answer, said = program.look(8000, "guard", "k")

    assert (answer, said["status"]) == (is_ready, status)
    assert "k" not in said.values()


def test_a_server_that_ended_is_not_waited_for(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("k", "utf-8")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    command = [sys.executable, str(ROLES / "judge/files/mutx-judge"), "ready", "--key-file", str(key)]
    command += ["--port", "1", "--model", "guard", "--within", "60", "--server", str(ended.pid)]

    asked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert asked.returncode == 1
    assert json.loads(asked.stdout)["status"] == "does not answer"


def test_a_key_is_new_each_time_and_its_owner_s_alone(program: ModuleType, tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        assert program.main(["key", str(tmp_path / "key")]) == 0
        keys.append((tmp_path / "key").read_text("ascii"))

    assert keys[0] != keys[1]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}\n", key) for key in keys)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
