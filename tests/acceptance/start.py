"""From nothing to a working system, again at once, and away without a trace: `make run` as a person would use it."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.acceptance.case import ROOT, Case, hold
from tests.acceptance.live import Up, until, up

FIRST_S = 180.0
"""`make run` on a fresh clone, installation included."""
AGAIN_S = 25.0
"""`make run` where everything is installed."""


def _make_run(system: Up, limit_s: float) -> str:
    """Return how long `make run` took until it answered a prompt; end it as Ctrl-C does, and look at what is left."""
    took_s = system.works(limit_s=limit_s + 60)
    hold(took_s <= limit_s, f"it answered a prompt after {took_s:.1f} s, allowed are {limit_s:.0f} s")
    flowing = system.finished()
    until(lambda: system.finished() > flowing, "its own demand is served", 15, system.alive)
    system.note_ports()
    os.killpg(system.process.pid, 2)
    ended = system.wait(30)
    until(lambda: not system.left(), f"nothing left behind, but {system.left()}", 5)
    hold("Traceback" not in ended.err, f"a traceback: {ended.err[-600:]}")
    return f"working after {took_s:.1f} s (≤ {limit_s:.0f}), nothing left behind"


def _first() -> str:
    folder = Path(tempfile.mkdtemp(prefix="fairlead-clone-"))
    try:
        clone = folder / "project"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        with up(command=("make", "run"), cwd=clone, keep=False) as system:
            return _make_run(system, FIRST_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _again() -> str:
    with up(command=("make", "run"), keep=False) as system:
        return _make_run(system, AGAIN_S)


CASES = (
    Case("run-again", "`make run` where all is installed works within 25 s and leaves nothing behind", _again),
    Case("run-first", "`make run` in a fresh clone works within 3 min, installation included", _first),
)
