"""A `fairlead up` of a test's own: started, asked, ended, and looked after for what it leaves behind."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import psutil

from tests.acceptance.case import ROOT, Broken, hold

FAIRLEAD = (sys.executable, "-m", "fairlead_cli")
MARK = "ACCEPTANCE_MARK"
LATE_SHARE = 0.02
"""Of slots that `--speed` has made a second or so long, that many may be late: a shared machine stalls for as long."""
COMPRESSED = 5.0
"""From this speed on slots are that short."""
START_S = 60.0
"""Wall seconds that a start may take before a case gives up; how long it should take is a case of its own."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body's JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str
    took_s: float


class Up:
    """A running system in a folder of its own."""

    def __init__(
        self, folder: Path, command: Sequence[str], *, cwd: Path = ROOT, more: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.mark = uuid.uuid4().hex
        self.started_s = time.monotonic()
        self._err = (folder / "stderr.log").open("wb")
        self._out = (folder / "stdout.log").open("wb")
        self.ports: set[int] = set()
        self.process = subprocess.Popen(
            command, cwd=cwd, env=self.environ(**more), stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err,
            start_new_session=True,
        )  # fmt: skip

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment in which this system, and commands about it, run."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAIRLEAD_", "OPENAI_"))}
        own = {MARK: self.mark, "XDG_STATE_HOME": str(self.folder / "xdg"), "TMPDIR": str(self.temporary)}
        return kept | own | more

    def pointer(self, limit_s: float = START_S) -> dict[str, Any]:
        """Return what the system left for commands to find it: control URL, token, state directory, sites."""
        files = until(lambda: list((self.folder / "xdg" / "fairlead").glob("up-*.json")), "the system said where it is",
                      limit_s, self.alive)  # fmt: skip
        found: dict[str, Any] = json.loads(files[0].read_text("utf-8"))
        return found

    def alive(self) -> None:
        """Raise `Broken` if the command has ended."""
        if self.process.poll() is not None:
            raise Broken(f"it ended with status {self.process.returncode}: {self.said()[-600:]}")

    def said(self) -> str:
        """Return its standard error so far."""
        return (self.folder / "stderr.log").read_text("utf-8", "replace")

    def call(self, method: str, path: str, document: Any = None, *, token: str | None = None, raw: bytes | None = None,
             headers: dict[str, str] | None = None) -> Answer:  # fmt: skip
        """Ask the control API, as admin unless another token is given."""
        where = self.pointer()
        shown = {"Authorization": f"Bearer {where['token'] if token is None else token}", **(headers or {})}
        body = raw if raw is not None else None if document is None else json.dumps(document).encode()
        return ask(method, f"{where['control_url']}/api/v1/{path}", body, shown)

    def prompt(self, model: str, *, site: int = 0, timeout_s: float = 60.0, **more: Any) -> Answer:
        """Ask a site for a chat completion."""
        body = {"model": model, "messages": [{"role": "user", "content": "Where does the ferry go?"}], **more}
        url = f"{self.pointer()['sites'][site]}/v1/chat/completions"
        return ask("POST", url, json.dumps(body).encode(), {}, timeout_s=timeout_s)

    def works(self, model: str = "small-text", limit_s: float = START_S) -> float:
        """Return once a prompt was answered in full, with the wall seconds since the start."""

        def answered() -> bool:
            answer = self.prompt(model)
            if answer.status != 200:
                raise ValueError(f"status {answer.status}: {answer.body[:200]!r}")
            return bool(answer.json()["choices"][0]["message"]["content"])

        try:
            self.pointer(limit_s)
            until(answered, "a prompt was answered", limit_s, self.alive)
        except Broken as error:
            raise Broken(f"{error}; it said: {self.said()[-600:]}") from error
        took_s = time.monotonic() - self.started_s
        self.note_ports()
        return took_s

    def processes(self) -> tuple[psutil.Process, ...]:
        """Return every living process of this system."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return tuple(found)

    def named(self) -> dict[str, int]:
        """Return the supervised processes, pid by name, as `processes.json` in the state directory has them."""
        document = json.loads((Path(self.pointer()["state_dir"]) / "processes.json").read_text("utf-8"))
        return {row["name"]: row["pid"] for row in document["processes"]}

    def note_ports(self) -> None:
        """Remember the ports that the system listens on now."""
        for process in self.processes():
            try:
                self.ports |= {c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
            except psutil.Error:
                continue

    def finished(self) -> int:
        """Return how many requests the gateways have finished so far."""
        folder = Path(self.pointer()["state_dir"]) / "outcomes"
        return sum(path.read_bytes().count(b'"status":"finished"') for path in folder.glob("*.jsonl"))

    def end(self, number: signal.Signals = signal.SIGINT, limit_s: float = 30.0) -> Ended:
        """Ask it to end if it has not, and return how it did."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(limit_s)

    def wait(self, limit_s: float) -> Ended:
        """Return how it ended by itself; raises `Broken` if it does not within `limit_s` wall seconds."""
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise Broken(f"it still ran after {limit_s:.0f} s: {self.said()[-600:]}") from None
        out = (self.folder / "stdout.log").read_text("utf-8", "replace")
        return Ended(status, out, self.said(), time.monotonic() - self.started_s)

    def left(self) -> str:
        """Return what an ended system left behind, in words; empty if nothing."""
        said = [f"process {p.pid} {' '.join(p.cmdline())[:80]}" for p in self.processes()]
        said += [f"port {port} in use" for port in sorted(self.ports) if not _free(port) and not self._others(port)]
        said += [f"temporary {path}" for path in sorted(self.temporary.rglob("*"))[:5]]
        said += [f"pointer {path.name}" for path in (self.folder / "xdg").rglob("up-*.json")]
        return ", ".join(said)

    def _others(self, port: int) -> bool:
        """Return whether a process that is not of this system has taken the port since."""
        pids = {c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.pid}
        return bool(pids) and not pids & {p.pid for p in self.processes()}

    def close(self) -> None:
        """End whatever of it is still there, however it stands."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for process in self.processes():
            process.kill()
        self._err.close()
        self._out.close()


@contextmanager
def up(
    *options: str, command: Sequence[str] | None = None, cwd: Path = ROOT, keep: bool = True, **environ: str
) -> Iterator[Up]:
    """Run `fairlead up` with `options` (or `command`) while the context lasts; `keep` gives it a state directory."""
    folder = Path(tempfile.mkdtemp(prefix="fairlead-acceptance-"))
    kept = ("--state-dir", str(folder / "state")) if keep else ()
    system = Up(folder, command or (*FAIRLEAD, "up", *options, *kept), cwd=cwd, more=environ)
    try:
        yield system
    finally:
        system.close()
        shutil.rmtree(folder, ignore_errors=True)


def run(*arguments: str, environ: dict[str, str] | None = None, cwd: Path = ROOT, limit_s: float = 120.0) -> Ended:
    """Return how the command `fairlead` ends with `arguments`."""
    begun_s = time.monotonic()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAIRLEAD_", "OPENAI_"))}
    done = subprocess.run(
        [*FAIRLEAD, *arguments], cwd=cwd, env=kept if environ is None else environ, capture_output=True, text=True,
        timeout=limit_s, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - begun_s)


def ask(method: str, url: str, body: bytes | None, headers: dict[str, str], *, timeout_s: float = 20.0) -> Answer:
    """Return what a server on this machine says; raises `OSError` where it does not answer."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    if body is not None and "Content-Type" not in headers:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


