"""One epoch judged by the twin, in a process of its own: the planner never waits for it.

    python -m planner.hindsight_child --engine auto --lock FILE

Reads evidence, JSON, from standard input and writes what the twin says of it, JSON, to standard output. The lock is
that of every process of this machine that may have to compile the twin's core.
"""

import argparse
import os
import sys
from importlib.metadata import version

from fairlead.agents.twin_child import alone
from fairlead.contracts.evidence import Evidence
from fairlead.twin.branching import Candidate, situation_of
from fairlead.twin.engines import brancher
from fairlead.twin.hindsight import labelled

LOWEST = 19
"""Niceness: what is over can wait for everything that is not."""


def main() -> int:
    """Judge one epoch."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", choices=("auto", "reference", "compiled"), default="auto")
    parser.add_argument("--lock", required=True)
    options = parser.parse_args()
    os.nice(LOWEST)
    said, sys.stdout = sys.stdout, sys.stderr  # what anybody prints is no label
    evidence = Evidence.from_json(sys.stdin.buffer.read())
    branch = brancher(options.engine)
    with alone(options.lock):
        engine = branch(situation_of(evidence.begin), Candidate("fallback"), (), evidence.begin.now_s + 1.0).engine
    said.write(labelled(evidence, branch, f"{engine} {version('fairlead')}").to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
