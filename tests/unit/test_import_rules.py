"""Dependencies point inwards (CONVENTIONS 1): read from the source, so that no import can slip in lazily."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
ROOTS = {"mutx_infra": "mutx_infra", "cli": "mutx_infra.cli", "stacks": "mutx_infra.stacks"}

CORE_MAY_IMPORT = {"pydantic", "pydantic_core"}
BOOTSTRAPS = {
    "mutx_infra.bootstrap",
    "mutx_infra.bootstrap_custody",
    "mutx_infra.bootstrap_tailnet",
    "mutx_infra.bootstrap_vault",
    "mutx_infra.bootstrap_vault_check",
}
MAY_IMPORT_ADAPTERS = {
    **{bootstrap: {"*"} for bootstrap in BOOTSTRAPS},
    # Reading a spec needs no environment, and the engine runs the program without the CLI.
    "mutx_infra.stacks.tenant.__main__": {"spec_file"},
    "mutx_infra.stacks.platform.__main__": {"spec_file"},
    "mutx_infra.cli.spec": {"spec_file"},
    "mutx_infra.cli.tenant": {"spec_file"},
    # Doctor looks for the engine where no environment is chosen yet.
    "mutx_infra.cli.doctor": {"pulumi_engine"},
}
MAY_READ_THE_ENVIRONMENT = {"mutx_infra.bootstrap", "mutx_infra.cli.app"}
SLOW_TO_LOAD = {"boto3", "botocore", "cryptography", "hvac", "jinja2", "pulumi", "pulumi_aws", "sqlalchemy"}


@dataclass(frozen=True)
class Module:
    name: str
    path: Path

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"))

    @property
    def is_core(self) -> bool:
        inner = self.name.count(".") <= 1 or self.name.startswith(
            ("mutx_infra.tailnet.", "mutx_infra.vault.")
        )
        return inner and self.name not in BOOTSTRAPS


def _modules() -> Iterator[Module]:
    for directory, package in ROOTS.items():
        for path in sorted((CHECKOUT / directory).rglob("*.py")):
            parts = path.relative_to(CHECKOUT / directory).with_suffix("").parts
            yield Module(".".join([package, *parts]).removesuffix(".__init__"), path)


MODULES = list(_modules())
every_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _imports_at_start(tree: ast.Module) -> set[str]:
    """What loading the module loads: not what functions import, nor what is for the type checker."""
    loaded = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return {name.partition(".")[0] for name in _imports(ast.Module(loaded, []))}


def test_there_are_modules_to_look_at() -> None:
    assert {"mutx_infra.plan", "mutx_infra.cli.app", "mutx_infra.stacks.tenant.__main__"} <= {
        m.name for m in MODULES
    }


@pytest.mark.parametrize("module", [m for m in MODULES if m.is_core], ids=lambda module: module.name)
def test_the_core_imports_the_standard_library_pydantic_and_itself(module: Module) -> None:
    for name in _imports(module.tree):
        top = name.partition(".")[0]
        assert top in sys.stdlib_module_names | CORE_MAY_IMPORT | {"mutx_infra"}, name
        assert not name.startswith(
            ("mutx_infra.adapters", "mutx_infra.cli", "mutx_infra.stacks", "mutx_infra.bootstrap")
        )


@every_module
def test_adapters_are_imported_where_they_are_chosen(module: Module) -> None:
    if module.name.startswith("mutx_infra.adapters"):
        return
    allowed = MAY_IMPORT_ADAPTERS.get(module.name, set())

    used = {name.split(".")[2] for name in _imports(module.tree) if name.startswith("mutx_infra.adapters.")}

    assert used <= allowed or "*" in allowed


@every_module
def test_production_knows_no_sandbox(module: Module) -> None:
    assert not [
        name for name in _imports(module.tree) if name.split(".")[0] in {"mutx_sandbox", "sandbox", "moto"}
    ]


@every_module
def test_the_process_environment_is_read_in_one_place(module: Module) -> None:
    if module.name in MAY_READ_THE_ENVIRONMENT:
        return
    readers = {"environ", "environb", "getenv", "expandvars"}

    found = {n.attr for n in ast.walk(module.tree) if isinstance(n, ast.Attribute)} & readers

    assert not found
    assert not [name for name in _imports(module.tree) if name in {f"os.{reader}" for reader in readers}]


@pytest.mark.parametrize(
    "module",
    [m for m in MODULES if m.is_core or ".cli" in m.name or m.name in BOOTSTRAPS],
    ids=lambda module: module.name,
)
def test_the_cli_starts_without_what_loads_slowly(module: Module) -> None:
    assert not _imports_at_start(module.tree) & SLOW_TO_LOAD


@every_module
def test_packages_are_imported_by_their_whole_name(module: Module) -> None:
    for node in ast.walk(module.tree):
        assert not (isinstance(node, ast.ImportFrom) and node.level), "relative import"


def test_the_command_line_starts_without_the_parts_that_one_group_of_commands_needs() -> None:
    """Seen from outside: in this process others have loaded them."""
    program = "import sys, mutx_infra.cli.app; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    ours = {name for name in loaded if name.startswith("mutx_infra.")}

    assert "mutx_infra.cli.vault" in ours
    assert not ours & {
        *(f"mutx_infra.vault.{name}" for name in ("claims", "custody", "handover", "readback", "receipt")),
        *(f"mutx_infra.tailnet.{name}" for name in ("composition", "evaluation", "writer")),
    }
    assert not SLOW_TO_LOAD & set(loaded)
