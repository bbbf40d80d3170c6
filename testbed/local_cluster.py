"""The whole system on this machine: started, shown, put under demand, summed up, and ended without a trace."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from control_api.access import new_token
from fairlead.adapters import mongod
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.mongo import connect
from fairlead.contracts.decisions import DecisionSummary
from fairlead.contracts.dialogue import Answer
from fairlead.contracts.errors import FairleadError, Unavailable
from fairlead.contracts.events import Role
from fairlead.contracts.ports import Store
from fairlead.policy.measuring import Window
from testbed import local_llm
from testbed.client_tail import ClientTail
from testbed.layout import Keys, Layout, Order, Programs, lay_out, surroundings
from testbed.llm_use import LlmUse, accepted, answers, asked, endpoint_words, modes, set_modes
from testbed.picture import Moment, take
from testbed.processes import adopt_orphans, clean_environment, llm_environment
from testbed.readiness import Waiting, missing_pod, missing_report
from testbed.recording import record
from testbed.resuming import resumed
from testbed.summary import Facts, Pods, assemble, in_words, is_prepared, last_progress, open_without_outcome
from testbed.supervise import Child, Supervisor, how_ended
from testbed.surroundings import Screen, locked, on_screen, swept

__all__ = ["Order", "run"]

GRACE_S = 5.0
"""Wall seconds that requests have at the end to finish; those that run on are `open`."""

START_LIMIT_S = 120.0
"""Wall seconds for everything to come up, besides the models' own start; a busy core needs about 15 (2026-11)."""

STOP_GRACE_S = 4.0
"""Wall seconds between asking a process to end and ending it."""

LEAVE_S = 2.0
"""Wall seconds that gateways have to write down the requests that the clients left."""

LEAD_S = 0.2
"""Wall seconds between telling the clients when to begin and that beginning."""

ROLES: tuple[Role, ...] = ("admin", "agent", "gateway")

Announce = Callable[[str, str, str, tuple[str, ...]], Path | None]
"""Leaves word of control URL, token, state directory and sites; returns the file to be removed at the end."""


def run(order: Order, *, as_json: bool, announce: Announce) -> int:
    """Run what is ordered until its end or a signal, print the summary, and return the exit status."""
    summary = asyncio.run(_up(order, announce, as_json=as_json))
    if summary is None:
        sys.stderr.write("fairlead: stopped before it was ready\n")
        return 1
    print(json.dumps(summary) if as_json else in_words(summary), flush=True)
    return 0


