"""The tools are scripts, not a package: they import each other as the interpreter does when it runs one."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "tools"))
