"""Fuzz one target by its coverage: `python services/guardrail/tests/fuzz TARGET [options of libFuzzer]`.

`python services/guardrail/tests/fuzz policy -max_total_time=300` takes five minutes. What fails is written to the
current directory as `crash-…`; `python services/guardrail/tests/fuzz policy crash-…` shows it again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mutx_guardrail", "mutx_service"]):
    from fuzz_targets import TARGETS

HERE = Path(__file__).resolve().parent
DEFAULTS = ["-max_len=2048", "-timeout=60", "-rss_limit_mb=4096"]


def main(arguments: list[str]) -> None:
    """Run libFuzzer, which ends the process."""
    if not arguments or arguments[0] not in TARGETS:
        sys.exit(f"usage: fuzz TARGET [options of libFuzzer]; targets: {', '.join(TARGETS)}")
    target, options = arguments[0], arguments[1:]
    seeds = [] if any(not option.startswith("-") for option in options) else [str(HERE / "corpus" / target)]
    # Engines are built before the first input's time runs.
    TARGETS[target](b"")
    atheris.Setup([sys.argv[0], *DEFAULTS, *options, *seeds], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
