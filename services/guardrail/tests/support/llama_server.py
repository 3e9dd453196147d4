"""llama.cpp's own HTTP server in a process, on a loopback port that the system chose.

Run as a program it serves a model until its standard input ends, so it does not outlive the test.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODEL = "wire"


@contextmanager
def serving(model: Path, log: Path) -> Iterator[str]:
    """Serve a model; yield the URL that settings take."""
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [sys.executable, __file__, str(model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = (
                next((line for line in process.stdout if line.startswith(b"http://")), b"").decode().strip()
            )
            assert address, f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}"
            yield f"{address}/v1"
        finally:
            process.stdin.close()
            process.wait(30)


def main(model: str) -> None:
    """Serve, say where, and end when nobody listens any more."""
    import xllamacpp  # noqa: PLC0415 - 100 MB that only the child takes

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 8192
    params.n_parallel = 1
    params.warmup = False
    # Else an assistant's turn at the end is taken for the begin of the answer (llama-server --no-prefill-assistant).
    params.prefill_assistant = False
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)  # noqa: T201 - this is what the parent waits for
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
