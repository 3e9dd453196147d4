"""The console script: it prints one line of JSON with the URLs, and serves until it is told to stop."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence

from mutx_provider_double.server import CONTROL, ProviderDouble


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve on loopback."""
    parser = argparse.ArgumentParser(description="An LLM provider on loopback, for tests and demos.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--key", action="append", help="take this made-up key only (may be repeated)")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.set())
    with ProviderDouble(port=options.port, keys=options.key) as double:
        urls = {
            "openai": double.openai_url,
            "anthropic": double.anthropic_url,
            "control": f"{double.anthropic_url}{CONTROL}",
        }
        sys.stdout.write(json.dumps(urls) + "\n")
        sys.stdout.flush()
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
