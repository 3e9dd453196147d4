"""What the sandbox's processes have in common: how they are started, and that plugins end with their engine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

_LOOK_EVERY_S = 0.5


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with this interpreter; the current directory cannot shadow it."""
    return [sys.executable, "-P", "-m", module, *arguments]


def exit_with_parent() -> None:
    """End this process soon after the one that started it: an engine that is killed cannot tell its plugins."""
    parent = os.getppid()
    _exit_unless(lambda: os.getppid() == parent)


def exit_without(file: Path) -> None:
    """End this process soon after a file is gone: nobody finds a server again whose state directory was removed."""
    _exit_unless(file.exists)


def _exit_unless(condition: Callable[[], bool]) -> None:
    def watch() -> None:
        while condition():
            time.sleep(_LOOK_EVERY_S)
        os._exit(1)

    Thread(target=watch, name="watch", daemon=True).start()
