"""What holds for the service's tests: no network in `unit`; in `integration` the toolkit's real server."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
CHECKOUT = TESTS.parents[2]
KIT = TESTS.parents[1] / "service_kit/tests/support"

# The support modules are imported by name, the toolkit's as `tests.support`; appended, so that nothing is shadowed.
sys.path += [
    str(place)
    for place in (TESTS / "support", KIT, CHECKOUT, CHECKOUT / "tools")
    if str(place) not in sys.path
]

from no_network import no_network_in_the_unit_tests  # noqa: E402, F401 - pytest finds it here