async def _up(order: Order, announce: Announce, *, as_json: bool) -> dict[str, Any] | None:
    """Return the summary; None if it was stopped before the demand began."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    adopt_orphans()
    layout = lay_out(order, time.time())
    with contextlib.ExitStack() as stack:
        stack.callback(layout.remove)
        stack.enter_context(locked(layout.directory))
        screen = stack.enter_context(on_screen(order, as_json=as_json))
        environ = clean_environment(os.environ, layout.run, layout.key_variables)
        supervisor = Supervisor(layout.directory, environ, screen.tell)
        one = LocalCluster(layout, supervisor, screen, stop)
        try:
            with swept(layout):
                try:
                    return await one.run(announce)
                finally:
                    screen.tell("stopping every process…")
                    await one.close()
        finally:
            await supervisor.close(grace_s=STOP_GRACE_S)


class LocalCluster:
    """One run."""

    def __init__(self, layout: Layout, supervisor: Supervisor, screen: Screen, stop: asyncio.Event) -> None:
        self._layout = layout
        self._supervisor = supervisor
        self._screen = screen
        self._stop = stop
        self._store: Store | None = None
        self._clock = ScaledClock(layout.settings.speed, layout.settings.clock_origin_s)
        self._token_ids: list[str] = []
        self._pointer: Path | None = None
        self._ready_after_s = 0.0
        self._starts_before = 0
        self._since_s = 0.0

    async def run(self, announce: Announce) -> dict[str, Any] | None:
        """Start everything, play the demand, and return the summary; None if stopped before."""
        began_s = time.monotonic()
        starting = asyncio.ensure_future(self._start(announce))
        if not await self._unless_stopped(starting):
            return None
        store, clients = starting.result()
        self._ready_after_s = time.monotonic() - began_s
        self._screen.tell(f"ready after {self._ready_after_s:.1f} s: {self._invitation()}")
        before = await store.pod_totals()
        start_at_s, demand_began_s = self._clock.now_s() + LEAD_S * self._clock.speed, time.monotonic() + LEAD_S
        clients.begin(start_at_s)
        end_at_s = await self._play(store, clients.child, start_at_s)
        wall_s = max(0.0, time.monotonic() - demand_began_s)
        await self._settled()
        after = await _insist(store.pod_totals)
        decisions = await self._decisions(store, start_at_s)
        llm = await self._llm_use(store, decisions)
        await self._end_processes()
        window = Window(start_at_s, max(end_at_s, start_at_s))
        await record(self._layout, window, self._since_s, self._clock.now_s())
        progress = last_progress(self._generator_log()) or {}
        trace = self._layout.order.trace
        return assemble(
            Facts(
                settings=self._layout.settings,
                cluster=self._layout.cluster,
                scenario=self._layout.order.scenario.name,
                load=self._layout.order.load,
                trace=str(trace[1]) if trace is not None else None,
                version=version("fairlead"),
                window=window,
                wall_s=min(wall_s, self._layout.order.duration_s or wall_s),
                ready_after_s=self._ready_after_s,
                client_log=self._layout.client_log,
                outcomes=self._layout.directory / "outcomes",
                sent=progress.get("sent"),
                generator={k: v for k, v in progress.items() if k in ("resent", "late_mean_s", "late_most_s")},
                pods=Pods(after[0] - before[0], after[1] - before[1], before[0] - self._starts_before),
                decisions=decisions,
                llm=llm,
                restarts=self._supervisor.restarted,
            )
        )

    async def close(self) -> None:
        """Stop what runs, take back what was left with others; whatever state the run is in."""
        if self._pointer is not None:
            self._pointer.unlink(missing_ok=True)
        await self._end_processes()
        if self._store is not None:
            with contextlib.suppress(FairleadError, TimeoutError):
                async with asyncio.timeout(STOP_GRACE_S):
                    for token in self._token_ids:
                        await self._store.delete_token(token)
            await self._store.close()
            self._store = None

    async def _unless_stopped(self, task: "asyncio.Future[Any]") -> bool:
        """Return whether the task came to its end before we were told to stop; else it is cancelled."""
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if task.done():
            return True
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return False

    async def _start(self, announce: Announce) -> tuple[Store, "Clients"]:
        """Start everything and return once it is ready."""
        layout = self._layout
        slowest_s = max(model.start_delay_s for model in layout.cluster.models) / layout.settings.speed
        waiting = Waiting(self._supervisor, self._screen.tell, START_LIMIT_S + 3 * slowest_s)
        store = self._store = await self._database(waiting)
        self._starts_before = (await store.pod_totals())[0]
        layout = self._layout = await resumed(layout, store, time.time())
        self._clock = ScaledClock(layout.settings.speed, layout.settings.clock_origin_s)
        self._since_s = self._clock.now_s()
        await store.replace_cluster(layout.cluster)
        if layout.order.mode is not None:
            await set_modes(store, layout.order.mode, self._clock.now_s())
        programs = Programs(layout, await self._keys(store))
        layout.write()
        if layout.llm_port is not None:
            await waiting.until("the local language model", partial(local_llm.missing, layout.llm_port))
        for program in (*programs.core(), *programs.edge()):
            self._supervisor.start(program)
        url = layout.settings.control.url
        sites = tuple(site.url for site in layout.cluster.sites)
        self._pointer = announce(url, programs.admin_token, str(layout.directory), sites)
        self._screen.tell(f"control API {url}, gateways {' '.join(sites)}")
        since_s = self._clock.now_s()
        await waiting.until("all nodes", partial(_patient, partial(missing_report, store, layout.cluster, since_s)))
        self._supervisor.start(programs.slot_agent())
        clients = Clients(self._supervisor, programs)
        await waiting.until("all pods", partial(_patient, partial(missing_pod, store, layout.cluster, since_s)))
        await waiting.until("the clients", partial(self._unprepared, clients.child))
        return store, clients

    async def _keys(self, store: Store) -> Keys:
        """Return the secrets of the run, known to the store."""
        tokens = {}
        for role in ROLES:
            tokens[str(role)], record = new_token(role, f"fairlead up, {self._layout.run}", time.time())
            await store.add_token(record)
            self._token_ids.append(record.id)
        return Keys(tokens, secrets.token_urlsafe(24), llm_environment(os.environ, self._layout.key_variables))

    async def _database(self, waiting: Waiting) -> Store:
        """Return the store once the database, started here unless it is the user's, answers; start what else must."""
        for program in surroundings(self._layout):
            self._supervisor.start(program)
        settings = self._layout.settings.mongodb
        assert settings.uri is not None
        found: list[Store] = []
        uri = settings.uri

        async def missing() -> str:
            try:
                if self._layout.mongod_port is not None:
                    await mongod.initiate(uri, within_s=2.0)
                found.append(await connect(settings, self._clock))
            except Unavailable as error:
                return str(error)[:120]
            return ""

        await waiting.until("the database", missing)
        return found[0]

    async def _unprepared(self, clients: Child) -> str:
        if clients.status is not None:
            self._raise_ended(clients)
        return "" if is_prepared(self._generator_log()) else "they prepare their demand"

    def _raise_ended(self, clients: Child) -> NoReturn:
        tail = self._supervisor.tail(clients.program.name)
        raise FairleadError(f"the load generator {how_ended(clients.status)}: {tail}")

    def _generator_log(self) -> Path:
        return self._layout.directory / "logs" / "load-generator.log"

    async def _play(self, store: Store, player: Child, start_at_s: float) -> float:
        """Show the run until the demand has ended, its grace included; return the instant at which sending ended."""
        speed, duration_s = self._clock.speed, self._layout.order.duration_s
        looking = asyncio.ensure_future(self._look(store, start_at_s))
        ended = asyncio.ensure_future(player.ended.wait())
        try:
            end_at_s = start_at_s + (duration_s or 0.0) * speed
            over = await self._unless_stopped(ended)
            if over and player.status == 0:  # also a demand of nothing lasts its time
                over = await self._unless_stopped(asyncio.ensure_future(self._clock.sleep_until(end_at_s)))
            if not over:
                end_at_s = self._clock.now_s()
                self._screen.tell(f"stopped: requests have {GRACE_S:g} s to finish")
                await self._supervisor.stop([player.program.name], grace_s=GRACE_S + STOP_GRACE_S)
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
        if player.status != 0 or (duration_s is None and not self._stop.is_set()):
            self._raise_ended(player)
        return end_at_s

    async def _look(self, store: Store, start_at_s: float) -> None:
        """Show pictures until cancelled."""
        settings, cluster = self._layout.settings, self._layout.cluster
        tail = ClientTail(self._layout.client_log, cluster)
        began_s = time.monotonic() + LEAD_S
        try:
            while True:
                await asyncio.sleep(self._screen.every_s)
                now_s = self._clock.now_s()
                slot = int((now_s - settings.clock_origin_s) // settings.controller.slot_s)
                wall_s = max(0.0, time.monotonic() - began_s)
                moment = Moment(now_s, start_at_s, wall_s, slot, self._supervisor.restarted)
                try:
                    picture = await take(store, cluster, tail.look(now_s), moment)
                except Unavailable as error:
                    self._screen.tell(f"no picture now: {error}")
                    continue
                self._screen.show(picture)
        finally:
            tail.close()

    async def _settled(self) -> None:
        """Return once gateways have written down what the clients left open, or after a while."""
        outcomes = self._layout.directory / "outcomes"
        until_s = time.monotonic() + LEAVE_S
        while open_without_outcome(self._layout.client_log, outcomes) and time.monotonic() < until_s:
            await asyncio.sleep(0.1)

    async def _decisions(self, store: Store, since_s: float) -> tuple[DecisionSummary, ...]:
        """Return the decisions made since an instant, newest first."""
        found: list[DecisionSummary] = []
        cursor: str | None = None
        while True:
            page = await _insist(partial(store.decision_summaries, agent=None, limit=500, cursor=cursor))
            found += [one for one in page.items if one.made_at_s >= since_s]
            cursor = page.cursor
            if cursor is None or any(one.made_at_s < since_s for one in page.items):
                return tuple(found)

    async def _llm_use(self, store: Store, decisions: tuple[DecisionSummary, ...]) -> LlmUse:
        """Return what became of the language model in these decisions, read from the journal one by one."""
        found: list[Answer] = []
        names = asked(decisions)
        for name in names:
            found += answers(await _insist(partial(store.decision, name)))
        words = endpoint_words(self._layout.settings.llm)
        return LlmUse(words, await _insist(partial(modes, store)), len(names), accepted(decisions), tuple(found))

    async def _end_processes(self) -> None:
        """End clients, then the edge and the deciders, then pods, control API and language model; each in its turn."""
        names = list(self._supervisor.running())
        turns = (
            [name for name in names if name == "load-generator"],
            [
                name
                for name in names
                if name.startswith(("gateway-", "node-agent-")) or name in ("planner", "slot-agent")
            ],
            [name for name in names if name in ("kubelets", "warm-parent", "control", "llm")],
        )
        for turn in turns:
            for name in await self._supervisor.stop(turn, grace_s=STOP_GRACE_S):
                self._screen.tell(f"{name} did not end by itself within {STOP_GRACE_S:g} s and was killed")

    def _invitation(self) -> str:
        """Return a line that can be pasted to ask the cluster something."""
        site = self._layout.cluster.sites[0].url
        text = [model.id for model in self._layout.cluster.models if model.kind == "text"]
        if not text:
            return f"ask for something at {site}/v1"
        body = json.dumps({"model": text[-1], "messages": [{"role": "user", "content": "Say hello."}]})
        return f"curl {site}/v1/chat/completions -H 'content-type: application/json' -d '{body}'"


class Clients:
    """The load generator, which has prepared its demand and waits to be told when to begin."""

    def __init__(self, supervisor: Supervisor, programs: Programs) -> None:
        theirs, self._ours = os.pipe()
        self.child: Child = supervisor.start(programs.load_generator(theirs, GRACE_S))
        os.close(theirs)

    def begin(self, at_s: float) -> None:
        """Let the demand's second 0 fall at a domain instant."""
        with contextlib.suppress(BrokenPipeError):  # it has ended already: how, is told where its end is waited for
            os.write(self._ours, f"{at_s!r}\n".encode())
        os.close(self._ours)


async def _patient(look: Callable[[], Awaitable[str]]) -> str:
    """Return what a look finds missing, also where the database does not answer for a moment."""
    try:
        return await look()
    except Unavailable as error:
        return str(error)[:120]


async def _insist(read: Callable[[], Any], tries: int = 20) -> Any:
    """Return what a read gives, also where the database is just being restarted."""
    for left in reversed(range(tries)):
        try:
            return await read()
        except Unavailable:
            if not left:
                raise
            await asyncio.sleep(0.5)
    return None
