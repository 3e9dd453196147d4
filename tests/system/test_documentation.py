"""What the pages say can be followed: links, commands, error codes and named files exist."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from mutx_infra.cli.app import app
from typer.exceptions import TyperException

from mutx_infra.environment import Environment

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("tools/*.md"),
        *ROOT.glob("playbooks/*.md"),
        *ROOT.glob("services/*/*.md"),
        *ROOT.glob("docs/**/*.md"),
    ]
)
PICTURES = sorted(ROOT.glob("docs/**/*.svg"))
CODE = [path for top in ("mutx_infra", "cli", "sandbox", "stacks") for path in (ROOT / top).rglob("*.py")]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_MENTIONED = re.compile(r"`([^`\n]*)`")
_PATH = re.compile(r"(?:mutx_infra|cli|sandbox|stacks|tests|tools|tenants|benchmarks)/[\w./*-]*")
_MACHINE_PATH = re.compile(r"(?<![\w.…])/(?:work|root|home|Users)/|/tmp/")

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def test_there_are_pages_to_look_at() -> None:
    assert len(PAGES) > 20


@page
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    links = [link for link in _LINK.findall(path.read_text(encoding="utf-8")) if "://" not in link]

    assert [link for link in links if not leads_somewhere(path, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.exists():
        return False
    return not anchor or anchor in {slug(title) for title in _HEADING.findall(target.read_text("utf-8"))}


def slug(title: str) -> str:
    """Return a heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@page
def test_every_shown_command_exists_with_its_options(path: Path) -> None:
    wrong = {}
    for command in commands_in(path.read_text(encoding="utf-8")):
        try:
            parse(command)
        except (TyperException, LookupError, ValueError) as exc:
            wrong[command] = repr(exc)

    assert wrong == {}


@pytest.mark.parametrize(
    "command", ["mutx-infra tenant creat acme", "mutx-infra tenant create --nope", "mutx-infra sandbox"]
)
def test_a_command_that_does_not_exist_is_found(command: str) -> None:
    with pytest.raises((TyperException, LookupError)):
        parse(command)


def test_commands_are_found_in_every_form() -> None:
    text = (
        "    mutx-infra doctor\n$ mutx-infra sandbox up\nuse `mutx-infra tenant show acme`, not `mutx-infra`"
    )

    assert list(commands_in(text)) == [
        "mutx-infra doctor",
        "mutx-infra sandbox up",
        "mutx-infra tenant show acme",
    ]


def commands_in(text: str) -> Iterator[str]:
    """Yield every whole command line: indented, behind `$ `, or in backquotes with at least a verb."""
    for line in text.splitlines():
        found = re.match(r"(?:    +|\$ |run )(mutx-infra .*)", line)
        if found:
            yield found[1]
    for mentioned in _MENTIONED.findall(_FENCE.sub("", text)):
        if re.match(r"mutx-infra \S+ \S", mentioned):
            yield mentioned


def parse(line: str) -> None:
    """Parse a command line without running it; `a|b|c` for a verb means each of them."""
    words = shlex.split(re.split(r" (?:&&|>|\|) ", line)[0])[1:]
    command: Any = typer.main.get_command(app)  # Any: groups list their commands only at run time
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        verbs, *words = words
        for verb in verbs.split("|"):
            inner = command.commands[verb]
        command = inner
        if "|" in verbs:
            return
    if hasattr(command, "commands") and not words:
        raise LookupError(f"{line} names no command")
    command.make_context(
        line, [word for word in words if word not in {"-h", "--help"}], resilient_parsing=False
    )


@page
def test_every_named_file_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = [found[0].rstrip(".") for span in _MENTIONED.findall(text) if (found := _PATH.match(span))]
    made_by_reader = {"tenants/TENANT.yaml", "tenants/acme.lock.yaml"}

    missing = [name for name in named if name not in made_by_reader and not list(ROOT.glob(name))]

    assert missing == []


def test_each_requirement_leads_to_code_and_to_a_test() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [A-Z]+-\d+[^|]* \|([^|]+)\|([^|]+)\|$", text, re.MULTILINE)
    cells = [_MENTIONED.findall(cell) for row in rows for cell in row]

    assert len(rows) >= 9
    assert all(cells)
    assert [name for names in cells for name in names if not (ROOT / name).exists()] == []
    assert all(re.match(r"(services/\w+/)?tests/", name) for names in cells[1::2] for name in names)


