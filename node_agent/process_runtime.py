"""The runtime `process`: a pod is any process that serves HTTP on a loopback port, a child of the agent's or not.

Pods outlive the agent. Each is known by pid and start time, watched by a pidfd (which needs no kinship), and written
down before it exists; a successor adopts those that live and removes what it finds and cannot name.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import structlog

from fairlead.adapters import process_table
from fairlead.adapters.pod_statuses import PodStatuses
from fairlead.contracts.cluster import NodeSpec
from fairlead.contracts.errors import PodFault, foreign
from fairlead.contracts.ports import Clock, PodOrder, PodStatus
from node_agent.launchers import OWNER, Launched, WarmParentClient, launch_of, run_command
from node_agent.pod_record import PodRecord, PodRecords

PROBE_LEAST_S = 0.02
PROBE_MOST_S = 0.25
"""Wall seconds between two looks at a starting pod: 2 % of a 12 s start at speed 30, and kind to a real server."""

PROBE_LIMIT_S = 2.0
"""Wall seconds for an answer to a look."""

PROBE_LATE_S = 0.002
"""Wall seconds after the expected instant: a pod's own timer is exact to a millisecond."""


@dataclass(slots=True)
class _Live:
    """A pod that exists or is about to."""

    record: PodRecord
    status: PodStatus
    child: bool = False
    pidfd: int | None = None
    probing: asyncio.Task[None] | None = None
    killing: asyncio.TimerHandle | None = None


