"""One epoch judged by the twin, in a process of its own: the planner never waits for it.

    python -m planner.hindsight_child

Reads evidence, JSON, from standard input and writes what the twin says of it, JSON, to standard output.
"""

import os
import sys
from importlib.metadata import version

from fairlead.contracts.evidence import Evidence
from fairlead.twin.branching import Candidate, situation_of
from fairlead.twin.engines import brancher
from fairlead.twin.hindsight import labelled

LOWEST = 19
"""Niceness: what is over can wait for everything that is not."""


def main() -> int:
    """Judge one epoch."""
    os.nice(LOWEST)
    said, sys.stdout = sys.stdout, sys.stderr  # what anybody prints is no label
    evidence = Evidence.from_json(sys.stdin.buffer.read())
    branch = brancher("auto")
    engine = branch(situation_of(evidence.begin), Candidate("fallback"), (), evidence.begin.now_s + 1.0).engine
    said.write(labelled(evidence, branch, twin_name(engine)).to_json())
    return 0


def twin_name(engine: str) -> str:
    """Return how a label names its twin: the engines mean the same, so that a new version is what makes it old."""
    return f"{engine} {version('fairlead')}"


if __name__ == "__main__":
    sys.exit(main())
