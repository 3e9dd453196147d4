"""What a judge's host is told of the server and the model that were delivered."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml
from make_judge_release import LOCK, split_lock, variables, write_manifest

ROLE = Path(__file__).resolve().parents[3] / "playbooks/roles/judge"


def test_the_committed_lock_parts_into_vllm_s_pinned_wheel_and_all_else() -> None:
    text = LOCK.read_text("utf-8")

    entry, rest = split_lock(text)

    assert entry.startswith("vllm==")
    assert "--hash=sha256:" in entry
    assert "\nvllm==" not in rest
    assert len(entry) + len(rest) == len(text)
    wanted = (ROLE / "files/vllm.in").read_text("utf-8").split()
    assert wanted == [entry.split()[0]]


def test_a_manifest_names_what_a_server_reads_and_nothing_that_runs(tmp_path: Path) -> None:
    model = tmp_path / "Guard-4B"
    names = ["config.json", "model.safetensors", "modeling_guard.py", "README.md", ".git/HEAD", "LICENSE"]
    for name in names:
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(name, "utf-8")

    manifest = write_manifest(model, tmp_path)

    lines = [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}" for name in names[:2]]
    assert manifest == tmp_path / "Guard-4B.sha256"
    assert manifest.read_text("utf-8").splitlines() == lines


def test_a_model_of_pickles_alone_gets_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()

    with pytest.raises(SystemExit, match="judge-model-format"):
        write_manifest(tmp_path, tmp_path)


def test_the_role_knows_every_variable_that_it_is_told() -> None:
    specs = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text("utf-8"))

    told = yaml.safe_load(variables(Path("/r/v.whl"), Path("/r/lock"), Path("/m"), Path("/m.sha256")))

    assert told == {
        "judge_wheel": "/r/v.whl",
        "judge_lock": "/r/lock",
        "judge_model_files": "/m",
        "judge_model_manifest": "/m.sha256",
    }
    assert told.keys() <= specs["argument_specs"]["main"]["options"].keys()
