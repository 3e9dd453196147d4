"""A model's files on a host: all of them as their manifest says, or none that counts."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: judge_model
short_description: A model's files, pinned by a manifest
description:
  - A manifest has a line C(SHA256  NAME) for each file, as sha256sum writes them. On the host a model is a directory
    that is renamed into its place once every file in it is what its line says; what was brought before stays beside it
    until then, so a run that was cut off goes on where it was.
  - Formats that run code when they are loaded (pickles, Python) are refused by their names.
author: mutx.dev
options:
  place:
    description: The model's directory; for C(checked) the one on the controller, whose own manifest is not looked for.
    type: path
    required: true
  manifest: {description: The manifest's text., type: str, required: true}
  state:
    description: >-
      C(checked) compares a directory with the manifest and changes nothing; C(looked_at) says what is to be brought;
      C(installed) compares what was brought and takes it; C(alone) removes other models.
    type: str
    choices: [checked, looked_at, installed, alone]
    required: true
"""

EXAMPLES = r"""
- name: Take the model
  judge_model:
    place: /opt/mutx-judge/models/guard-4b-0a1b2c3d4e5f
    manifest: "{{ lookup('ansible.builtin.file', 'guard-4b.sha256') }}\n"
    state: installed
"""

RETURN = r"""
is_whole: {description: Whether the model is in its place., type: bool, returned: for looked_at}
incoming: {description: Where its files are to be brought., type: str, returned: for looked_at}
absent: {description: Names of those that are not there yet., type: list, returned: for looked_at}
directories: {description: Paths that they need, the outer first., type: list, returned: for looked_at}
"""

MANIFEST = "manifest.sha256"
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*)")
_RUNS_CODE = (".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth", ".py")


class RefusedError(Exception):
    """The files are not the model."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


def main() -> None:
    """Check, look, install or tidy."""
    module = AnsibleModule(
        argument_spec={
            "place": {"type": "path", "required": True},
            "manifest": {"type": "str", "required": True},
            "state": {
                "type": "str",
                "choices": ["checked", "looked_at", "installed", "alone"],
                "required": True,
            },
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    place, text, state = Path(module.params["place"]), module.params["manifest"], module.params["state"]
    try:
        wanted = read_manifest(text)
        if state == "checked":
            compare(place, wanted)
            module.exit_json(changed=False)
        if state == "looked_at":
            module.exit_json(changed=False, **look(place, wanted))
        if state == "alone":
            others = [each for each in place.parent.iterdir() if each != place] if place.is_dir() else []
            if not module.check_mode:
                for each in others:
                    shutil.rmtree(each)
            module.exit_json(changed=bool(others))
        is_whole = (place / MANIFEST).exists()
        if not is_whole and not module.check_mode:
            take(place, wanted, text)
        module.exit_json(changed=not is_whole)
    except RefusedError as exc:
        module.fail_json(msg=f"[{exc.code}] the model was not taken, the judge is as it was: {exc}")
    except OSError as exc:
        module.fail_json(
            msg=f"[judge-model-missing] the model was not taken, the judge is as it was: {exc.filename}: {exc.strerror}"
        )


def read_manifest(text: str) -> dict[str, str]:
    """Return digests by name.

    Raises:
        RefusedError: it is no manifest, or names a file that would run code.
    """
    lines = text.splitlines()
    found = {match[2]: match[1] for match in map(_LINE.fullmatch, lines) if match}
    if not lines or len(found) != len(lines) or MANIFEST in found:
        raise RefusedError(
            "judge-model-manifest", "the manifest has a line that is not `SHA256  NAME`, or a name twice"
        )
    if risky := [name for name in found if name.lower().endswith(_RUNS_CODE)]:
        raise RefusedError(
            "judge-model-format", f"{risky[0]} can run code when it is loaded: take safetensors"
        )
    return found


def compare(folder: Path, wanted: Mapping[str, str]) -> None:
    """See that a folder has every file of a manifest.

    Raises:
        RefusedError: one is not there, or is another.
    """
    for name, digest in wanted.items():
        file = folder / name
        if not file.is_file():
            raise RefusedError("judge-model-missing", f"{file} is not there, the manifest names it")
        if digest_of(file) != digest:
            raise RefusedError("judge-model-hash", f"{file} is not the file that the manifest names")


def look(place: Path, wanted: Mapping[str, str]) -> dict[str, object]:
    """Return what is to be brought, and where to."""
    is_whole, incoming = (place / MANIFEST).exists(), incoming_of(place)
    absent = [
        name
        for name, digest in wanted.items()
        if not is_whole and not ((incoming / name).is_file() and digest_of(incoming / name) == digest)
    ]
    parents = {
        incoming / parent for name in absent for parent in Path(name).parents
    }  # of `a/b`: `a` and the place itself
    return {
        "is_whole": is_whole,
        "incoming": str(incoming),
        "absent": absent,
        "directories": sorted(map(str, parents)),
    }


def take(place: Path, wanted: Mapping[str, str], text: str) -> None:
    """Rename what was brought into its place; its manifest is written last."""
    incoming = incoming_of(place)
    compare(incoming, wanted)
    brought = {str(file.relative_to(incoming)) for file in incoming.rglob("*") if not file.is_dir()}
    for name in brought - wanted.keys():
        (incoming / name).unlink()
    (incoming / MANIFEST).write_text(text, encoding="utf-8")
    incoming.rename(place)


def incoming_of(place: Path) -> Path:
    """Return where files wait for the rest of them."""
    return place.with_name(f".incoming-{place.name}")


def digest_of(file: Path) -> str:
    """Return a file's SHA-256."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    main()
