"""The machine's process table: identities that outlive the reuse of a pid, the end of processes that are no children.

A pid alone names nobody for long. Pid and start time (field 22 of `/proc/PID/stat`, proc_pid_stat(5), in clock ticks
since boot) name one process until the machine boots again; the boot's own id makes that good, too. Linux only.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

START_FIELD = 22 - 3
"""Position of the start time among the fields behind the command's name, which may itself hold spaces."""

PROCESSOR_FIELDS = (14 - 3, 15 - 3)
"""Of the time in user mode and in the kernel, all threads together, clock ticks."""


def boot_id() -> str:
    """Return the id of the machine's present boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int | None:
    """Return when a process began, in ticks since boot; None if there is no such process. A zombie still counts."""
    fields = _stat(pid)
    return None if fields is None else int(fields[START_FIELD])


def is_alive(pid: int, ticks: int) -> bool:
    """Return whether the process that began at `ticks` still runs; a zombie does not."""
    fields = _stat(pid)
    return fields is not None and int(fields[START_FIELD]) == ticks and fields[0] not in ("Z", "X")


def processor_s(pid: int) -> float | None:
    """Return the seconds of processors that a process has taken; None if there is no such process."""
    fields = _stat(pid)
    if fields is None:
        return None
    return sum(int(fields[one]) for one in PROCESSOR_FIELDS) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int | None:
    """Return the memory that a process has resident; None if there is no such process."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_pidfd(pid: int, ticks: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends; None if it is not that process any more."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if start_ticks(pid) != ticks:
        os.close(descriptor)
        return None
    return descriptor


def signal_group(pid: int, ticks: int, number: signal.Signals) -> bool:
    """Send a signal to the group that a process leads; False if the process is not that one any more."""
    if start_ticks(pid) != ticks:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)
        return True
    return False


def marked(name: str, value: str) -> Iterator[tuple[int, int]]:
    """Yield pid and start of each process of ours that began with `name=value` in its environment and leads a group."""
    wanted = f"{name}={value}".encode()
    for directory in Path("/proc").iterdir():
        if not directory.name.isdecimal():
            continue
        pid = int(directory.name)
        with contextlib.suppress(OSError):
            if wanted in (directory / "environ").read_bytes().split(b"\0") and os.getpgid(pid) == pid:
                ticks = start_ticks(pid)
                if ticks is not None:
                    yield pid, ticks


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()
