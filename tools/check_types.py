"""Run mypy over the packages as they install, over the tools and the benchmarks. `make check` runs it.

pyproject.toml maps top-level directories into the package (`cli/` is `mutx_infra.cli`), and mypy cannot
follow the editable install's finder. So it gets a tree of links with the installed shape, made anew each
time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / ".mypy_cache" / "tree"


def main() -> int:
    """Check packages, then what runs from the checkout; the exit status is mypy's worst."""
    build_tree(ROOT, TREE)
    mypy = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"),
            "--cache-dir", str(ROOT / ".mypy_cache" / "cache")]  # fmt: skip
    # In the tree: mypy prefers the current directory to anything that it is told.
    packages = _run(mypy, TREE)
    scripts = [
        _run([*mypy, *(str(file) for file in sorted(directory.glob("*.py")))], directory)
        for directory in (ROOT / "tools", ROOT / "benchmarks", ROOT / "benchmarks" / "baselines")
    ]
    return max(packages, *scripts)


def build_tree(root: Path, tree: Path) -> None:
    """Make `tree` hold each package where it installs, as links into the checkout."""
    with (root / "pyproject.toml").open("rb") as file:
        mapped: dict[str, str] = tomllib.load(file)["tool"]["setuptools"]["package-dir"]
    mapped |= {file.parent.name: str(file.parent) for file in root.glob("services/*/src/*/py.typed")}
    shutil.rmtree(tree, ignore_errors=True)
    # Parents first: `mutx_infra` before `mutx_infra.cli`, which then lies beside the links to its modules.
    for package, directory in sorted(mapped.items()):
        target = tree.joinpath(*package.split("."))
        target.mkdir(parents=True, exist_ok=True)
        for entry in sorted((root / directory).iterdir()):
            if entry.name != "__pycache__":
                (target / entry.name).symlink_to(entry)
    # A benchmark starts the same servers as tests do.
    (tree / "tests").symlink_to(root / "tests")


def _run(command: list[str], directory: Path) -> int:
    """Run mypy and show paths of the checkout instead of the tree's."""
    variables = {**os.environ, "MYPYPATH": str(TREE)}
    done = subprocess.run(
        command,
        cwd=directory,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        place, separator, rest = line.partition(":")
        file = directory / place
        shown = str(file.resolve().relative_to(ROOT)) if separator and file.is_file() else place
        print(f"{shown}{separator}{rest}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
