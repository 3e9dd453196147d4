"""Programs and modules of the playbooks' roles, as Python modules: none of them is a package, some have no suffix."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

UNIT = "unit_"
"""What the modules' names begin with here, so that none takes the place of something that is installed."""
ROLES = Path(__file__).resolve().parents[2] / "playbooks" / "roles"


def load_program(path: str) -> ModuleType:
    """Load a file below the roles, e.g. `host/files/mutx-backup`."""
    loader = SourceFileLoader(f"{UNIT}{Path(path).stem.replace('-', '_')}", str(ROLES / path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = loaded  # its dataclasses look themselves up there
    loader.exec_module(loaded)
    return loaded
