"""Every control that a suite looks at is broken by some test: a check that nobody has seen fail proves nothing."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.breakage import BREAKAGES, UNBREAKABLE

SUITES = Path(__file__).resolve().parents[2] / "compliance"


def test_every_control_that_is_looked_at_is_broken_somewhere() -> None:
    looked_at = {
        name
        for suite in SUITES.glob("test_*.py")
        for name in re.findall(r'mark\.control\("([^"]+)"\)', suite.read_text(encoding="utf-8"))
    }

    assert {*BREAKAGES, *UNBREAKABLE} == looked_at
    assert not {*BREAKAGES} & {*UNBREAKABLE}
