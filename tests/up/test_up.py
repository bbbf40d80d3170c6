"""A short real `fairlead up`: real processes, a real database, real HTTP; looked into, summed up, and gone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fairlead.studies.episodes.files import checked
from fairlead.studies.episodes.recorded import check_recorded

ROOT = Path(__file__).parents[2]


class Up:
    """A `fairlead up` of this test's own, and commands about it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        (folder / "tmp").mkdir()
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("FAIRLEAD_", "OPENAI_"))
        } | {
            "XDG_STATE_HOME": str(folder / "xdg"),
            "TMPDIR": str(folder / "tmp"),
            "PYTHONPATH": str(ROOT),
            "UP_OF": str(folder),
        }
        self._out = (folder / "out").open("wb")
        self._err = (folder / "err").open("wb")
        command = [sys.executable, "-m", "fairlead_cli", "up", *options]
        self.process = subprocess.Popen(
            command, cwd=folder, env=self.environ, stdout=self._out, stderr=self._err, start_new_session=True
        )

    def said(self) -> str:
        """Return its standard error so far."""
        return (self.folder / "err").read_text()

    def printed(self) -> str:
        """Return its standard output so far."""
        return (self.folder / "out").read_text()

    def until(self, holds: Callable[[], bool], within_s: float = 90.0) -> None:
        """Wait for a condition while it runs."""
        end_s = time.monotonic() + within_s
        while not holds():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end_s, self.said()
            time.sleep(0.05)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the same user."""
        return subprocess.run(
            [sys.executable, "-m", "fairlead_cli", *arguments],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def left(self) -> list[str]:
        """Return what is left of it: processes and temporary files."""
        found = [str(path) for path in (self.folder / "tmp").iterdir()]
        for process in psutil.process_iter():
            try:
                if process.environ().get("UP_OF") == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found

    def close(self) -> None:
        """End it, however it stands."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self._out.close()
        self._err.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory of which no process and no temporary file may be left."""
    yield tmp_path
    assert not list((tmp_path / "tmp").iterdir())


def test_a_short_run_shows_itself_and_leaves_nothing(folder: Path) -> None:
    """The whole loop under demand: asked by other commands while it runs, one JSON object at its end by SIGTERM."""
    where = ("--state-dir", "state", "--record", "run.jsonl.gz")
    up = Up(folder, "--speed", "30", "--load", "0.5", "--seed", "7", *where, "--json")
    try:
        up.until(lambda: "ready after" in up.said())
        _look_into(up)
        up.until(lambda: "\n10 s (" in up.said())
        up.process.terminate()
        assert up.process.wait(60) == 0, up.said()
    finally:
        up.close()
    report = json.loads(up.printed())
    assert up.printed().count("\n") == 1
    requests = report["requests"]
    assert requests["arrived"] == sum(requests[fate] for fate in ("finished", "failed", "open", "lost"))
    assert requests["finished"] > 20
    assert requests["lost"] == requests["failed"] == 0
    assert report["decisions"]["by_source"]["fallback"] > 5
    assert report["pods"]["initial"] >= 7
    assert report["slots"]["total"] >= 8
    assert (report["speed"], report["seed"], report["policy"]) == (30.0, 7, "marginal-dpp")
    assert report["latency_s"]["p50"] <= report["latency_s"]["p95"] <= report["latency_s"]["p99"]
    assert all(0.0 <= report["fairness"][name] <= 1.0 for name in ("x1", "x2", "x3", "x4"))
    assert up.left() == []
    assert not list((folder / "xdg").rglob("up-*.json"))
    assert (folder / "state" / "settings.yaml").is_file()
    episode = checked(folder / "run.jsonl.gz")
    assert episode.count("request") == requests["arrived"]
    assert episode.count("answer") == requests["arrived"] - requests["lost"]
    assert episode.header.recorded is not None
    assert (episode.header.recorded.seed, episode.header.recorded.scenario) == (7, report["scenario"])
    tally = check_recorded(folder / "run.jsonl.gz")
    assert tally.holds
    assert tally.replayed >= report["decisions"]["total"]


def _look_into(up: Up) -> None:
    """Use the commands that look into a running system, and one that changes something."""
    listed: dict[str, Any] = json.loads(up.command("decisions", "list", "--json").stdout)
    names = [one["id"] for one in listed["items"]]
    slot = next(name for name in names if name.startswith("slot-"))
    assert slot in up.command("decisions", "show", slot).stdout
    for name in (slot, next(name for name in names if name.startswith("epoch-"))):
        replayed = up.command("decisions", "replay", name)
        assert (replayed.returncode, replayed.stdout) == (0, "identical\n"), replayed.stderr
    assert "plan " in up.command("plan", "show").stdout
    assert "planner" in up.command("mode").stdout
    pinned = up.command("plan", "override", "pin", "node-5", "small-text", "--why", "a test", "--for", "60")
    assert pinned.returncode == 0, pinned.stderr
    assert "small-text" in up.command("plan", "override", "list").stdout
    missing = up.command("decisions", "show", "slot-999999")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)


def _brothers(up: Up) -> list[str]:
    """Return the names of the processes that are supervised now."""
    found = list((up.folder / "tmp").glob("fairlead-*/processes.json"))
    return [row["name"] for row in json.loads(found[0].read_text())["processes"]] if found else []


def test_an_interrupt_while_it_starts_ends_everything(folder: Path) -> None:
    """Ctrl-C before anything is ready: exit 1, nothing on standard output, nothing left."""
    up = Up(folder, "--speed", "30", "--json")
    try:
        up.until(lambda: len(_brothers(up)) >= 10)
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(40) == 1, up.said()
    finally:
        up.close()
    assert up.printed() == ""
    assert up.left() == []


def test_kill_9_of_the_run_itself_leaves_nothing_either(folder: Path) -> None:
    """The kernel kills the children, the sweeper what has none to be killed by, and the temporary directory goes."""
    up = Up(folder, "--speed", "30", "--json")
    try:
        up.until(lambda: len(_brothers(up)) >= 10)
        up.process.kill()
        up.process.wait(10)
        end_s = time.monotonic() + 20.0
        while up.left():
            assert time.monotonic() < end_s, up.left()
            time.sleep(0.1)
    finally:
        up.close()
