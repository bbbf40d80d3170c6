"""Clients of a case's own: single requests of any length, streams that are watched, a steady trickle."""

import http.client
import itertools
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.case import hold
from tests.acceptance.live import Up, ask

LIMIT_S = 90.0
"""Wall seconds for an answer: longer than requests are held at speed 8."""

PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a request."""

    id: str
    status: int
    """0 where the connection broke."""
    node: str
    """Who served it, as the gateway says."""
    began_s: float
    ended_s: float
    """Monotonic wall time."""
    whole: bool
    """The answer came to its proper end."""


def call_of(model: str, work_s: float | None = None, *, stream: bool = False) -> dict[str, Any]:
    """Return a chat's body; `work_s` of a node of speed 1 in place of the model's mean."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Where does the ferry go?"}]}
    if work_s is not None:
        body["metadata"] = {"work_s": str(work_s)}
    return {**body, "stream": True} if stream else body


def answered(site: str, name: str, body: dict[str, Any]) -> Answered:
    """Ask a site and wait for the whole answer."""
    began_s = time.monotonic()
    try:
        said = ask("POST", f"{site}{PATH}", json.dumps(body).encode(), {"x-request-id": name}, timeout_s=LIMIT_S)
    except (OSError, http.client.HTTPException):
        return Answered(name, 0, "", began_s, time.monotonic(), whole=False)
    node = said.headers.get("x-fairlead-node", "")
    return Answered(name, said.status, node, began_s, time.monotonic(), whole=said.status == 200)


def all_whole(found: Sequence[Answered], what: str) -> None:
    """Hold that every request was answered in full."""
    broken = [one for one in found if one.status != 200 or not one.whole]
    hold(not broken, f"{what}: {len(broken)} of {len(found)} requests without a whole answer: {broken[:3]}")


@dataclass(slots=True)
class Stream:
    """An answer that is read while it comes."""

    node: str
    """Who serves it."""
    ending: "Future[Answered]"


def streamed(pool: ThreadPoolExecutor, site: str, name: str, body: dict[str, Any]) -> Stream:
    """Ask for a stream and return once its first bytes have come; the rest is read in the pool."""
    parts, began_s = urllib.parse.urlsplit(site), time.monotonic()
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LIMIT_S)
    headers = {"Content-Type": "application/json", "x-request-id": name}
    connection.request("POST", PATH, json.dumps(body).encode(), headers)
    answer = connection.getresponse()
    node, status, first = answer.getheader("x-fairlead-node") or "", answer.status, answer.read1(1)

    def rest() -> Answered:
        try:
            said = first + answer.read()
        except (OSError, http.client.HTTPException):
            said = b""
        finally:
            connection.close()
        whole = said.rstrip().endswith(b"data: [DONE]")
        return Answered(name, status, node, began_s, time.monotonic(), whole=whole)

    return Stream(node, pool.submit(rest))


@dataclass(slots=True)
class Clients:
    """Threads that ask, and what the trickle among them has got so far."""

    sites: tuple[str, ...]
    pool: ThreadPoolExecutor
    trickled: list[Answered] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _over: threading.Event = field(default_factory=threading.Event)

    def ask(self, bodies: Sequence[dict[str, Any]]) -> "list[Future[Answered]]":
        """Ask for all of these at once, one site after the other in turn."""
        return [self.pool.submit(answered, *self._next(), body) for body in bodies]

    def stream(self, body: dict[str, Any]) -> Stream:
        """Ask for a stream."""
        return streamed(self.pool, *self._next(), body)

    def trickle(self, model: str, pause_s: float) -> None:
        """Ask for a model's mean work over and over, until the clients leave."""
        while not self._over.is_set():
            self.trickled.append(answered(*self._next(), call_of(model)))
            self._over.wait(pause_s)

    def leave(self) -> None:
        """End the trickle once its requests have ended."""
        self._over.set()

    def _next(self) -> tuple[str, str]:
        number = next(self._numbers)
        return self.sites[number % len(self.sites)], f"tests-{number}"


@contextmanager
def clients(system: Up, threads: int = 24) -> Iterator[Clients]:
    """Give clients of a running system."""
    with ThreadPoolExecutor(threads) as pool:
        one = Clients(tuple(system.pointer()["sites"]), pool)
        try:
            yield one
        finally:
            one.leave()
