"""What holds for the service's tests: no network in `unit`."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent

# The support modules are imported by name; appended, so that nothing installed is shadowed.
sys.path += [str(TESTS / "support"), str(TESTS.parents[1] / "service_kit/tests/support")]

from no_network import no_network_in_the_unit_tests  # noqa: E402, F401 - pytest finds it here
