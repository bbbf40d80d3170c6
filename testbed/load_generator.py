"""Plays a demand through the gateways as clients would, and measures from their side.

Open loop: each request is sent when it is due, whatever became of those before. A connection that breaks before any
byte of the answer is tried once more at another site; after the first byte a loss is a failure.

As a process: `python -m testbed.load_generator --config FILE --scenario NAME --load L --seed S --log FILE`; it prints
its progress as JSON lines, and ends after `--duration` or on SIGTERM, either way with the grace.
"""

import argparse
import asyncio
import itertools
import json
import math
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import aiohttp
import uvloop
import yaml

from fairlead.adapters.clock import ScaledClock
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import InputError
from fairlead.contracts.ports import Clock
from fairlead.contracts.settings import Settings
from fairlead.twin.clusters import cluster, default_ports
from fairlead.twin.demand import Demand, Shape, draw, until
from fairlead.twin.scenarios import scenario
from testbed import azure
from testbed.client_log import ClientLog, ClientRecord, End
from testbed.openai_calls import Call, call, fault

SENDS_MOST = 2
"""A request whose client has seen no byte is sent again once (DESIGN §3)."""

CONNECT_TIMEOUT_S = 3.0
"""Wall seconds to reach a gateway on the same machine before the next site is tried; ours."""

ANSWER_MARGIN_S = 30.0
"""Wall seconds on top of what gateways may hold a request, for its service; ours."""

PROGRESS_EVERY_S = 1.0
"""Wall seconds between two lines of progress; ours."""

TICK_S = 0.001
"""Wall seconds of the shortest sleep: an event loop's timers have a millisecond, below it turns in circles."""

RETRY_AFTER_S = 1.0
"""Wall seconds before the same site is tried again where there is no other: a supervisor's time to restart it; ours."""

NO_BYTE = "connection-lost"
"""The connection broke, or was never there, before any byte of the answer."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a load generator is given."""

    cluster: Cluster
    clock: Clock
    log: Path
    run: str
    """Begins every request's id: must differ between runs whose gateways share a log."""
    start_at_s: float
    """Domain instant at which the demand's second 0 falls."""
    grace_s: float
    """Wall seconds after the last send in which answers still count; then what runs is `open`."""
    answer_timeout_s: float
    """Wall seconds for one answer; above the gateways' own hold timeout."""
    token: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """Counters of a run so far."""

    sent: int
    finished: int
    failed: int
    open: int
    resent: int
    """Sent again because the first connection broke before any byte."""
    latency_sum_s: float
    """Over the finished ones, domain seconds."""
    late_most_s: float
    """Most that a request was sent after it was due, domain seconds: the generator's own fault."""
    late_mean_s: float


