"""What holds for every role, read from its files: nothing here connects to a host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make_role_pages
import pytest
import yaml

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
ROLES = sorted(path.parent for path in PLAYBOOKS.glob("roles/*/meta"))
CONTROLS = yaml.safe_load((PLAYBOOKS / "controls.yml").read_text("utf-8"))
REQUIREMENT = re.compile(r"^(HOST|NET|ZTNA|PRIN|BYOK)-\d+$")
SECRET = re.compile(r"(?<!no_)(?:_key_file|password|secret|token)\b")
META = (
    "ansible.builtin.import_tasks",
    "ansible.builtin.include_tasks",
    "ansible.builtin.import_role",
    "block",
)

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def load(path: Path) -> Any:  # Any: what YAML holds
    return yaml.safe_load(path.read_text("utf-8")) if path.exists() else None


def tasks_of(role: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted([*role.glob("tasks/*.yml"), *role.glob("handlers/*.yml")]):
        for task in load(path) or []:
            yield str(path.relative_to(PLAYBOOKS)), task


def options_of(role: Path) -> dict[str, Any]:
    found: dict[str, Any] = load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    return found


def test_there_are_roles_to_look_at() -> None:
    assert {"base", "sshd", "ufw", "fail2ban", "auditd"} <= {role.name for role in ROLES}


@each_role
def test_every_default_has_a_spec_and_every_spec_a_default(role: Path) -> None:
    required = {name for name, option in options_of(role).items() if option.get("required")}

    assert set(load(role / "defaults" / "main.yml")) == set(options_of(role)) - required


@each_role
def test_every_variable_has_the_prefix_of_its_role(role: Path) -> None:
    variables = {name for path in role.glob("vars/**/*.yml") for name in load(path)} | set(options_of(role))

    assert {name for name in variables if not name.startswith(f"{role.name}_")} == set()


@each_role
def test_every_option_says_what_it_is(role: Path) -> None:
    vague = [name for name, option in options_of(role).items() if len(option["description"]) < 12]

    assert vague == []


@each_role
def test_every_task_is_a_sentence_with_a_known_control(role: Path) -> None:
    wrong = {
        f"{path}: {task.get('name')}"
        for path, task in tasks_of(role)
        if not any(name in task for name in META)
        and not (
            re.fullmatch(r"[A-Z][^|]+[^|. ] \| [a-z0-9]+-\d\d", task.get("name", ""))
            and task["name"].rpartition(" ")[2] in CONTROLS
        )
    }

    assert wrong == set()


@each_role
def test_a_control_of_a_role_is_served_by_one_of_its_tasks_or_files(role: Path) -> None:
    text = "\n".join(
        path.read_text("utf-8")
        for folder in ("tasks", "handlers", "templates")
        for path in role.glob(f"{folder}/**/*.*")
    )
    own = {name for name, control in CONTROLS.items() if control["role"] == role.name}

    assert {name for name in own if name not in text} == set()


@each_role
def test_what_touches_a_secret_is_not_logged(role: Path) -> None:
    loud = [
        f"{path}: {task.get('name')}"
        for path, task in tasks_of(role)
        if SECRET.search(re.sub(r"^name:.*$", "", yaml.safe_dump(task), flags=re.MULTILINE))
        and not task.get("no_log")
        and not any(name in task for name in META)
    ]

    assert loud == []


@each_role
def test_a_table_of_contents_only_imports(role: Path) -> None:
    if role.name == "host":  # two tasks, and no more to come
        return
    tasks = load(role / "tasks" / "main.yml")

    assert [task["name"] for task in tasks if not any(name in task for name in META)] == []


@each_role
def test_modes_are_quoted(role: Path) -> None:
    text = "\n".join(
        path.read_text("utf-8")
        for folder in ("tasks", "vars", "handlers")
        for path in role.glob(f"{folder}/**/*.*")
    )

    assert re.findall(r"mode: [^\"'{\s]\S*", text.replace("mode: mutx", "")) == []


def test_every_control_names_its_requirement_and_a_role() -> None:
    names = {role.name for role in ROLES}

    assert [
        name
        for name, control in CONTROLS.items()
        if not REQUIREMENT.match(control["requirement"])
        or control["role"] not in names
        or not control["title"]
    ] == []


def test_every_waiver_says_why_who_and_until_when() -> None:
    waivers = load(PLAYBOOKS / "waivers.yml")

    assert [
        w
        for w in waivers
        if set(w) != {"control", "reason", "owner", "expires"} or w["control"] not in CONTROLS
    ] == []


@pytest.mark.parametrize(
    "path", make_role_pages.pages(make_role_pages.ROLES), ids=lambda path: path.parent.name
)
def test_a_page_of_a_role_is_up_to_date(path: Path) -> None:
    assert path.read_text("utf-8") == make_role_pages.pages(make_role_pages.ROLES)[path], (
        "run: .venv/bin/python tools/make_role_pages.py"
    )
