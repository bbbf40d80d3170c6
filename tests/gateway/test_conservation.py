"""Invariant 1 under arbitrary orders of events, with pods that do what hypothesis says."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_control import MemoryControl
from fairlead.adapters.memory_pods import MemoryExchange, MemoryPods
from fairlead.contracts.readings import Outcome, Phase
from fairlead.contracts.tickets import Failed, Head, PodEndpoint, PodSet, Returned
from fairlead.policy.backlog import SpeedRule
from gateway.ingress import Ingress, IngressLimits
from gateway.keeper import Keeper, KeeperLimits
from gateway.ledger import Ledger
from gateway.requests import Ask, Open, Refusal
from gateway.view import View
from gateway.wakes import Wakes
from tests.gateway.scene import small_cluster
from tests.gateway.test_clusters import table

NODES = ("n0", "n1")
STREAM = Head(status=200, content_type="text/event-stream")
WHOLE = Head(status=200, content_type="application/json")


@dataclass
class Client:
    """A reply that notes what reached its client."""

    answers: int = 0
    pieces: list[bytes] = field(default_factory=list)
    finished: bool = False
    broken: bool = False
    refused: bool = False

    async def whole(self, one: Open, status: int, content_type: str, body: bytes) -> None:
        self.answers += 1
        self.pieces.append(body)
        self.finished = True

    async def refuse(self, refusal: Refusal, one: Open | None) -> None:
        self.answers += 1
        self.refused = True

    async def begin(self, one: Open, status: int, content_type: str) -> None:
        self.answers += 1

    async def write(self, piece: bytes) -> None:
        self.pieces.append(piece)

    async def finish(self) -> None:
        self.finished = True

    async def break_off(self, refusal: Refusal) -> None:
        self.broken = True


class World:
    """One ingress, two keepers, pods in memory, a clock that stands until it is moved."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.pods = MemoryPods()
        self.ledger = Ledger()
        self.view = View("s0", self.clock, 30.0, 3.0)
        self.view.declared({"alpha": 2.0})
        self.view.steer_by(table(1, dict.fromkeys(NODES, 1 / len(NODES)), work_s=2.0))
        wakes = Wakes("s0", self.clock, MemoryControl(small_cluster()), 5.0)
        limits = IngressLimits("s0", 60.0, 1000, 100, {"alpha": 12.0})
        self.ingress = Ingress(limits, self.clock, self.view, wakes, self.ledger, "seed")
        keeper_limits = KeeperLimits(0.1, 5.0, {"alpha": 12.0}, {"alpha": 10.0}, 60.0, SpeedRule())
        self.keepers = {n: Keeper(n, f"{n}-1", self.clock, self.pods, keeper_limits) for n in NODES}
        self.phases: dict[str, tuple[str, Phase] | None] = dict.fromkeys(NODES)
        self.clients: dict[str, tuple[Client, asyncio.Task[None]]] = {}
        self.outcomes: list[Outcome] = []
        self.sequence = 0
        for node, keeper in self.keepers.items():
            self.ingress.keepers[node] = keeper
            self.view.stands_beside(node, keeper.load)
            keeper.tell_pods_to(self.ingress.look_again)

    async def settle(self) -> None:
        """Let everything happen that can happen, then hold the invariant."""
        for _ in range(30):
            await asyncio.sleep(0)
        self.ledger.check()
        for keeper in self.keepers.values():
            keeper.check()
        places = self.ledger.places
        waiting = sum(k.waiting for k in self.keepers.values())
        running = sum(k.running for k in self.keepers.values())
        assert (places["queued"], places["running"]) == (waiting, running)
        assert places["transfer"] == places["new"] == 0
        twice = [r for r, n in Counter(e.request for e in self.pods.open).items() if n > 1]
        assert not twice, "no request is in two pods at a time"

    def arrive(self) -> None:
        client, request = Client(), f"r{len(self.clients)}"
        ask = Ask(request, "alpha", "/v1/chat/completions", b"{}")
        self.clients[request] = (client, asyncio.create_task(self.ingress.serve(ask, client)))

    async def say(self, node: str, phase: Phase | None) -> None:
        self.sequence += 1
        before = self.phases[node]
        if phase is None:
            self.phases[node] = None
        else:
            instance = before[0] if before is not None else f"alpha-{self.sequence}"
            self.phases[node] = (instance, phase)
        now = self.phases[node]
        pods = () if now is None else (_endpoint(node, *now),)
        await self.keepers[node].declare(
            PodSet(node=node, instance="agent", sequence=self.sequence, speed=1.0, pods=pods)
        )

    def exchange(self, choice: int) -> MemoryExchange | None:
        inside = self.pods.open
        return inside[choice % len(inside)] if inside else None

    async def end(self) -> None:
        """Bring every request to its end: pods are up and answer."""
        for node in NODES:
            await self.say(node, "ready")
        for _ in range(200):
            for exchange in self.pods.open:
                exchange.say(WHOLE, b"last", None)
            await self.clock.advance(1.0)
            for keeper in self.keepers.values():
                keeper.sweep()
            self.ingress.look_again()
            await self.settle()
            if all(task.done() for _, task in self.clients.values()):
                break
        assert not self.ledger.open
        _, self.outcomes = self.ledger.take()[0], list(self.ledger.take()[1])