def announce(url: str, length: int, headers: dict[str, str]) -> Answer:
    """Return what a server says to a POST whose headers announce a body of `length` bytes, before any of it is sent.

    A client that sends it all the same may find the connection closed before it has read the refusal.
    """
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.putrequest("POST", parts.path)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(length), **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def until(
    look: Callable[[], Found], what: str, limit_s: float, check: Callable[[], None] | None = None, every_s: float = 0.05
) -> Found:
    """Return what `look` gives once that is true; raises `Broken` after `limit_s` wall seconds without.

    A server that does not answer yet counts as not true yet; `check` may raise to end the wait.
    """
    end_s = time.monotonic() + limit_s
    last = "nothing"
    while time.monotonic() < end_s:
        if check is not None:
            check()
        try:
            if found := look():
                return found
            last = "not yet"
        except (OSError, ValueError, KeyError, IndexError) as error:
            last = f"{type(error).__name__}: {error}"
        time.sleep(every_s)
    raise Broken(f"not within {limit_s:.0f} s: {what} (last: {last[:300]})")


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def expect(ended: Ended, status: int, *words: str) -> None:
    """Raise `Broken` unless a command ended with `status` and said all `words` on standard error, in a few lines."""
    hold(ended.status == status, f"exit status {ended.status}, not {status}: {ended.err[-400:]}")
    for word in words:
        hold(word in ended.err, f"no {word!r} in what it said: {ended.err[-400:]}")
    hold("Traceback" not in ended.err, f"a traceback: {ended.err[-600:]}")


def punctual(report: Mapping[str, Any]) -> None:
    """Hold that no slot of a run was late; of compressed slots one may be, and `LATE_SHARE` of many."""
    slots = report["slots"]
    allowed = max(1, int(LATE_SHARE * slots["total"])) if report["speed"] > COMPRESSED else 0
    hold(slots["late"] <= allowed, f"late slots: {slots}, {allowed} may be at speed {report['speed']:g}")
