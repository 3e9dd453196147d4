"""A host never installs the toolkit, and the toolkit never needs a service: neither imports the other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from mutx_reference_agent.problem import KINDS

CHECKOUT = Path(__file__).resolve().parents[4]
SERVICES = {
    "guardrail": "mutx_guardrail",
    "provider_double": "mutx_provider_double",
    "reference_agent": "mutx_reference_agent",
    "service_kit": "mutx_service",
}
TOOLKIT = ("mutx_infra", "cli", "stacks", "sandbox", "templates", "playbooks")


def imported(directory: Path) -> set[str]:
    """Return the top-level names that the modules below a directory import, at any depth of code."""
    names = set()
    for file in directory.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_nothing_of_the_toolkit(service):
    found = imported(CHECKOUT / "services" / service / "src")

    assert SERVICES[service] in found
    assert found & {"mutx_infra", "mutx_sandbox"} == set()


def test_the_agent_imports_no_double():
    assert "mutx_provider_double" not in imported(CHECKOUT / "services/reference_agent/src")


@pytest.mark.parametrize("directory", TOOLKIT)
def test_the_toolkit_imports_no_service(directory):
    found = imported(CHECKOUT / directory)

    assert found & set(SERVICES.values()) == set()


def test_the_kit_imports_no_service():
    assert (
        imported(CHECKOUT / "services/service_kit/src") & (set(SERVICES.values()) - {"mutx_service"}) == set()
    )


def test_every_code_that_the_agent_raises_is_in_its_table():
    raised = {
        node.args[0].value
        for file in (CHECKOUT / "services/reference_agent/src").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem"
        if isinstance(node.args[0], ast.Constant)
    }

    assert len(raised) > 10
    assert raised - KINDS.keys() == set()


def test_what_a_host_installs_is_what_was_tested():
    """The host's lock holds the same versions as the one that `.venv` is made from, and no index."""
    pins = []
    for lock in ("requirements.lock", "services/reference_agent/requirements.lock"):
        lines = (CHECKOUT / lock).read_text().splitlines()
        pins.append({line.split(" ")[0] for line in lines if line[:1].isalnum()})

    assert len(pins[1]) > 30
    assert pins[1] - pins[0] == set()
    assert not [pin for pin in pins[1] if pin.startswith(("pulumi", "pytest", "boto3"))]
