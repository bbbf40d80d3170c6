"""Processes of this machine as the local cluster needs them: bound to their parent's life, found, ended."""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping

import psutil

MARK = "FAIRLEAD_RUN"
"""Environment variable that every process of a run carries, so that none can be left behind."""

OPENAI = "OPENAI_"
WITHHELD = ("FAIRLEAD_", OPENAI)
"""Beginnings of the names of environment variables that a child is not given unless it needs them."""

GONE_S = 20.0
"""Wall seconds that the kernel may take to end a killed process, which may be writing to a slow disk."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
"""Numbers of prctl(2), from linux/prctl.h."""


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent dies, instead of the machine's init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def dies_with_parent() -> Callable[[], None]:
    """Return what a child must call before its program starts, so that the kernel kills it when this process dies."""
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True)

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return bind


def descendants(but: frozenset[psutil.Process] = frozenset()) -> tuple[psutil.Process, ...]:
    """Return all processes below this one, those in `but` and what is below them left out."""
    found: list[psutil.Process] = []
    parents = [psutil.Process()]
    for parent in parents:
        with contextlib.suppress(psutil.Error):
            children = [one for one in parent.children() if one not in but]
            found += children
            parents += children
    return tuple(found)


def marked(mark: str) -> tuple[psutil.Process, ...]:
    """Return all processes of this user whose environment carries the mark of a run, but for this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue
    return tuple(found)


def end(processes: Iterable[psutil.Process], *, grace_s: float) -> int:
    """Ask processes to end, kill those that have not after `grace_s` wall seconds; return how many were killed."""
    present = list(processes)
    for process in present:
        _signal(process, signal.SIGTERM)
    left = _remaining(present, grace_s)
    for process in left:
        _signal(process, signal.SIGKILL)
    _remaining(left, GONE_S)
    return len(left)


def _remaining(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Return which processes have not ended after `timeout_s` wall seconds; a zombie has, whoever will reap it."""
    until_s = time.monotonic() + timeout_s
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < until_s:
        time.sleep(0.02)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return


def clean_environment(environ: Mapping[str, str], mark: str, secret: Iterable[str] = ()) -> dict[str, str]:
    """Return the environment for a child: without settings of ours, which its file holds in full, with the mark.

    What speaks of a language model's server is left out, and so are the variables named `secret`.
    """
    out = set(secret)
    kept = {name: value for name, value in environ.items() if not name.startswith(WITHHELD) and name not in out}
    return kept | {MARK: mark, "PYTHONUNBUFFERED": "1"}


def llm_environment(environ: Mapping[str, str], secret: Iterable[str]) -> dict[str, str]:
    """Return what of an environment only those who ask a language model are given: OPENAI_* and the `secret` ones."""
    named = set(secret)
    return {name: value for name, value in environ.items() if name.startswith(OPENAI) or name in named}


def wait_gone(mark: str, *, timeout_s: float) -> bool:
    """Return whether no process of a run is left, looking until `timeout_s` wall seconds have passed."""
    until_s = time.monotonic() + timeout_s
    while marked(mark):
        if time.monotonic() > until_s:
            return False
        time.sleep(0.05)
    return True


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")
