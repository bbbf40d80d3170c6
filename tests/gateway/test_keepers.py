"""What holds of every keeper, in the same process and over HTTP: the protocol of DESIGN §3."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.keeper_http import HttpKeeper
from fairlead.contracts.errors import KeeperUnavailable, StaleGeneration
from fairlead.contracts.ports import KeeperPort
from fairlead.contracts.tickets import Done, Failed, Granted, Head, Offer, Queued, Refused, Returned, Ticket, Update
from gateway.keeper import Keeper
from tests.gateway.scene import Scene, model, scene, small_cluster
from tests.waiting import until

FAR_S = 4e9
"""A deadline after the year 2090."""


def ticket(request: str, attempt: int = 1, *, body: bytes = b"{}", deadline_at_s: float = FAR_S) -> Offer:
    """Return an offer."""
    return Offer(
        ticket=Ticket(request=request, attempt=attempt),
        site="s0",
        model="alpha",
        path="/v1/chat/completions",
        body_bytes=len(body),
        deadline_at_s=deadline_at_s,
    )


@dataclass
class Heard:
    """All updates of one offer so far."""

    updates: list[Update | bytes] = field(default_factory=list)
    task: "asyncio.Task[None] | None" = None

    @property
    def kinds(self) -> list[type]:
        return [type(u) for u in self.updates]

    def has(self, kind: type) -> bool:
        return kind in self.kinds


@dataclass
class Bench:
    """A keeper, the port to it, and its scene."""

    scene: Scene
    port: KeeperPort
    keeper: Keeper

    def offer(self, offer: Offer, body: bytes = b"{}") -> Heard:
        heard = Heard()

        async def listen() -> None:
            updates = self.port.offer(offer, body)
            try:
                async for update in updates:
                    heard.updates.append(update)
            finally:
                await updates.aclose()

        heard.task = asyncio.create_task(listen())
        return heard


@asynccontextmanager
async def bench(tmp_path: Path, kind: str) -> AsyncIterator[Bench]:
    """Run a keeper that is reached in the way `kind` says."""
    async with scene(tmp_path, small_cluster(models=(model("alpha"),))) as s:
        gateway = await s.gateway("n0", None)
        assert gateway.keeper is not None
        remote = HttpKeeper(s.cluster.nodes[0].keeper_url, None, ScaledClock(), ack_timeout_s=1.0)
        try:
            yield Bench(s, gateway.keeper if kind == "local" else remote, gateway.keeper)
            await until(lambda: gateway.keeper is not None and not gateway.keeper.running + gateway.keeper.waiting)
        finally:
            await remote.close()


both = pytest.mark.parametrize("kind", ["local", "http"])


def _inside(keeper: Keeper, count: int) -> bool:
    return keeper.running + keeper.waiting == count


async def ended(heard: Heard) -> Update | bytes:
    """Return the last update of an offer."""
    assert heard.task is not None
    await asyncio.wait_for(heard.task, 20)
    return heard.updates[-1]


@both
async def test_an_idle_pod_starts_at_once(tmp_path: Path, kind: str) -> None:
    """Granted, head, bytes, done: no turn in a queue."""
    async with bench(tmp_path, kind) as b:
        await b.scene.pod("n0", "alpha")
        heard = b.offer(ticket("r"))
        done = await ended(heard)
        assert heard.kinds == [Granted, Head, bytes, Done]
        assert isinstance(done, Done)
        assert done.response_bytes == len(heard.updates[2])  # type: ignore[arg-type]


@both
async def test_a_busy_pod_queues_first_come_first_served(tmp_path: Path, kind: str) -> None:
    """Each is told how many are ahead, and they start in that order."""
    async with bench(tmp_path, kind) as b:
        pod = await b.scene.pod("n0", "alpha")
        pod.gate.clear()
        heard = []
        for i in range(4):
            heard.append(b.offer(ticket(f"r{i}")))
            await until(partial(_inside, b.keeper, i + 1))
        await until(lambda: all(h.updates for h in heard))
        assert [h.updates[0].ahead for h in heard[1:]] == [1, 2, 3]  # type: ignore[union-attr]
        pod.gate.set()
        for one in heard:
            assert isinstance(await ended(one), Done)
        assert pod.began == ["r0", "r1", "r2", "r3"]
        assert pod.most_running == 1


@both
async def test_without_a_pod_an_offer_is_refused(tmp_path: Path, kind: str) -> None:
    """Nothing of it remains."""
    async with bench(tmp_path, kind) as b:
        assert await ended(b.offer(ticket("r"))) == Refused(reason="no-pod")


@both
async def test_a_draining_pod_refuses_gives_back_who_waits_and_lets_the_granted_finish(
    tmp_path: Path, kind: str
) -> None:
    """No acknowledgement from anywhere else is needed."""
    async with bench(tmp_path, kind) as b:
        pod = await b.scene.pod("n0", "alpha")
        pod.gate.clear()
        running = b.offer(ticket("running"))
        await until(lambda: pod.running == 1)
        waiting = b.offer(ticket("waiting"))
        await until(lambda: waiting.has(Queued))
        await b.scene.declare("n0", "alpha", "draining")
        assert await ended(waiting) == Returned(reason="draining")
        assert await ended(b.offer(ticket("late"))) == Refused(reason="draining")
        assert not running.has(Done)
        pod.gate.set()
        assert isinstance(await ended(running), Done)
        assert pod.began == ["running"]


@both
async def test_a_pod_that_is_gone_fails_who_runs_and_gives_back_who_waits(tmp_path: Path, kind: str) -> None:
    """Even if its connection still stands."""
    async with bench(tmp_path, kind) as b:
        pod = await b.scene.pod("n0", "alpha")
        pod.gate.clear()
        running = b.offer(ticket("running"))
        await until(lambda: pod.running == 1)
        waiting = b.offer(ticket("waiting"))
        await until(lambda: waiting.has(Queued))
        await b.scene.declare("n0", "alpha", None)
        assert await ended(waiting) == Returned(reason="pod-lost")
        last = await ended(running)
        assert isinstance(last, Failed)
        assert last.phase == "connect"


@both
async def test_a_killed_pod_fails_who_runs_with_the_phase(tmp_path: Path, kind: str) -> None:
    """It takes no offers until its agent has declared it again."""
    async with bench(tmp_path, kind) as b:
        pod = await b.scene.pod("n0", "alpha", pieces=2, halt_after_first=True)
        pod.gate.clear()
        body = b'{"stream": true}'
        running = b.offer(ticket("running", body=body), body)
        await until(lambda: running.has(bytes))
        await pod.die()
        last = await ended(running)
        assert isinstance(last, Failed)
        assert last.phase == "body"
        assert await ended(b.offer(ticket("next"))) == Refused(reason="no-pod")
        await b.scene.pod("n0", "alpha")
        assert isinstance(await ended(b.offer(ticket("next", 2))), Done)


@both
async def test_a_pod_that_cannot_be_reached_gives_the_ticket_back(tmp_path: Path, kind: str) -> None:
    """The ticket never started, so it is not failed."""
    async with bench(tmp_path, kind) as b:
        pod = await b.scene.pod("n0", "alpha")
        await pod.die()
        assert await ended(b.offer(ticket("r"))) == Returned(reason="pod-lost")


@both
async def test_a_waiting_ticket_is_withdrawn_and_a_running_one_has_started(tmp_path: Path, kind: str) -> None:
    """A withdrawn one never reaches the pod; ids are percent-encoded on the way."""
    async with bench(tmp_path, kind) as b:
        pod = await b.scene.pod("n0", "alpha")
        pod.gate.clear()
        running = b.offer(ticket("running"))
        await until(lambda: pod.running == 1)
        waiting = b.offer(ticket("w/:x"))
        await until(lambda: waiting.has(Queued))
        assert (await b.port.withdraw(ticket("w/:x"))).state == "withdrawn"
        assert await ended(waiting) == Returned(reason="withdrawn")
        assert (await b.port.withdraw(ticket("running"))).state == "started"
        pod.gate.set()
        assert isinstance(await ended(running), Done)
        assert (await b.port.withdraw(ticket("running"))).state == "started"
        assert pod.began == ["running"]


@both
async def test_an_offer_that_comes_after_its_withdrawal_never_starts(tmp_path: Path, kind: str) -> None:
    """The next attempt does."""
    async with bench(tmp_path, kind) as b:
        pod = await b.scene.pod("n0", "alpha")
        assert (await b.port.withdraw(ticket("r"))).state == "withdrawn"
        assert await ended(b.offer(ticket("r"))) == Returned(reason="withdrawn")
        assert pod.began == []
        assert isinstance(await ended(b.offer(ticket("r", 2))), Done)


@both
async def test_closing_the_iterator_gives_the_ticket_up(tmp_path: Path, kind: str) -> None:
    """Waiting ones leave the queue, running ones are broken off at the pod."""
    async with bench(tmp_path, kind) as b:
        pod = await b.scene.pod("n0", "alpha")
        pod.gate.clear()
        running = b.offer(ticket("running"))
        await until(lambda: pod.running == 1)
        waiting = b.offer(ticket("waiting"))
        await until(lambda: waiting.has(Queued))
        for one in (waiting, running):
            assert one.task is not None
            one.task.cancel()
        await until(lambda: pod.cut == 1)
        await until(lambda: b.keeper.counts.dropped == 2)
        assert pod.began == ["running"]


@both
async def test_a_ticket_past_its_deadline_comes_back(tmp_path: Path, kind: str) -> None:
    """It waited and did not start."""
    async with bench(tmp_path, kind) as b:
        pod = await b.scene.pod("n0", "alpha")
        pod.gate.clear()
        running = b.offer(ticket("running"))
        await until(lambda: pod.running == 1)
        soon_s = ScaledClock().now_s() + 0.1
        assert await ended(b.offer(ticket("late", deadline_at_s=soon_s))) == Returned(reason="deadline")
        pod.gate.set()
        assert isinstance(await ended(running), Done)


@both
async def test_a_large_body_reaches_the_pod_whole(tmp_path: Path, kind: str) -> None:
    """Above 64 KB it follows the grant."""
    async with bench(tmp_path, kind) as b:
        pod = await b.scene.pod("n0", "alpha")
        body = b'{"x": "' + b"a" * 1_500_000 + b'"}'
        assert isinstance(await ended(b.offer(ticket("large", body=body), body)), Done)
        assert pod.bodies == [len(body)]


@both
async def test_invariant_09_an_older_set_of_pods_is_refused(tmp_path: Path, kind: str) -> None:
    """By sequence within an agent's process, by process after its restart."""
    async with bench(tmp_path, kind) as b:
        await b.scene.pod("n0", "alpha")
        b.scene.sequence -= 1
        with pytest.raises(StaleGeneration):
            await b.scene.say("n0")
        b.scene.sequence += 1
        await b.scene.say("n0", agent="agent-2")
        with pytest.raises(StaleGeneration):
            await b.scene.say("n0", agent="agent-1")
        assert isinstance(await ended(b.offer(ticket("r"))), Done)