def _endpoint(node: str, instance: str, phase: Phase) -> PodEndpoint:
    return PodEndpoint(
        model="alpha",
        instance=instance,
        phase=phase,
        url=f"http://{node}:1",
        concurrency=2,
        work_s=2.0,
        ready_at_s=None,
    )


number = st.integers(0, 30)
node = st.sampled_from(NODES)
steps = st.one_of(
    st.tuples(st.just("arrive"), st.integers(1, 4)),
    st.tuples(st.just("head"), number, st.booleans()),
    st.tuples(st.just("piece"), number),
    st.tuples(st.just("finish"), number),
    st.tuples(st.just("break"), number, st.sampled_from(["connect", "head", "body"])),
    st.tuples(st.just("unreached"), number),
    st.tuples(st.just("phase"), node, st.sampled_from(["starting", "ready", "draining", None])),
    st.tuples(st.just("leave"), number),
    st.tuples(st.just("move")),
    st.tuples(st.just("time"), st.sampled_from([0.5, 5.0, 61.0])),
)


async def _play(script: list[tuple[object, ...]]) -> World:
    world = World()
    for step in script:
        match step:
            case ("arrive", int(count)):
                for _ in range(count):
                    world.arrive()
            case ("head", int(which), bool(streams)):
                _say(world, which, STREAM if streams else WHOLE)
            case ("piece", int(which)):
                _say(world, which, STREAM, b"piece")
            case ("finish", int(which)):
                _say(world, which, WHOLE, b"all", None)
            case ("break", int(which), ("connect" | "head" | "body") as phase):
                _say(world, which, Failed(phase=phase, reason="scripted"))
            case ("unreached", int(which)):
                _say(world, which, Returned(reason="pod-lost"))
            case ("phase", str(where), phase):
                await world.say(where, phase)  # type: ignore[arg-type]
            case ("leave", int(which)):
                inside = [task for _, task in world.clients.values() if not task.done()]
                if inside:
                    inside[which % len(inside)].cancel()
            case ("move",):
                await world.ingress.mover.look(0.0)
            case ("time", float(for_s)):
                await world.clock.advance(for_s)
                for keeper in world.keepers.values():
                    keeper.sweep()
                world.ingress.look_again()
        await world.settle()
    await world.end()
    return world


def _say(world: World, which: int, *words: Head | bytes | Failed | Returned | None) -> None:
    exchange = world.exchange(which)
    if exchange is not None:
        exchange.say(*words)


@settings(max_examples=80)
@given(st.lists(steps, max_size=40))
def test_invariant_01_every_request_is_somewhere_once_at_every_event_and_ends_once(
    script: list[tuple[object, ...]],
) -> None:
    """Arrivals, answers, losses, drains, clients that leave, time: the books add up after each, and each ends once."""
    world = asyncio.run(_play(script))
    assert sum(world.ledger.arrived.values()) == len(world.clients)
    assert sum(world.ledger.ended.values()) == len(world.clients)
    started = Counter(e.request for e in world.pods.exchanges)
    for client, task in world.clients.values():
        assert client.answers <= 1, "never answered twice"
        if task.cancelled():
            continue
        assert client.answers == 1
        assert client.finished + client.broken + client.refused == 1
        if client.broken:
            assert client.pieces, "broken off only after a first byte"
        seen = b"".join(client.pieces)
        assert seen.count(b"last") + seen.count(b"all") <= 1, "the bytes of one attempt only"
    lost = world.ledger.moved["lost"]
    assert lost <= len(started), "each is sent again at most once after a loss"
