"""Bring a set of files to a wanted state in one go: validated together, landed together, applied or still pending.

One call for a role instead of one task per file, which on a host that is right already is the whole cost of a run.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: file_set
short_description: Bring a set of files to a wanted state, validated together before any of them lands
description:
  - Every file is written beside its place and renamed into it, after the checks have passed on a staged copy.
  - A set with a name is marked as pending before it lands, until C(applied) says that the services have it. A run that
    was killed in between is thereby seen by the next one, which reports changed and so notifies the handlers again.
  - Where C(/usr/libexec/mutx/before-change) is a program, it is run before the first of them lands.
author: mutx.dev
options:
  name:
    description: What the set configures; the name of its pending mark.
    type: str
    required: true
  applied:
    description: Only take the pending mark away.
    type: bool
    default: false
  files:
    description: >-
      What is wanted: C(path), and C(content) or nothing (then only mode and owner are kept), C(mode), C(owner),
      C(group), C(state) (file, directory, absent), C(optional) (a path without content may be missing), C(secret)
      (no diff), C(initial) (content is for a missing file only).
    type: list
    elements: dict
    default: []
  checks:
    description: >-
      What must hold on the staged files: C(command), where C({stage}) is the staged root, C(copy) (existing files and
      directories that are staged first; their own paths are rewritten in them), C(expect) (lines that it must print),
      C(always) (run it where nothing differs, too: the effect may depend on files of others).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Install the policy of sshd
  file_set:
    name: sshd
    files:
      - path: /etc/ssh/sshd_config.d/00-mutx.conf
        content: "{{ lookup('ansible.builtin.template', '00-mutx.conf.j2') }}"
        mode: "0600"
    checks:
      - copy: [/etc/ssh/sshd_config, /etc/ssh/sshd_config.d]
        command: /usr/sbin/sshd -T -f {stage}/etc/ssh/sshd_config
        expect: [passwordauthentication no]
"""

RETURN = r"""
landed:
  description: The paths that were changed (or would be), and all of the set while it is pending.
  type: list
  returned: always
"""

PENDING = Path("/var/lib/mutx/pending")
# Whoever watches the host (the role `aide`) looks at it before it is changed in order.
BEFORE_CHANGE = Path("/usr/libexec/mutx/before-change")
FILE = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "mode": {"type": "str", "default": "0644"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "state": {"type": "str", "choices": ["file", "directory", "absent"], "default": "file"},
    "optional": {"type": "bool", "default": False},
    "secret": {"type": "bool", "default": False},
    "initial": {"type": "bool", "default": False},
}
CHECK = {
    "command": {"type": "str", "required": True},
    "copy": {"type": "list", "elements": "path", "default": []},
    "expect": {"type": "list", "elements": "str", "default": []},
    "always": {"type": "bool", "default": False},
}


class RefusedError(Exception):
    """The set cannot be brought about; nothing was changed."""


