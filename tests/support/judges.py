"""What a judge's host is given in a test: llama.cpp's server in vLLM's place, and a model whose answer is known."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.support.agents import build_wheel
from tests.support.checkout import ROOT
from tests.support.guards import SUPPORT

sys.path.append(str(SUPPORT))

import tiny_model

JAILBREAK = ("Safety:", {" Unsafe": 0.9, " Safe": 0.1}, "\nCategories:", " Jailbreak")
"""What Qwen3Guard says of a text that would have a model break its rules."""
HARMLESS = ("Safety:", {" Safe": 0.98, " Unsafe": 0.02}, "\nCategories:", " None")


@cache
def build_judge(into: Path) -> tuple[Path, Path]:
    """Build the stand-in's wheel; returns it and a lock of what it needs."""
    lock = into / "judge.lock"
    text = (ROOT / "requirements.lock").read_text("utf-8")
    entry = re.search(r"^xllamacpp==.*(?:\n[ \t]+--hash.*)*\n", text, re.MULTILINE)
    assert entry is not None
    lock.write_text(entry[0].rstrip().removesuffix("\\") + "\n", "utf-8")
    source = into / "judge_trial"
    shutil.copytree(SUPPORT / "judge_trial", source)
    shutil.copy(_openmp(), source / "src/mutx_judge_trial/libgomp.so.1")
    return build_wheel(into, service=source), lock


def _openmp() -> str:
    """Return the path of this machine's OpenMP library, which llama.cpp needs and a host has not."""
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"libgomp\.so\.1 \(libc6,x86-64\) => (\S+)", known)
    assert found is not None, "this machine has no libgomp1"
    return found[1]


def write_model(folder: Path, says: tuple[tiny_model.Piece, ...]) -> tuple[Path, Path]:
    """Write a model that says one thing of every text; returns its folder and its manifest."""
    files = folder / "files"
    files.mkdir(parents=True)
    model = tiny_model.write_model(files / "judge.gguf", says)
    manifest = folder / "model.sha256"
    manifest.write_text(f"{hashlib.sha256(model.read_bytes()).hexdigest()}  {model.name}\n", "utf-8")
    return files, manifest
