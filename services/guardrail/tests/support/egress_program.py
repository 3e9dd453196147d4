"""The egress as a process, with the fake guard: `egress_program.py`, configured by its environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from fake_guard import FakeGuard
from mutx_guardrail.egress.serve import serve_egress
from mutx_guardrail.egress.settings import read_egress_settings

if __name__ == "__main__":
    guard = FakeGuard()
    sys.exit(serve_egress(read_egress_settings(os.environ), guard, guard.admit))
