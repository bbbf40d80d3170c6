"""The scripted server as a process of a case's own, and the journal of a run that has ended, opened again."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fairlead.adapters import mongod
from fairlead.contracts.decisions import DecisionRecord
from testbed.scripted_join import read_log
from testbed.scripted_llm import Line
from tests.acceptance.case import ROOT, hold
from tests.acceptance.live import FAIRLEAD, Ended, Up, ask, free_port, punctual, run, until

START_S = 30.0

COMPILE_S = 900.0
"""Wall seconds that compiling may take on a machine that does much else: it takes 65 s of a processor."""


class ScriptedServer:
    """`python -m testbed.scripted_llm` with a log, on a port that stays the same over its deaths."""

    def __init__(self, folder: Path, mix: str, seed: int, slot_s: float) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.log = folder / "asks.jsonl"
        words = ("--port", str(self.port), "--seed", str(seed), "--mix", mix, "--slot", str(slot_s))
        self._command = (sys.executable, "-m", "testbed.scripted_llm", *words, "--log", str(self.log))
        self.process = self._started()

    def _started(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(self._command, cwd=ROOT, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        until(lambda: ask("GET", f"{self.url}/models", None, {}).status == 200, "the scripted server answers", START_S)
        return process

    def kill(self) -> None:
        """Kill it: connections are refused from now on."""
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        """Start it again after it was killed."""
        self.process = self._started()

    def hang(self) -> None:
        """Stop it in its tracks: connections are taken, and nothing comes."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> dict[str, list[Line]]:
        """End it and return its log, by question."""
        if self.process.poll() is None:
            self.go_on()
            self.process.terminate()
            try:
                self.process.wait(START_S)
            except subprocess.TimeoutExpired:
                self.kill()
        return read_log(self.log) if self.log.is_file() else {}


@contextmanager
def scripted(mix: str, *, seed: int = 7, slot_s: float = 1.0) -> Iterator[ScriptedServer]:
    """Run the scripted server while the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix="fairlead-scripted-"))
    server = ScriptedServer(folder, mix, seed, slot_s)
    try:
        yield server
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


class Journal:
    """The journal of a run that has ended."""

    def __init__(self, system: Up, url: str) -> None:
        self._system = system
        self._url = url

    def get(self, path: str) -> Any:
        """Return what the control API says."""
        answer = ask("GET", f"{self._url}/api/v1/{path}", None, {})
        hold(answer.status == 200, f"GET {path}: {answer.status} {answer.body[:300]!r}")
        return answer.json()

    def records(self) -> list[DecisionRecord]:
        """Return all decisions in full, oldest first."""
        names, cursor = [], ""
        while True:
            page = self.get(f"decisions?limit=1000{cursor}")
            names += [one["id"] for one in page["items"]]
            if page["cursor"] is None:
                break
            cursor = f"&cursor={urllib.parse.quote(page['cursor'])}"
        return [self._record(name) for name in reversed(names)]

    def _record(self, name: str) -> DecisionRecord:
        where = f"{self._url}/api/v1/decisions/{urllib.parse.quote(name, safe='')}"
        return DecisionRecord.from_json(ask("GET", where, None, {}).body)

    def command(self, *arguments: str, **environ: str) -> Ended:
        """Return how a command about this journal ends."""
        return run(*arguments, environ=self._system.environ(FAIRLEAD_CONTROL_URL=self._url, **environ), limit_s=300)


@contextmanager
def journal(system: Up) -> Iterator[Journal]:
    """Open what an ended run has left in its state directory: its database, and a control API before it."""
    port, control = free_port(), free_port()
    uri = mongod.uri_of(port)
    around = system.environ(
        FAIRLEAD_MONGODB_URI=uri, FAIRLEAD_CONTROL__PORT=str(control), FAIRLEAD_CONTROL__AUTH="false",
        FAIRLEAD_CONTROL__URL=f"http://127.0.0.1:{control}",
    )  # fmt: skip
    commands = (
        tuple(mongod.command(system.state, port)),
        (*FAIRLEAD, "control", "--config", str(system.state / "settings.yaml")),
    )
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            processes.append(
                subprocess.Popen(
                    command, cwd=ROOT, env=around, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )  # fmt: skip
            if len(processes) == 1:
                asyncio.run(mongod.initiate(uri))
        url = f"http://127.0.0.1:{control}"
        until(lambda: ask("GET", f"{url}/readyz", None, {}).status == 200, "the journal can be read", START_S)
        yield Journal(system, url)
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def compiled() -> None:
    """Have the twin's core compiled, as it is on a machine that has run agents before: their proposals pass by it."""
    ended = run("twin", "compile", "--json", limit_s=COMPILE_S)
    hold(ended.status == 0, f"twin compile: exit status {ended.status}: {ended.err[-600:]}")


def report_of(system: Up, duration_s: float | None) -> dict[str, Any]:
    """Return what a run reports at its end, without a duration now; raises `Broken` unless all is well and gone."""
    ended = system.end() if duration_s is None else system.wait(duration_s + 120.0)
    hold(ended.status == 0, f"exit status {ended.status}: {ended.err[-600:]}")
    hold("Traceback" not in ended.err, f"a traceback: {ended.err[-600:]}")
    until(lambda: not system.left(), f"nothing left behind, but {system.left()}", 5)
    report: dict[str, Any] = json.loads(ended.out)
    requests = report["requests"]
    hold(requests["lost"] == 0 and requests["failed"] == 0, f"lost or failed: {requests}, {report['failures']}")
    punctual(report)
    return report


def said(report: dict[str, Any]) -> str:
    """Return a report's figures of its language model in words."""
    llm, source = report["llm"], report["decisions"]["by_source"]
    codes = ", ".join(f"{count} {code}" for code, count in llm["by_code"].items())
    return (
        f"{llm['dialogues']} dialogues, {llm['accepted']} accepted, {llm['asks']} questions ({codes}), decisions by "
        f"llm {source['llm']}, by fallback {source['fallback']}"
    )
