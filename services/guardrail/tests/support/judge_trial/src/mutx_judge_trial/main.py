"""`serve MODEL --config FILE`, as vLLM has it: MODEL is a folder with one GGUF file, the key is in VLLM_API_KEY."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
from pathlib import Path

_READ = {"host", "port", "served-model-name", "max-model-len", "max-num-seqs"}
"""Of vLLM's options, those that mean something here; the others are about a GPU."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutx-judge-trial")
    parser.add_argument("verb", choices=["serve"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--config", type=Path, required=True)
    given = parser.parse_args()
    told = {
        name: value for name, value in json.loads(given.config.read_text("utf-8")).items() if name in _READ
    }

    # OpenMP's library comes along with this package: a host has none, and vLLM's own comes with torch.
    ctypes.CDLL(str(Path(__file__).with_name("libgomp.so.1")), ctypes.RTLD_GLOBAL)
    import xllamacpp  # noqa: PLC0415 - only now can it be loaded

    params = xllamacpp.CommonParams()
    params.model.path = str(next(given.model.glob("*.gguf")))
    params.model_alias = {told["served-model-name"]}
    params.hostnames = [told["host"]]
    params.port = told["port"]
    params.api_keys = [os.environ["VLLM_API_KEY"]]
    params.n_ctx = told["max-model-len"]
    params.n_parallel = 1
    params.warmup = False
    params.prefill_assistant = False
    params.cpuparams.n_threads = 1
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = xllamacpp.Server(params)
    signal.sigwait({signal.SIGTERM})
    del server
    return 0
