"""The tree that mypy sees has the installed shape."""

from __future__ import annotations

from check_types import build_tree


def test_the_tree_puts_each_directory_where_it_installs(tmp_path):
    root, tree = tmp_path / "root", tmp_path / "tree"
    for name in ("pkg/inner", "cli"):
        (root / name).mkdir(parents=True)
    (root / "pkg" / "errors.py").touch()
    (root / "cli" / "app.py").touch()
    (root / "pyproject.toml").write_text('[tool.setuptools.package-dir]\n"pkg.cli" = "cli"\n"pkg" = "pkg"\n')

    build_tree(root, tree)
    build_tree(root, tree)

    assert (tree / "pkg" / "errors.py").resolve() == root / "pkg" / "errors.py"
    assert (tree / "pkg" / "cli" / "app.py").resolve() == root / "cli" / "app.py"
    assert (tree / "pkg" / "inner").resolve() == root / "pkg" / "inner"