def test_every_error_code_is_explained() -> None:
    explained = set(re.findall(r"`([a-z0-9-]+)`", (ROOT / "docs/reference/exit-codes.md").read_text("utf-8")))
    raised = {code for path in CODE for code in codes_in(path)}
    raised |= {f"spec-{field}-fixed" for field in ("region", "account", "cidr", "zones")}

    assert {code for code in raised - explained if not code.startswith("spec-yaml-")} == set()


def test_no_error_code_is_explained_that_nothing_raises() -> None:
    tables = re.findall(
        r"^\| (`[^|]+`) \|", (ROOT / "docs/reference/exit-codes.md").read_text("utf-8"), re.MULTILINE
    )
    explained = {code for cell in tables for code in re.findall(r"`([a-z-]+)`", cell)}
    raised = {code for path in CODE for code in codes_in(path)} | {"defect", "spec-yaml"}
    raised |= {f"spec-{field}-fixed" for field in ("region", "account", "cidr", "zones")}

    assert explained - raised == set()


def test_every_finding_of_a_tailnet_is_explained() -> None:
    page = (ROOT / "docs/reference/tailnet-findings.md").read_text("utf-8")
    cells = re.findall(r"^\| (`[^|]+`) \|", page, re.MULTILINE)
    explained = {code for cell in cells for code in re.findall(r"`([a-z-]+)`", cell)}
    made = {
        code
        for path in (*(ROOT / "mutx_infra/tailnet").glob("*.py"), ROOT / "cli/tailnet.py")
        for code in re.findall(r"(?:Lint|rows \+= \[)\(\s*\"([a-z]+(?:-[a-z]+)+)\"", path.read_text("utf-8"))
    }

    assert explained == made
    assert len(made) > 20


def codes_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
            yield str(node.value.value)
        # The last branch of `code = A if … else B`.
        if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.IfExp):
            yield from (
                str(part.value)
                for part in (node.value.body, node.value.orelse)
                if isinstance(part, ast.Constant)
            )


def test_the_profile_of_the_reference_is_valid() -> None:
    text = (ROOT / "docs/reference/environments.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    assert not Environment.model_validate(yaml.safe_load(example)).is_loopback


def test_the_sandboxs_page_names_every_type_that_it_serves() -> None:
    from mutx_sandbox.aws.table import TABLE as AWS  # noqa: PLC0415 - loads botocore
    from mutx_sandbox.tailscale.table import TABLE as TAILSCALE  # noqa: PLC0415

    text = (ROOT / "docs/reference/sandbox.md").read_text(encoding="utf-8")

    assert [token for token in (*AWS, *TAILSCALE) if f"`{token.rsplit(':', 1)[1]}`" not in text] == []


@pytest.mark.parametrize("path", [*PAGES, *PICTURES], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_shows_a_path_of_somebodys_machine(path: Path) -> None:
    assert _MACHINE_PATH.findall(path.read_text(encoding="utf-8")) == []


WORKFLOW = ROOT / "docs" / "how-to" / "workflows" / "tenant-stack.yml"


def test_every_command_of_the_example_workflow_exists() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    lines = [
        line for job in jobs.values() for step in job["steps"] for line in step.get("run", "").splitlines()
    ]
    ours = [line.replace('"$STACK"', "acme") for line in lines if "mutx-infra " in line]

    assert len(ours) == 5
    for line in ours:
        parse(line.partition("bin/")[2].partition(" >")[0])


def test_the_example_workflow_trusts_nobody_more_than_it_must() -> None:
    """YAML 1.1 reads the key `on` as true."""
    content = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    steps = [step for job in content["jobs"].values() for step in job["steps"]]
    text = WORKFLOW.read_text(encoding="utf-8")

    assert set(content[True]) == {"pull_request", "push", "schedule"}
    assert content["permissions"] == {"contents": "read"}
    assert content["jobs"]["up"]["environment"] == "production"
    assert "pull-requests" not in content["jobs"]["up"]["permissions"]
    assert all(s["with"]["persist-credentials"] is False for s in steps if "checkout" in s.get("uses", ""))
    assert "aws-access-key-id" not in text
    assert "secrets." not in text
    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]
    assert "--policy-pack stacks/policy" in text


def test_the_example_workflow_takes_the_engine_that_is_locked() -> None:
    locked = re.search(r"^pulumi==(\S+)", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)

    assert locked is not None
    assert f"pulumi-version: {locked[1]}" in WORKFLOW.read_text(encoding="utf-8")
