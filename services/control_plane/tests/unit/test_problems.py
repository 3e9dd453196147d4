"""Problems: each that is raised stands in the table."""

from __future__ import annotations

import ast
from pathlib import Path

from mutx_control_plane.problems import KINDS

SOURCES = Path(__file__).resolve().parents[2] / "src"


def test_every_code_that_is_raised_is_known():
    raised = {
        node.args[0].value
        for file in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem"
        if isinstance(node.args[0], ast.Constant)
    }

    assert len(raised) > 10
    assert raised - KINDS.keys() == set()