class ProcessRuntime:
    """The port `Runtime` on one machine."""

    def __init__(self, node: NodeSpec, directory: Path, clock: Clock, warm_parent: str | None) -> None:
        """Keep records under `directory`; `warm_parent` is the socket of the process that forks emulated pods."""
        self._node = node
        self._records = PodRecords(directory)
        self._clock = clock
        self._parent = WarmParentClient(warm_parent)
        self._live: dict[str, _Live] = {}
        self._statuses = PodStatuses(lambda: [live.status for live in self._live.values()])
        self._session: aiohttp.ClientSession | None = None
        self._log = structlog.get_logger()

    async def adopt(self) -> tuple[PodStatus, ...]:
        """Take over the pods that a former agent left; end what is ours by its marks and has no usable record."""
        boot = process_table.boot_id()
        known: set[tuple[int, int]] = set()
        for record in self._records.all():
            pid, ticks = record.pid, record.start_ticks
            lives = record.boot == boot and pid is not None and ticks is not None and process_table.is_alive(pid, ticks)
            if pid is not None and ticks is not None and lives and record.node == self._node.id:
                known.add((pid, ticks))
                answers = await self._look(record) == 200
                self._enter(record, Launched(pid, ticks, record.port or 0, child=False), ready=answers)
            else:
                self._records.remove(record)
        await self._remove_strangers(known)
        return tuple(live.status for live in self._live.values())

    async def start(self, order: PodOrder) -> None:
        """Begin to start a pod. Raises `PodFault` if that cannot even begin, or if the model has a pod here."""
        if order.model.id in self._live:
            raise PodFault(f"{order.model.id} has a pod on {order.node} already: stop it first")
        launch = launch_of(order)
        record = PodRecord(
            node=order.node,
            model=order.model.id,
            instance=order.instance,
            launcher=launch.launcher,
            ready_path=launch.ready_path,
            memory_bytes=order.model.memory_bytes,
            ordered_at_s=self._clock.now_s(),
            start_delay_s=order.model.start_delay_s,
            boot=process_table.boot_id(),
            pid=None,
            start_ticks=None,
            port=None,
        )
        try:
            self._records.put(record)
            self._live[record.model] = _Live(record, self._status(record, "starting", "spawn"))
            launched = await self._launch(order, record)
        except BaseException as error:
            self._live.pop(record.model, None)
            self._records.remove(record)
            if isinstance(error, OSError):
                raise PodFault(f"{record.model} on {order.node} cannot be written down: {foreign(error)}") from error
            raise
        self._say(record.model)
        record = record.model_copy(
            update={"pid": launched.pid, "start_ticks": launched.start_ticks, "port": launched.port}
        )
        try:
            self._records.put(record)
        except OSError as error:
            self._log.warning(
                "a pod is not written down: a successor ends it", model=record.model, error=foreign(error)
            )
        self._enter(record, launched)

    async def stop(self, model: str, *, grace_s: float) -> None:
        """Send SIGTERM to the pod's group, and SIGKILL after `grace_s` wall seconds; nothing if there is no pod."""
        live = self._live.get(model)
        if live is None or live.status.state == "stopping":
            return
        if live.probing is not None:
            live.probing.cancel()
        live.status = replace(live.status, state="stopping", stage="", since_at_s=self._clock.now_s())
        self._say(model)
        self._signal(live.record, signal.SIGTERM)
        loop = asyncio.get_running_loop()
        live.killing = loop.call_later(grace_s, self._signal, live.record, signal.SIGKILL)

    def watch(self) -> AsyncIterator[PodStatus]:
        """Yield the present status of each pod, then each change."""
        return self._statuses.watch()

    async def close(self) -> None:
        """Let go of the pods without stopping them."""
        loop = asyncio.get_running_loop()
        for live in self._live.values():
            if live.probing is not None:
                live.probing.cancel()
            if live.killing is not None:
                live.killing.cancel()
            if live.pidfd is not None:
                loop.remove_reader(live.pidfd)
                os.close(live.pidfd)
        self._live.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _launch(self, order: PodOrder, record: PodRecord) -> Launched:
        if record.launcher == "warm-parent":
            return await self._parent.fork(order, self._node, record.ordered_at_s)
        return run_command(order, self._records.directory, self._records.log_path(record.model))

    def _enter(self, record: PodRecord, launched: Launched, *, ready: bool = False) -> None:
        """Watch a process from now on, as a starting pod until it answers."""
        status = self._status(record, "ready", "") if ready else self._status(record, "starting", "load")
        if ready:
            since_at_s = min(self._clock.now_s(), record.ordered_at_s + record.start_delay_s)
            status = replace(status, since_at_s=since_at_s)
        live = _Live(record, status, child=launched.child)
        self._live[record.model] = live
        live.pidfd = process_table.open_pidfd(launched.pid, launched.start_ticks)
        self._say(record.model)
        if live.pidfd is None:
            self._ended(record.model)
            return
        asyncio.get_running_loop().add_reader(live.pidfd, self._ended, record.model)
        if not ready:
            live.probing = asyncio.get_running_loop().create_task(self._probe(live))

    async def _probe(self, live: _Live) -> None:
        """Look at a starting pod until it answers 200; most often about when it is expected."""
        expected_at_s = live.record.ordered_at_s + live.record.start_delay_s
        while True:
            answer = await self._look(live.record)
            if answer == 200:
                live.status = replace(live.status, state="ready", stage="", since_at_s=self._clock.now_s())
                self._say(live.record.model)
                return
            if answer is not None and live.status.stage == "load":
                live.status = replace(live.status, stage="probe")
                self._say(live.record.model)
            left_s = (expected_at_s - self._clock.now_s()) / self._clock.speed
            pause_s = min(PROBE_MOST_S, max(PROBE_LEAST_S, abs(left_s) / 4))
            await asyncio.sleep(left_s + PROBE_LATE_S if 0 < left_s < pause_s else pause_s)

    async def _look(self, record: PodRecord) -> int | None:
        """Return the status of the pod's ready path; None if nobody answers."""
        if self._session is None:
            limit = aiohttp.ClientTimeout(total=PROBE_LIMIT_S)
            self._session = aiohttp.ClientSession(
                timeout=limit, cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(force_close=True)
            )
        try:
            async with self._session.get(f"{record.url}{record.ready_path}") as answer:
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    def _ended(self, model: str) -> None:
        """Note that a pod's process has ended, and end what it may have left in its group."""
        live = self._live.pop(model)
        record = live.record
        if live.pidfd is not None:
            asyncio.get_running_loop().remove_reader(live.pidfd)
            os.close(live.pidfd)
        for waiting in (live.probing, live.killing):
            if waiting is not None:
                waiting.cancel()
        reason = "" if live.status.state == "stopping" else "ended by itself"
        if record.pid is not None and record.launcher == "exec":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(record.pid, signal.SIGKILL)
            if live.child:
                code = os.waitstatus_to_exitcode(os.waitpid(record.pid, 0)[1])
                how = f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
                reason = f"{reason} with {how}" if reason else ""
        self._records.remove(record)
        gone = replace(
            live.status, state="gone", stage="", since_at_s=self._clock.now_s(), memory_bytes=0, reason=reason
        )
        self._statuses.say(gone)

    def _signal(self, record: PodRecord, number: signal.Signals) -> None:
        if record.pid is not None and record.start_ticks is not None:
            process_table.signal_group(record.pid, record.start_ticks, number)

    async def _remove_strangers(self, known: set[tuple[int, int]]) -> None:
        """End processes that a former agent began and did not write down."""
        directory = str(self._records.directory.resolve())
        found = set(process_table.marked(OWNER, directory))
        try:
            found |= set((await self._parent.pods(self._node.id)).values())
        except PodFault as fault:
            self._log.debug("no warm parent to ask for left pods", reason=str(fault))
        for pid, ticks in sorted(found - known):
            self._log.warning("removed a pod that no record names", node=self._node.id, pid=pid)
            process_table.signal_group(pid, ticks, signal.SIGKILL)

    def _status(self, record: PodRecord, state: str, stage: str) -> PodStatus:
        return PodStatus(
            record.model,
            record.instance,
            state,
            stage,
            record.url,
            record.ordered_at_s,
            record.memory_bytes,
            "",
        )

    def _say(self, model: str) -> None:
        self._statuses.say(self._live[model].status)
