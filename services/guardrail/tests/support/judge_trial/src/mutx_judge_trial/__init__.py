"""For tests of hosts: a server of an OpenAI-compatible API that runs on the CPU, started as `vllm serve` is."""
