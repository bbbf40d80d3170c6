"""Programs in interpreters of their own that hash strings differently: what they print must not differ."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

LIMIT_S = 120.0
"""Longer than the slowest of them takes on a busy machine of two cores."""


def run_under(hash_seed: str, *arguments: str, stdin: bytes = b"") -> bytes:
    """Return what Python prints with these arguments (`-c …` or `-m …`) under this hash seed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
