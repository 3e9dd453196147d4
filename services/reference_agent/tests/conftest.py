"""What holds for the service's tests: no network in `unit`; in `integration` one agent of each kind for all."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent

# The support modules are imported by name; appended, so that nothing installed is shadowed.
SERVICES = TESTS.parents[1]
sys.path += [
    str(TESTS / "support"),
    *(str(SERVICES / each / "tests/support") for each in ("service_kit", "guardrail")),
]

from no_network import no_network_in_the_unit_tests  # noqa: E402, F401 - pytest finds it here
