"""Children that end with their parent."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fairlead.adapters.bound_child import ORPHAN_STATUS, bound
from fairlead.adapters.process_table import is_alive, start_ticks
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")

EMBEDDED = """
import asyncio, sys
from fairlead.adapters.mongod import embedded

async def hold():
    async with embedded(sys.argv[1]) as child:
        print(child.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(hold())
"""

THREADED = """
import subprocess, sys, threading, time
from fairlead.adapters.bound_child import bound

threading.Thread(target=time.sleep, args=(600,)).start()
print(subprocess.Popen(bound(["/bin/sleep", "600"])).pid, flush=True)
time.sleep(600)
"""


async def orphaned(program: str, *arguments: str) -> tuple[int, int]:
    """Run a program that prints its child's pid, kill it, and return pid and start of that child."""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, *arguments), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    async with asyncio.timeout(60.0):
        child = int(await parent.stdout.readline())
    ticks = start_ticks(child)
    assert ticks is not None
    assert is_alive(child, ticks)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    return child, ticks


@pytest.mark.parametrize("program", [EMBEDDED, THREADED])
async def test_a_child_ends_when_its_parent_is_killed(program: str, tmp_path: Path) -> None:
    """The embedded database, and any other program of a process with threads: nothing stays behind."""
    child, ticks = await orphaned(program, str(tmp_path))

    async def gone() -> bool:
        return not is_alive(child, ticks)

    await until(gone)


def test_the_program_takes_the_child_s_place() -> None:
    """Pid, arguments and status are its own."""
    command = ["/bin/sh", "-c", 'echo $$ "$1"; exit 7', "sh", "two words"]
    child = subprocess.Popen(bound(command), stdout=subprocess.PIPE, text=True)
    out, _ = child.communicate(timeout=20)
    assert (out.split(maxsplit=1), child.returncode) == ([str(child.pid), "two words\n"], 7)


def test_a_parent_that_has_ended_already_is_noticed() -> None:
    """Between fork and the wish to be told: the program is not even begun."""
    command = bound(["/bin/echo", "begun"])
    command[command.index(str(os.getpid()))] = "1"
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (ORPHAN_STATUS, "", "")
