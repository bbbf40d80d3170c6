"""Supervision: children that are started, watched, restarted when they die and ended in order.

One mechanism hears of every end: SIGCHLD, upon which whatever has ended is waited for, also orphans of children,
which come to us because the run's process adopts them.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import psutil

from testbed.processes import descendants, dies_with_parent

FIRST_BACKOFF_S = 0.2
MOST_BACKOFF_S = 5.0
"""Wall seconds between the second and later restarts: a first death is a fault to be mended at once, a row of them
is a process that cannot run, and restarting it would only take the processor from the others."""

STABLE_AFTER_S = 5.0
"""A child that ran so long, wall seconds, has its next death taken for a first one."""

TAIL_LINES = 3
"""Of a dead child's log, in the message about it."""


@dataclass(frozen=True, slots=True)
class Program:
    """What is kept running."""

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    restart: bool = True
    """False for a child that ends by itself when its work is done."""
    stdin: int = subprocess.DEVNULL


@dataclass(slots=True)
class Child:
    """A program that runs, or ran."""

    program: Program
    pid: int
    started_at_s: float
    """Monotonic wall time."""
    deaths: int = 0
    """Unexpected ends in a row."""
    died: int = 0
    """All unexpected ends."""
    status: int | None = None
    """Exit status once it has ended: negative for a signal."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: bool = True
    """False once we have asked it to end."""


class Supervisor:
    """Keeps programs running, as direct children of this process, with their output in `<directory>/logs`.

    Without `to_files` they write where this process does.
    """

    def __init__(
        self, directory: Path, environ: Mapping[str, str], tell: Callable[[str], None], *, to_files: bool = True
    ) -> None:
        self._directory = directory
        self._logs = directory / "logs"
        self._to_files = to_files
        if to_files:
            self._logs.mkdir(parents=True, exist_ok=True)
        self._environ = dict(environ)
        self._tell = tell
        self._children: dict[str, Child] = {}
        self._restarts: set[asyncio.Task[None]] = set()
        self.restarted = 0
        """How many times a child was started again."""
        self._before = frozenset(descendants())
        """What ran below this process already: somebody else's."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(self, program: Program) -> Child:
        """Start a program and keep it running; a program of the same name must not run."""
        before = self._children.get(program.name)
        child = Child(program, self._spawn(program), time.monotonic())
        if before is not None:
            child.deaths, child.died = before.deaths, before.died
        self._children[program.name] = child
        self._record()
        return child

    def deaths(self) -> tuple[tuple[str, int], ...]:
        """Return the names of children that have died and how often, all in all."""
        return tuple((name, child.died) for name, child in self._children.items() if child.died)

    def running(self) -> dict[str, int]:
        """Return the pids of the children that run, by name."""
        return {name: child.pid for name, child in self._children.items() if child.status is None}

    def tail(self, name: str) -> str:
        """Return the last lines of a child's log, on one line."""
        try:
            lines = (self._logs / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return " / ".join(line.strip() for line in lines[-TAIL_LINES:])[-600:]

    async def stop(self, names: Iterable[str], *, grace_s: float) -> tuple[str, ...]:
        """Ask children to end, kill those that have not after `grace_s` wall seconds; return the names of these."""
        asked = [self._children[name] for name in names if name in self._children]
        for child in asked:
            child.wanted = False
            _send(child, signal.SIGTERM)
        await _gone(asked, grace_s)
        left = [child for child in asked if child.status is None]
        for child in left:
            _send(child, signal.SIGKILL)
        await _gone(left, grace_s)
        self._record()
        return tuple(child.program.name for child in left)

    async def close(self, *, grace_s: float) -> None:
        """End everything that is left of what was started here, orphans of children too."""
        for task in self._restarts:
            task.cancel()
        await self.stop(list(self._children), grace_s=grace_s)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in descendants(self._before):
                _send_process(process, number)
            until_s = time.monotonic() + grace_s
            while descendants(self._before) and time.monotonic() < until_s:
                self._reap()
                await asyncio.sleep(0.02)
        self._reap()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
        (self._directory / "processes.json").unlink(missing_ok=True)

    def _spawn(self, program: Program) -> int:
        with self._output(program) as log:
            process = subprocess.Popen(
                program.argv,
                stdin=program.stdin,
                stdout=log,
                stderr=log,
                env=self._environ | dict(program.environ),
                start_new_session=True,
                preexec_fn=dies_with_parent(),
            )
        process.returncode = 0  # its end is ours to wait for, in `_reap`: Popen must not
        return process.pid

    def _output(self, program: Program) -> "contextlib.AbstractContextManager[BinaryIO | None]":
        """Return the file that a program writes to; None for where this process writes."""
        if not self._to_files:
            return contextlib.nullcontext()
        return (self._logs / f"{program.name}.log").open("ab" if program.restart else "wb")

    def _reap(self) -> None:
        by_pid = {child.pid: child for child in self._children.values() if child.status is None}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (child := by_pid.get(pid)) is not None:
                child.status = os.waitstatus_to_exitcode(status)
                child.ended.set()
                if child.wanted and child.program.restart:
                    self._mend(child)

    def _mend(self, child: Child) -> None:
        """Start a child again that has died: at once the first time, later and later if that does not help."""
        stable = time.monotonic() - child.started_at_s > STABLE_AFTER_S
        child.deaths = 1 if stable else child.deaths + 1
        child.died += 1
        wait_s = 0.0 if child.deaths == 1 else min(MOST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (child.deaths - 2))
        self._tell(f"{child.program.name} {how_ended(child.status)}: started again in {wait_s:.1f} s")
        task = asyncio.get_running_loop().create_task(self._restart(child.program, wait_s))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def _restart(self, program: Program, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        if self._children[program.name].wanted:
            self.restarted += 1
            self.start(program)

    def _record(self) -> None:
        """Write the pids for tests and people; `processes.json` is replaced as a whole."""
        file = self._directory / "processes.json"
        rows = [{"name": name, "pid": pid} for name, pid in sorted(self.running().items())]
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps({"pid": os.getpid(), "processes": rows}, indent=1) + "\n", encoding="utf-8")
        partial.replace(file)


def how_ended(status: int | None) -> str:
    """Return an exit status in words."""
    if status is None:
        return "runs"
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


async def _gone(children: Iterable[Child], grace_s: float) -> None:
    waits = [asyncio.ensure_future(child.ended.wait()) for child in children if child.status is None]
    if waits:
        _, late = await asyncio.wait(waits, timeout=grace_s)
        for task in late:
            task.cancel()


def _send(child: Child, number: signal.Signals) -> None:
    if child.status is None:
        try:
            os.kill(child.pid, number)
        except ProcessLookupError:
            return


def _send_process(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return
