"""`python -m testbed.sweeper`: what cleans up after a run that was killed with -9 and could not do so itself.

It waits until the pipe on its standard input closes, which the kernel does when the run's own process is gone, and
then ends every process that carries the run's mark. It hears nothing else and does nothing before.
"""

import argparse
import shutil
import signal
import sys

from testbed.processes import end, marked

GRACE_S = 2.0
"""Wall seconds between asking and killing; nobody is left who would need a clean end."""


def main() -> None:
    """Wait for the end of the run, then end what is left of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mark", required=True, help="mark of the run")
    parser.add_argument("--remove", action="append", default=[], help="temporary directory of the run; may repeat")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end(marked(options.mark), grace_s=GRACE_S)
    for folder in options.remove:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
