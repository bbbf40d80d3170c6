"""A language model on this machine: llama.cpp's server as the agents ask it, alone or as a child of one process."""

import asyncio
import contextlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import aiohttp

from fairlead.contracts.errors import ConfigError, Unavailable
from fairlead.contracts.settings import LlmEndpoint, Settings
from testbed.llama_server import ENGINE, MISSING, Fit, weights
from testbed.processes import clean_environment, dies_with_parent

PORT = 8750
"""Of a server that is started by itself: beside our other ports, in a range that IANA gives to nobody well known."""

LEAST_SLOT_S = 10.0
"""Wall seconds that a slot must last: SmolLM2-135M takes 1 to 6 s for a slot's question of 1600 tokens on one core,
depending on what of it is in its cache (2026-11), and may take 0.6 of a slot."""

PLANNER_DEADLINE_SLOTS = 3.0
"""For its 3400 tokens it takes 20 to 30 s on one core (same measurement)."""

START_LIMIT_S = 120.0
"""Wall seconds to load; SmolLM2 takes 0.4 s, a model of some GB from a slow disk a minute."""

STOP_GRACE_S = 4.0
"""Wall seconds between asking the child to end and ending it."""

LOOK_EVERY_S = 0.1
LOOK_S = 2.0
"""Wall seconds between two looks whether it answers, and for one."""


def fit(threads: int | None = None) -> Fit:
    """Return how much of this machine the model takes; `threads` None leaves half of the processors to the rest.

    Two questions at once, so that the slot agent's need not wait for the planner's; each keeps its own prompt's
    beginning in the context. 8192 tokens hold a planner's 4000 + 1200 and a slot agent's 2000 + 700 together.
    """
    half = max(1, (os.cpu_count() or 1) // 2)
    return Fit(context_tokens=8192, parallel=2, threads=threads or half, http_threads=4, prompt_cache_mib=0)


def require() -> None:
    """Raise `ConfigError` unless engine and default weights are installed."""
    if importlib.util.find_spec(ENGINE) is None:
        raise ConfigError(f"{ENGINE} is not installed: {MISSING}")
    weights()


def command(port: int) -> tuple[str, ...]:
    """Return program and arguments of a server on `port`, with the default weights."""
    return (sys.executable, "-m", "fairlead_cli", "llm", "serve", "--port", str(port))


def asking(settings: Settings, port: int) -> Settings:
    """Return settings whose only endpoint is the local server on `port`, the planner's deadline made longer.

    Raises `ConfigError` where a slot is too short for a model on a small machine.
    """
    wall_slot_s = settings.controller.slot_s / settings.speed
    if wall_slot_s < LEAST_SLOT_S:
        raise ConfigError(
            f"--llm local needs seconds for an answer and cannot be made faster: at --speed {settings.speed:g} a slot "
            f"lasts {wall_slot_s:.3g} s, allowed is {LEAST_SLOT_S:g} s or more: use --speed 1"
        )
    given = settings.llm
    endpoint = LlmEndpoint(url=f"http://127.0.0.1:{port}/v1", key_variable=None)
    update: dict[str, object] = {"endpoints": (endpoint,)}
    if "planner_deadline_slots" not in given.model_fields_set:
        update["planner_deadline_slots"] = PLANNER_DEADLINE_SLOTS
    return settings.model_copy(update={"llm": given.model_copy(update=update)})


async def missing(port: int) -> str:
    """Return why the server on `port` cannot be asked yet; empty once it can."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LOOK_S)) as session,
            session.get(f"http://127.0.0.1:{port}/health") as answer,
        ):
            return "" if answer.status == 200 else "it loads its weights"
    except (aiohttp.ClientError, TimeoutError):
        return "it starts"


@contextlib.contextmanager
def child(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on `port` as a child, its words on our standard error, and end it with the context or with us."""
    process = subprocess.Popen(
        command(port),
        stdin=subprocess.DEVNULL,
        env=clean_environment(os.environ, f"llm-{os.getpid()}"),
        start_new_session=True,
        preexec_fn=dies_with_parent(),
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def answering(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Return once a child answers; raises `Unavailable` where it ends or does not within `START_LIMIT_S`."""
    until_s = time.monotonic() + START_LIMIT_S
    while found := await missing(port):
        if process.poll() is not None:
            raise Unavailable(f"the local language model ended with status {process.returncode} while starting")
        if time.monotonic() > until_s:
            raise Unavailable(f"the local language model did not come up within {START_LIMIT_S:g} s: {found}")
        await asyncio.sleep(LOOK_EVERY_S)
