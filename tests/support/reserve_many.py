"""A process that reserves blocks: `reserve_many.py URL PREFIX COUNT`; COUNT `hang` stops inside `reserve`."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from mutx_infra.adapters.sql_registry import SqlRegistry
from mutx_infra.plan import Allocation
from tests.support.specs import a_spec, first_fit


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def hang(_taken: tuple[IPv4Network, ...]) -> Allocation:
    sys.stdout.write("inside\n")
    sys.stdout.flush()
    time.sleep(600)
    raise AssertionError("nobody killed this process")


def main(url: str, prefix: str, count: str) -> None:
    registry = SqlRegistry(url, WallClock())
    if count == "hang":
        registry.reserve(a_spec(prefix), hang)
    specs = [a_spec(f"{prefix}-{number}") for number in range(int(count))]
    blocks = [str(registry.reserve(spec, first_fit(spec)).allocation.block) for spec in specs]
    sys.stdout.write(json.dumps(blocks))


if __name__ == "__main__":
    main(*sys.argv[1:])