class LoadGenerator:
    """One run of a demand."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._models = {model.id: model for model in setup.cluster.models}
        self._order = tuple(site.id for site in setup.cluster.sites)
        self._urls = {site.id: site.url for site in setup.cluster.sites}
        self._running: set[asyncio.Task[None]] = set()
        self._sending: asyncio.Task[None] | None = None
        self._records: dict[str, ClientRecord] = {}
        self._ends: dict[End, int] = {"finished": 0, "failed": 0, "open": 0}
        self._resent = 0
        self._latency_sum_s = self._late_sum_s = self._late_most_s = 0.0

    async def play(self, demand: Iterable[Demand]) -> tuple[ClientRecord, ...]:
        """Send all of `demand`, wait out the grace, and return what became of each request, in order of sending."""
        log = ClientLog(self._setup.log)
        try:
            async with self._session() as session:
                self._sending = asyncio.create_task(self._send(demand, session, log))
                try:
                    await asyncio.wait((self._sending,))
                    await self._wait_out()
                finally:
                    await self._leave()
        finally:
            log.close()
        if not self._sending.cancelled():
            self._sending.result()
        return self.records()

    def stop(self) -> None:
        """Send no more; `play` returns after the grace."""
        if self._sending is not None:
            self._sending.cancel()

    def records(self) -> tuple[ClientRecord, ...]:
        """Return all requests sent so far."""
        return tuple(self._records.values())

    def progress(self) -> Progress:
        """Return the counters now."""
        sent, ended = len(self._records), sum(self._ends.values())
        return Progress(
            sent=sent,
            finished=self._ends["finished"],
            failed=self._ends["failed"],
            open=sent - ended + self._ends["open"],
            resent=self._resent,
            latency_sum_s=self._latency_sum_s,
            late_most_s=self._late_most_s,
            late_mean_s=self._late_sum_s / sent if sent else 0.0,
        )

    def _session(self) -> aiohttp.ClientSession:
        headers = {"content-type": "application/json"}
        if self._setup.token is not None:
            headers["authorization"] = f"Bearer {self._setup.token}"
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=self._setup.answer_timeout_s, sock_connect=CONNECT_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            skip_auto_headers=("user-agent", "accept", "accept-encoding"),
            auto_decompress=False,
        )

    async def _send(self, demand: Iterable[Demand], session: aiohttp.ClientSession, log: ClientLog) -> None:
        clock, start_s = self._setup.clock, self._setup.start_at_s
        for number, one in zip(itertools.count(1), demand):
            due_s = start_s + one.at_s
            await asyncio.sleep(0)
            while (left_s := due_s - clock.now_s()) > 0:
                await clock.sleep_for(max(left_s, TICK_S * clock.speed))
            asked = call(self._models[one.model], one, number)
            record = self._sent(f"{self._setup.run}-{number:06d}", one, due_s)
            log.sent(record, one)
            task = asyncio.create_task(self._request(record, asked, session, log))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _sent(self, name: str, one: Demand, due_s: float) -> ClientRecord:
        now_s = self._setup.clock.now_s()
        late_s = now_s - due_s
        self._late_sum_s += late_s
        self._late_most_s = max(self._late_most_s, late_s)
        record = ClientRecord(
            id=name,
            model=one.model,
            site=one.site,
            due_at_s=due_s,
            sent_at_s=now_s,
            first_byte_at_s=None,
            ended_at_s=None,
            end=None,
            reason="",
            sends=0,
        )
        self._records[name] = record
        return record

    async def _request(self, record: ClientRecord, asked: Call, session: aiohttp.ClientSession, log: ClientLog) -> None:
        attempt = _Attempt(asked, record.id, session, self._setup.clock)
        end: End = "open"
        reason, sends = NO_BYTE, 0
        try:
            while reason == NO_BYTE and sends < SENDS_MOST:
                sends += 1
                reason = await attempt.run(self._urls[await self._site(record.site, sends)])
            end = "failed" if reason else "finished"
        except asyncio.CancelledError:
            reason = "left"
        self._ended(
            replace(
                record,
                first_byte_at_s=attempt.first_byte_at_s,
                ended_at_s=self._setup.clock.now_s(),
                end=end,
                reason=reason,
                sends=sends,
            ),
            log,
        )

    async def _site(self, first: str, sends: int) -> str:
        """Return where to send: first where the client is, then at the next site in order."""
        if sends == 1:
            return first
        self._resent += 1
        if len(self._order) == 1:
            await asyncio.sleep(RETRY_AFTER_S)
        return self._order[(self._order.index(first) + sends - 1) % len(self._order)]

    def _ended(self, record: ClientRecord, log: ClientLog) -> None:
        assert record.end is not None
        assert record.ended_at_s is not None
        self._records[record.id] = record
        self._ends[record.end] += 1
        if record.end == "finished":
            self._latency_sum_s += record.ended_at_s - record.sent_at_s
        log.ended(record)

    async def _wait_out(self) -> None:
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=self._setup.grace_s)

    async def _leave(self) -> None:
        tasks = (*self._running, *((self._sending,) if self._sending is not None else ()))
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


class _Attempt:
    """Sends one request, over and over if need be, and checks what comes."""

    def __init__(self, asked: Call, name: str, session: aiohttp.ClientSession, clock: Clock) -> None:
        self._asked = asked
        self._headers = {"x-request-id": name}
        self._session = session
        self._clock = clock
        self.first_byte_at_s: float | None = None

    async def run(self, url: str) -> str:
        """Return what is wrong with the answer, empty if nothing is."""
        try:
            async with self._session.post(
                url + self._asked.path, data=self._asked.body, headers=self._headers, allow_redirects=False
            ) as response:
                self.first_byte_at_s = self._clock.now_s()
                body = await response.read()
        except aiohttp.ServerTimeoutError:
            return NO_BYTE
        except TimeoutError:
            return "answer-timeout"
        except (aiohttp.ClientError, OSError):
            return NO_BYTE if self.first_byte_at_s is None else "answer-broken"
        return fault(self._asked, response.status, body)


def answer_timeout_s(settings: Settings) -> float:
    """Return the wall seconds after which a client gives up: twice what a gateway may hold a request, and a margin."""
    return 2 * settings.controller.hold_timeout_s / settings.speed + ANSWER_MARGIN_S


def requests(options: argparse.Namespace, shape: Cluster, until_s: float) -> tuple[Iterator[Demand], list[str]]:
    """Return the demand that the options name, up to `until_s` domain seconds, and how a trace was mixed into it."""
    chosen = scenario(options.scenario)
    if options.trace is not None:
        mixed = azure.mix(Path(options.trace), chosen, shape, options.load, options.seed)
        return until(mixed.requests, until_s), [json.dumps({"share": asdict(one)}) for one in mixed.shares]
    spans = chosen.spans(shape, options.load, options.seed)
    return until(draw(spans, shape, options.seed, Shape(work=chosen.work)), until_s), []


def read_settings(path: Path) -> Settings:
    """Return what a settings file says, without the environment."""
    return Settings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


async def run(options: argparse.Namespace) -> None:
    """Play what the options name against the cluster of the settings file, printing progress as JSON lines."""
    settings = read_settings(Path(options.config))
    scenario(options.scenario).check_speed(settings.speed)
    named = settings.cluster
    shape = named if isinstance(named, Cluster) else cluster(named, default_ports(named))
    clock = ScaledClock(settings.speed, settings.clock_origin_s)
    demand, notes = requests(options, shape, options.duration * settings.speed)
    for note in notes:
        print(note, flush=True)
    setup = Setup(
        cluster=shape,
        clock=clock,
        log=Path(options.log),
        run=options.run or f"s{options.seed}-{round(clock.now_s())}",
        start_at_s=await _start_at_s(options.start_at, clock),
        grace_s=options.grace,
        answer_timeout_s=answer_timeout_s(settings),
        token=os.environ.get("FAIRLEAD_TOKEN"),
    )
    generator = LoadGenerator(setup)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, generator.stop)
    ticker = asyncio.create_task(_tell(generator))
    await generator.play(demand)
    ticker.cancel()
    print(json.dumps({"progress": asdict(generator.progress()), "done": True}), flush=True)


async def _start_at_s(option: str | None, clock: Clock) -> float:
    """Return the domain instant of the demand's second 0: now, the one given, or the one to be told when all is ready.

    Raises `InputError` where no instant is told.
    """
    if option is None:
        return clock.now_s()
    told = option
    if option == "-":
        print(json.dumps({"prepared": True}), flush=True)
        told = (await asyncio.to_thread(sys.stdin.readline)).strip()
    try:
        return float(told)
    except ValueError as error:
        raise InputError(f"--start-at: {told[:40]!r} is no domain instant, in seconds since the Unix epoch") from error


async def _tell(generator: LoadGenerator) -> None:
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        print(json.dumps({"progress": asdict(generator.progress()), "done": False}), flush=True)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m testbed.load_generator", description="Play a demand.")
    parser.add_argument("--config", required=True, help="settings file, YAML")
    parser.add_argument("--scenario", required=True)
    parser.add_argument("--load", type=float, required=True, help="offered work over total speed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--duration", type=float, default=math.inf, help="wall seconds of sending; without: until SIGTERM"
    )
    parser.add_argument("--grace", type=float, default=5.0, help="wall seconds in which answers still count")
    parser.add_argument("--log", required=True, help="file that gets two JSON lines per request")
    parser.add_argument(
        "--start-at", help="domain instant of the demand's second 0; - waits for it on standard input; without: now"
    )
    parser.add_argument("--run", help="what request ids begin with")
    parser.add_argument("--trace", help="Azure 2023 CSV file, or the directory of both")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
