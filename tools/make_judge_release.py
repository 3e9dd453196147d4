"""Deliver a tenant's judge: vLLM's wheel and lock, and a model's files, told to the role `judge` by a folder.

    .venv/bin/python tools/make_judge_release.py /srv/mutx/hosts --model /srv/models/Qwen3Guard-Gen-4B
    .venv/bin/python tools/make_judge_release.py /srv/mutx/hosts --model … --manifest qwen3guard-4b.sha256

The folder is the one that a profile names as `hosts.variables`. vLLM's wheel is fetched from the index that pip is set
up with, if its hash is the locked one. The model's files were fetched by the operator, from whom they trust; without a
manifest one is written of what is there, and its digest printed: compare it with what others have.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "playbooks/roles/judge/files/vllm.lock"
NAME = "vllm"
PLATFORM, PYTHON = "manylinux_2_28_x86_64", "3.11"
NOT_THE_MODEL = (".git", ".cache", "README", "LICENSE", ".md", ".png", ".jpg", ".py")
"""Beginnings and ends of names that no server reads, or that would run code."""
_ENTRY = re.compile(r"^[a-z0-9].*(?:\n[ \t]+.*)*\n", re.MULTILINE)


def main(arguments: Sequence[str]) -> int:
    """Deliver what is asked for."""
    parser = argparse.ArgumentParser(
        prog="make_judge_release.py", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="folder with the model's files")
    parser.add_argument(
        "--manifest", type=Path, help="lines of `SHA256  NAME`; default: of the files that are there"
    )
    given = parser.parse_args(arguments)
    into = given.folder.resolve() / "releases/judge"
    into.mkdir(parents=True, exist_ok=True)
    entry, rest = split_lock(LOCK.read_text("utf-8"))
    lock = into / "requirements.lock"
    lock.write_text(rest, "utf-8")
    manifest = given.manifest.resolve() if given.manifest else write_manifest(given.model.resolve(), into)
    told = given.folder.resolve() / "group_vars/guard/judge-release.yml"
    told.parent.mkdir(parents=True, exist_ok=True)
    told.write_text(variables(fetch_wheel(entry, into), lock, given.model.resolve(), manifest), "utf-8")
    print(f"{told}\nmanifest {manifest}: {hashlib.sha256(manifest.read_bytes()).hexdigest()}")
    return 0


def split_lock(text: str) -> tuple[str, str]:
    """Return the lock's entry of vLLM itself, and the lock without it."""
    entry = next(each for each in _ENTRY.findall(text) if each.startswith(f"{NAME}=="))
    return entry, text.replace(entry, "")


def fetch_wheel(entry: str, into: Path) -> Path:
    """Have pip download the wheel that an entry pins.

    Raises:
        SystemExit: there is none with such a hash.
    """
    with tempfile.TemporaryDirectory() as name:
        wanted, python = Path(name) / "wanted.txt", Path(name) / "python"
        wanted.write_text(entry, "utf-8")
        subprocess.run([sys.executable, "-m", "venv", str(python)], check=True)
        command = [
            str(python / "bin/python"),
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
        ]
        command += ["--only-binary=:all:", "--platform", PLATFORM, "--python-version", PYTHON]
        done = subprocess.run(
            [*command, "--requirement", str(wanted), "--dest", str(into)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"error[release-wheels]: vLLM's wheel was not fetched\n{done.stdout.strip()}")
    version = entry.partition("==")[2].split()[0]
    return next(into.glob(f"{NAME}-{version}-*.whl"))


def write_manifest(model: Path, into: Path) -> Path:
    """Write a manifest of a model's files.

    Raises:
        SystemExit: there is no safetensors file among them.
    """
    names = sorted(
        str(file.relative_to(model))
        for file in model.rglob("*")
        if file.is_file()
        and not any(
            part.startswith(NOT_THE_MODEL) or part.endswith(NOT_THE_MODEL)
            for part in file.relative_to(model).parts
        )
    )
    if not any(name.endswith(".safetensors") for name in names):
        raise SystemExit(
            f"error[judge-model-format]: {model} holds no .safetensors file; fetch the model in that format"
        )
    manifest = into / f"{model.name}.sha256"
    manifest.write_text("".join(f"{digest_of(model / name)}  {name}\n" for name in names), "utf-8")
    return manifest


def digest_of(file: Path) -> str:
    """Return a file's SHA-256."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def variables(wheel: Path, lock: Path, model: Path, manifest: Path) -> str:
    """Return what the role is told, as YAML."""
    values = {
        "judge_wheel": str(wheel),
        "judge_lock": str(lock),
        "judge_model_files": str(model),
        "judge_model_manifest": str(manifest),
    }
    return f"# Made by tools/make_judge_release.py.\n{yaml.safe_dump(values, sort_keys=False, width=200)}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