@dataclass(frozen=True)
class Wanted:
    """One path and what is to be there."""

    path: Path
    content: str | None
    mode: int
    owner: str
    group: str
    state: str
    optional: bool
    secret: bool
    initial: bool

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Wanted:
        """Read an entry of the task."""
        return cls(**{**entry, "path": Path(entry["path"]), "mode": int(entry["mode"], 8)})

    def change(self) -> dict[str, Any] | None:
        """Say what differs, as Ansible shows differences; nothing where nothing does."""
        if self.path.is_symlink() and self.state == "file":
            return self._difference("a link", "a file")
        there = self.path.exists()
        if self.state == "absent":
            return self._difference("there", "absent") if there or self.path.is_symlink() else None
        if not there and self.content is None and self.state == "file":
            if self.optional:
                return None
            raise RefusedError(f"[file-missing] {self.path} is not there, and no content for it was given")
        before = self._text() if there else ""
        if self.content is not None and before != self.content and not (there and self.initial):
            shown = ("(secret)", "(another secret)") if self.secret else (before, self.content)
            return self._difference(*shown)
        if not there:
            return self._difference("absent", self.state)
        return self._difference(*attributes) if (attributes := self._attributes()) else None

    def write_beside(self) -> Path | None:
        """Write the content into a file beside the place; None where there is none to write."""
        if self.state != "file" or self.content is None or (self.initial and self.path.exists()):
            return None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".mutx-", dir=self.path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                self._set_attributes(Path(name))
                file.write(self.content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            Path(name).unlink()
            raise
        return Path(name)

    def land(self, beside: Path | None) -> None:
        """Bring it about, by what `write_beside` gave."""
        if beside is not None:
            beside.replace(self.path)
        elif self.state == "absent" and self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        elif self.state == "absent":
            self.path.unlink()
        else:
            if self.state == "directory":
                self.path.mkdir(parents=True, exist_ok=True)
            self._set_attributes(self.path)

    def _set_attributes(self, path: Path) -> None:
        shutil.chown(path, self.owner, self.group)
        path.chmod(self.mode)

    def _attributes(self) -> tuple[str, str] | None:
        now = self.path.stat()
        try:
            wanted = (pwd.getpwnam(self.owner).pw_uid, grp.getgrnam(self.group).gr_gid, self.mode)
        except KeyError as exc:
            raise RefusedError(f"[file-owner] {self.path}: {exc.args[0]}") from exc
        if (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) == wanted:
            return None
        return f"{now.st_uid}:{now.st_gid} {stat.S_IMODE(now.st_mode):04o}", "{}:{} {:04o}".format(*wanted)

    def _text(self) -> str:
        return "" if self.path.is_dir() else self.path.read_text(encoding="utf-8", errors="replace")

    def _difference(self, before: str, after: str) -> dict[str, Any]:
        name = str(self.path)
        return {"before_header": name, "after_header": name, "before": before, "after": after}


def main() -> None:
    """Compare, check, land."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "applied": {"type": "bool", "default": False},
            "files": {"type": "list", "elements": "dict", "options": FILE, "default": []},
            "checks": {"type": "list", "elements": "dict", "options": CHECK, "default": []},
        },
        supports_check_mode=True,
    )
    pending = PENDING / module.params["name"]
    if module.params["applied"]:
        take_away(module, pending)
    wanted = [Wanted.of(entry) for entry in module.params["files"]]
    try:
        found = [(each, each.change()) for each in wanted]
        changes = [(each, change) for each, change in found if change is not None]
        check_staged(module, wanted, is_same=not changes)
        was_pending = pending.exists()
        if changes and not module.check_mode:
            announce(module)
            land(pending, [each for each, _ in changes])
    except RefusedError as exc:
        module.fail_json(msg=str(exc))
    landed = wanted if was_pending else [each for each, _ in changes]
    module.exit_json(
        changed=bool(changes) or was_pending,
        landed=[str(each.path) for each in landed],
        diff=[change for _, change in changes],
    )


def take_away(module: AnsibleModule, pending: Path) -> None:
    """Say that the services have what was landed."""
    if not module.check_mode:
        pending.unlink(missing_ok=True)
    # The change was reported where the files landed.
    module.exit_json(changed=False, landed=[])


def announce(module: AnsibleModule) -> None:
    """Say that a change in order begins; what the answer is stops nobody."""
    if os.access(BEFORE_CHANGE, os.X_OK):
        module.run_command([str(BEFORE_CHANGE)])


def land(pending: Path, changed: list[Wanted]) -> None:
    """Write everything beside its place, mark the set as pending, and rename; a kill in between leaves the mark.

    Raises:
        RefusedError: something could not be written, as on a full disk; nothing was changed.
    """
    beside: list[Path | None] = []
    try:
        beside.extend(each.write_beside() for each in changed)
        pending.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        pending.touch(mode=0o600)
    except OSError as exc:
        place = changed[len(beside)].path if len(beside) < len(changed) else pending
        for written in filter(None, beside):
            written.unlink(missing_ok=True)
        raise RefusedError(f"[file-write] {place}: {exc.strerror}; no file of the set was changed") from exc
    for each, path in zip(changed, beside, strict=True):
        each.land(path)


def check_staged(module: AnsibleModule, wanted: list[Wanted], *, is_same: bool) -> None:
    """Run the checks on a staged copy that holds the set; where nothing differs, only those for always.

    Raises:
        RefusedError: a check failed; the message has what it said.
    """
    for check in module.params["checks"]:
        if is_same and not check["always"]:
            continue
        with staged(check["copy"], wanted) as stage:
            command = [word.replace("{stage}", str(stage)) for word in shlex.split(check["command"])]
            code, out, err = module.run_command(command)
        said = (err or out).strip().replace(str(stage), "")
        if code != 0:
            raise RefusedError(f"[file-check] `{command[0]}` refuses the new files, so none landed: {said}")
        printed = {line.strip() for line in out.splitlines()}
        if missing := [line for line in check["expect"] if line not in printed]:
            keys = {line.split()[0] for line in missing}
            seen = sorted(line for line in printed if line.split()[:1] and line.split()[0] in keys)
            raise RefusedError(
                f"[file-effect] the new files would not have their effect, so none landed: wanted {missing}, "
                f"effective {seen}; look for another file that is read first"
            )


@contextlib.contextmanager
def staged(copied: list[str], wanted: list[Wanted]) -> Iterator[Path]:
    """Make a private tree of copies and wanted files, whose files name each other and not the originals."""
    place = "/run" if os.access("/run", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mutx-stage-", dir=place) as name:
        stage = Path(name)
        for source in map(Path, copied):
            target = stage / source.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            elif source.exists():
                shutil.copy2(source, target)
        for each in wanted:
            put(each, stage / each.path.relative_to("/"))
        for file in stage.rglob("*"):
            rewrite(file, copied, stage)
        yield stage


def put(each: Wanted, target: Path) -> None:
    """Put a wanted file into the staged tree."""
    if each.state == "absent":
        target.unlink(missing_ok=True)
    elif each.content is not None and not (each.initial and each.path.exists()):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(each.content, encoding="utf-8")


def rewrite(file: Path, copied: list[str], stage: Path) -> None:
    """Let a staged file name the staged copies."""
    if not file.is_file() or file.is_symlink():
        return
    with contextlib.suppress(UnicodeDecodeError):
        text = file.read_text(encoding="utf-8")
        changed = text
        # The longest first: /etc/ssh/sshd_config is the start of /etc/ssh/sshd_config.d.
        for path in sorted(copied, key=len, reverse=True):
            changed = changed.replace(path, f"\0{path}")
            changed = changed.replace(f"\0\0{path}", f"\0{path}")
        if changed != text:
            file.write_text(changed.replace("\0", str(stage)), encoding="utf-8")


if __name__ == "__main__":
    main()
