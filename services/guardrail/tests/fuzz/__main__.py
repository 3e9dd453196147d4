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
    # Engines are built before the first input's time runs.
    TARGETS[target](b"")
    # Seeds by name: to a folder libFuzzer would add what it finds.
    seeds = ",".join(str(path) for path in sorted((HERE / "corpus" / target).iterdir()))
    is_replay = any(not option.startswith("-") for option in options)
    given = [] if is_replay else [f"-seed_inputs={seeds}"]
    atheris.Setup([sys.argv[0], *DEFAULTS, *given, *options], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