async def test_a_new_agent_that_has_not_found_a_running_pod_yet_does_not_break_it_off(tmp_path: Path) -> None:
    """Its first set may be incomplete; the request finishes."""
    async with bench(tmp_path, "local") as b:
        pod = await b.scene.pod("n0", "alpha")
        pod.gate.clear()
        running = b.offer(ticket("running"))
        await until(lambda: pod.running == 1)
        known = b.scene.phases.pop(("n0", "alpha"))
        await b.scene.say("n0", agent="agent-2")
        b.scene.phases["n0", "alpha"] = known
        await b.scene.say("n0", agent="agent-2")
        pod.gate.set()
        assert isinstance(await ended(running), Done)


async def test_a_keeper_that_is_away_refuses_and_cannot_withdraw(tmp_path: Path) -> None:
    """No connection means that nothing of the offer is there."""
    from tests.gateway.scene import free_port

    keeper = HttpKeeper(f"http://127.0.0.1:{free_port()}", None, ScaledClock())
    try:
        assert [u async for u in keeper.offer(ticket("r"), b"{}")] == [Refused(reason="stopped")]
        with pytest.raises(KeeperUnavailable):
            await keeper.withdraw(ticket("r"))
    finally:
        await keeper.close()


async def test_a_silent_keeper_times_out(tmp_path: Path) -> None:
    """Neither an offer nor a withdrawal waits for ever."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        closed.append(True)

    closed: list[bool] = []
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    keeper = HttpKeeper(f"http://127.0.0.1:{port}", None, ScaledClock(), connect_timeout_s=0.05, ack_timeout_s=0.05)
    try:
        with pytest.raises(KeeperUnavailable):
            await _all(keeper, ticket("r"))
        with pytest.raises(KeeperUnavailable):
            await keeper.withdraw(ticket("r"))
    finally:
        await keeper.close()
        await until(lambda: len(closed) == 2)
        server.close()
        await server.wait_closed()


async def _all(keeper: HttpKeeper, offer: Offer) -> list[Update | bytes]:
    return [u async for u in keeper.offer(offer, b"{}")]


async def test_a_keeper_with_a_token_refuses_others(tmp_path: Path) -> None:
    """A wrong and a missing token get 403."""
    async with scene(tmp_path, small_cluster()) as s:
        from gateway.keeper_api import KeeperApi
        from gateway.serving import listening

        gateway = await s.gateway("n0", None)
        await s.pod("n0", "alpha")
        assert gateway.keeper is not None
        api = KeeperApi(gateway.keeper, "secret")
        async with listening("127.0.0.1", 0, (api.handle,), body_limit_bytes=10**6, what="it") as port:
            for token, right in (("secret", True), ("guess", False), (None, False)):
                keeper = HttpKeeper(f"http://127.0.0.1:{port}", token, ScaledClock())
                try:
                    if right:
                        assert isinstance((await _all(keeper, ticket("r")))[-1], Done)
                    else:
                        with pytest.raises(KeeperUnavailable, match="403"):
                            await _all(keeper, ticket("r"))
                finally:
                    await keeper.close()


async def test_who_waits_for_a_drain_is_answered_once_the_pod_is_free(tmp_path: Path) -> None:
    """Without a token, for a kubelet has none; a pod that still takes requests is not free, an absent one is."""
    async with scene(tmp_path, small_cluster()) as s, aiohttp.ClientSession() as kubelet:
        from gateway.keeper_api import KeeperApi
        from gateway.serving import listening

        gateway = await s.gateway("n0", None)
        pod = await s.pod("n0", "alpha")
        keeper = gateway.keeper
        assert keeper is not None
        async with listening(
            "127.0.0.1", 0, (KeeperApi(keeper, "secret").handle,), body_limit_bytes=1, what="it"
        ) as at:

            async def hook(model: str, after_s: str = "0") -> int:
                path = f"/keeper/v1/pods/{model}/drained?after_s={after_s}"
                async with kubelet.get(f"http://127.0.0.1:{at}{path}") as answer:
                    return answer.status

            assert await hook("absent") == 204
            for bad in ("soon", "-1", "1000", "9" * 5000):
                assert await hook("absent", bad) == 400
            paused = asyncio.create_task(hook("absent", "1"))
            began_s = time.monotonic()
            pod.gate.clear()
            heard = Heard()
            heard.task = asyncio.create_task(_hear(keeper, heard))
            await until(lambda: heard.has(Granted))
            waiting = asyncio.create_task(hook("alpha"))
            await s.declare("n0", "alpha", "stopping")
            assert not waiting.done()
            pod.gate.set()
            assert await waiting == 204
            await heard.task
            assert heard.has(Done)
            assert await paused == 204
            assert time.monotonic() - began_s >= 1.0


async def _hear(keeper: Keeper, heard: Heard) -> None:
    async for update in keeper.offer(ticket("r"), b"{}"):
        heard.updates.append(update)


async def test_state_is_pushed_on_change_and_declared_pods_are_answered_with_their_use(tmp_path: Path) -> None:
    """Counts reach the listener as they change."""
    async with bench(tmp_path, "http") as b:
        assert isinstance(b.port, HttpKeeper)
        pod = await b.scene.pod("n0", "alpha")
        seen: list[tuple[int, int]] = []

        async def listen() -> None:
            async for state in b.port.states(10.0):  # type: ignore[attr-defined]
                seen.append((state.pods[0].count, state.pods[0].running))

        listening = asyncio.create_task(listen())
        await until(lambda: (0, 0) in seen)
        pod.gate.clear()
        heard = [b.offer(ticket(f"r{i}")) for i in range(3)]
        await until(lambda: (3, 1) in seen)
        pod.gate.set()
        for one in heard:
            await ended(one)
        await until(lambda: seen[-1] == (0, 0))
        uses = b.keeper.uses()
        assert (uses.pods[0].waiting, uses.pods[0].running) == (0, 0)
        assert uses.pods[0].used_at_s is not None
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
