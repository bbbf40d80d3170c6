"""Children that end with the process that started them, also where that one is killed with -9.

Run as a program this file asks the kernel to kill it when its parent ends (prctl(2), `PR_SET_PDEATHSIG`), then
becomes the program that it was given: the pid stays, nothing runs between fork and exec in the parent, so it is safe
beside threads. The kernel counts the parent's *thread* that forked: start such a child in one that lives as long as
the child shall, such as an event loop's. Linux only; elsewhere the program runs as it is.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""

ORPHAN_STATUS = 1
"""With which it ends where its parent had ended before the kernel knew of the wish."""


def bound(command: Sequence[str]) -> list[str]:
    """Return the command that runs `command`, program and arguments, until this process ends."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def become(parent: int, command: Sequence[str]) -> None:
    """Turn this process into `command`, bound to `parent`; returns only where that one has ended already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() == parent:
        os.execv(command[0], list(command))


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
    sys.exit(ORPHAN_STATUS)
