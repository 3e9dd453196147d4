"""A tenant can read all of it in an hour, and it needs nothing that the tenant does not know."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

SERVICE = Path(__file__).resolve().parents[2]
CHECKOUT = SERVICE.parents[1]
SOURCE = SERVICE / "src/mutx_vault_verify"
MOST_LINES = 2400
HOW_TO = CHECKOUT / "docs/how-to/verify-your-vault.md"


def imported(directory: Path) -> set[str]:
    names = set()
    for file in directory.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names


def test_it_needs_the_standard_library_and_cryptography_alone():
    needed = tomllib.loads((SERVICE / "pyproject.toml").read_text())["project"]["dependencies"]

    assert imported(SOURCE) - set(sys.stdlib_module_names) == {"cryptography", "mutx_vault_verify"}
    assert [re.match("[a-z]+", each).group() for each in needed] == ["cryptography"]


def test_the_toolkit_does_not_import_it():
    for directory in ("mutx_infra", "cli"):
        files = list((CHECKOUT / directory).rglob("*.py"))
        assert [file for file in files if "import mutx_vault_verify" in file.read_text()] == []
        assert [file for file in files if "from mutx_vault_verify" in file.read_text()] == []


def test_it_can_be_read_in_an_hour():
    assert sum(len(file.read_text().splitlines()) for file in SOURCE.rglob("*.py")) < MOST_LINES


def test_it_writes_nothing():
    """Beside its login and the end of its token, what it sends are questions."""
    sent = re.findall(r'"(POST|PUT|DELETE|PATCH)", (.*?),', (SOURCE / "vault.py").read_text())
    asked = {
        found
        for file in (SOURCE / "checks").glob("*.py")
        for found in re.findall(r"\.ask\((.*?),", file.read_text())
    }

    assert sorted(sent) == [
        ("POST", '"auth/token/revoke-self"'),
        ("POST", 'f"auth/{mount}/login"'),
        ("POST", "path"),
    ]
    assert asked == {'"auth/token/lookup-accessor"'}


def test_what_a_tenant_installs_is_what_was_tested():
    pins = []
    for lock in (CHECKOUT / "requirements.lock", SERVICE / "requirements.lock"):
        lines = lock.read_text().splitlines()
        pins.append({line.split(" ")[0] for line in lines if line[:1].isalnum()})

    assert {pin.partition("==")[0] for pin in pins[1]} == {"cffi", "cryptography", "pycparser"}
    assert pins[1] - pins[0] == set()


def test_every_code_is_in_the_how_to():
    codes = {c for file in SOURCE.rglob("*.py") for c in re.findall(r'code="([a-z-]+)"', file.read_text())}
    text = HOW_TO.read_text()

    assert len(codes) > 10
    assert [each for each in sorted(codes) if f"`{each}`" not in text] == []
