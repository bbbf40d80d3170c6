"""Children are restarted when they die, ended in order, and nothing is left of them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from testbed import processes
from testbed.supervise import Program, Supervisor
from tests.waiting import until

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
)
WITH_ORPHAN = (
    sys.executable,
    "-c",
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    " start_new_session=True); print('up', flush=True); time.sleep(600)",
)


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    """Yield a supervisor whose children are all gone afterwards."""
    processes.adopt_orphans()
    before = frozenset(processes.descendants())
    told: list[str] = []
    one = Supervisor(tmp_path, processes.clean_environment(os.environ, f"test-{os.getpid()}"), told.append)
    yield one
    await one.close(grace_s=1.0)
    assert not [p for p in processes.descendants(before) if p.status() != psutil.STATUS_ZOMBIE]


async def test_a_killed_child_is_started_again_at_once(supervisor: Supervisor, tmp_path: Path) -> None:
    """SIGKILL for a child brings a new one with another pid, and the list of processes says so."""
    first = supervisor.start(Program("sleeper", SLEEPER)).pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.running().get("sleeper") not in (None, first))
    listed = json.loads((tmp_path / "processes.json").read_text())
    assert listed["processes"] == [{"name": "sleeper", "pid": supervisor.running()["sleeper"]}]
    assert supervisor.restarted == 1


async def test_a_child_that_cannot_run_is_restarted_ever_more_slowly(supervisor: Supervisor) -> None:
    """Deaths in a row are counted and the log's tail says why."""
    supervisor.start(Program("broken", (sys.executable, "-c", "raise SystemExit('no such thing')")))
    await until(lambda: dict(supervisor.deaths()).get("broken", 0) >= 3)
    assert "no such thing" in supervisor.tail("broken")


async def test_a_child_whose_work_is_done_is_not_restarted(supervisor: Supervisor) -> None:
    """A program that ends by itself stays ended, with its status."""
    child = supervisor.start(Program("done", (sys.executable, "-c", "raise SystemExit(3)"), restart=False))
    await asyncio.wait_for(child.ended.wait(), 10)
    assert child.status == 3
    assert "done" not in supervisor.running()


async def test_a_stubborn_child_is_killed_after_the_grace(supervisor: Supervisor) -> None:
    """SIGTERM first, SIGKILL for those that ignore it; a child that was asked to end is not restarted."""
    stubborn = supervisor.start(Program("stubborn", STUBBORN))
    supervisor.start(Program("sleeper", SLEEPER))
    await until(lambda: "up" in supervisor.tail("stubborn"))
    assert await supervisor.stop(["stubborn", "sleeper"], grace_s=0.3) == ("stubborn",)
    assert stubborn.status == -signal.SIGKILL
    assert supervisor.running() == {}


async def test_orphans_of_a_killed_child_end_with_the_run(supervisor: Supervisor) -> None:
    """What a dead child leaves behind comes to us and is ended too (checked where the fixture ends)."""
    before = frozenset(processes.descendants())
    child = supervisor.start(Program("parent", WITH_ORPHAN, restart=False))
    await until(lambda: "up" in supervisor.tail("parent"))
    os.kill(child.pid, signal.SIGKILL)
    await asyncio.wait_for(child.ended.wait(), 10)
    assert len(processes.descendants(before)) == 1


def test_the_sweeper_ends_what_a_killed_run_leaves(tmp_path: Path) -> None:
    """When the pipe of its standard input closes, every process with the run's mark ends and the directory goes."""
    mark = f"sweep-{os.getpid()}"
    environ = processes.clean_environment(os.environ, mark)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    left = subprocess.Popen(SLEEPER, env=environ)
    sweeper = subprocess.Popen(
        [sys.executable, "-m", "testbed.sweeper", "--mark", mark, "--remove", str(scratch)],
        stdin=subprocess.PIPE,
        env=environ,
    )
    assert left.poll() is None
    assert sweeper.stdin is not None
    sweeper.stdin.close()
    assert sweeper.wait(10) == 0
    assert left.wait(10) == -signal.SIGTERM
    assert not scratch.exists()


async def test_what_ran_before_is_left_alone(tmp_path: Path) -> None:
    """A process that somebody else of this one started goes on, and what it starts too."""
    other = await asyncio.create_subprocess_exec(*WITH_ORPHAN, stdout=asyncio.subprocess.PIPE)
    assert other.stdout is not None
    assert await other.stdout.readline() == b"up\n"
    (orphan,) = psutil.Process(other.pid).children()
    one = Supervisor(tmp_path, processes.clean_environment(os.environ, f"test-{os.getpid()}"), lambda text: None)
    one.start(Program("sleeper", SLEEPER))
    await one.close(grace_s=1.0)
    assert psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE
    assert orphan.is_running()
    orphan.kill()
    other.kill()
    await other.communicate()
