"""The ingress: it owns a request from its arrival to its end and tries pods for it, one ticket at a time (DESIGN §3).

What may happen to a ticket, and what follows:

    refused, given back, withdrawn   it never started: another ticket, as often as needed; withdrawn: by `moving`
    lost before the first byte       it had been started: one more ticket, once
    lost after the first byte        the request has failed, and the client is shown so
    no pod anywhere                  the request is held here until one appears or its time is up
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, assert_never

from fairlead.contracts.errors import KeeperUnavailable
from fairlead.contracts.ports import Clock, KeeperPort
from fairlead.contracts.readings import Choice, Outcome
from fairlead.contracts.tickets import Done, Failed, Granted, Head, Offer, Queued, Refused, Returned, Ticket, Update
from fairlead.policy.choice import Pick
from fairlead.policy.steering import REFUSALS_AT_ONCE, WAIT_SHARE
from gateway.ledger import Ledger
from gateway.moving import Mover
from gateway.requests import Ask, End, Open, Refusal, Reply
from gateway.view import Dispatch, View
from gateway.wakes import Wakes

STREAM_TYPE = "text/event-stream"

Moved = Literal["moved", "price", "lost"]
"""Why a ticket was offered anew: its pod did not take it or gave it back, it is better off elsewhere, it was lost."""


@dataclass(frozen=True, slots=True)
class IngressLimits:
    """What an ingress is told."""

    site: str
    hold_timeout_s: float
    """Domain seconds from arrival that a request may wait in all."""
    open_limit: int
    sample_one_in: int
    start_delay_s: Mapping[str, float]
    """Per model of the cluster."""


class Ingress:
    """Requests of one site."""

    def __init__(
        self, limits: IngressLimits, clock: Clock, view: View, wakes: Wakes, ledger: Ledger, seed: str
    ) -> None:
        """Begin without keepers; `keepers` is filled by the service."""
        self.limits = limits
        self.ledger = ledger
        self.keepers: dict[str, KeeperPort] = {}
        """By node."""
        self.closing = False
        """The process ends: requests that are cut off now failed, their clients did not leave."""
        self._clock = clock
        self._view = view
        self._wakes = wakes
        self._draw = random.Random(seed).random
        self.mover = Mover(clock, view, ledger, self.keepers, random.Random(f"{seed}/moves").random)
        self._picks = 0
        self._held: dict[str, asyncio.Future[None]] = {}
        view.on_change = self.look_again

    async def serve(self, ask: Ask, reply: Reply) -> None:
        """Answer one request through `reply`, exactly once; cancelled when its client leaves."""
        refusal = self._inadmissible(ask)
        if refusal is not None:
            self.ledger.refused[refusal.code] += 1
            await reply.refuse(refusal, None)
            return
        now_s = self._clock.now_s()
        one = Open(ask, now_s, now_s + self.limits.hold_timeout_s)
        self.ledger.arrive(one)
        end = End("failed", "internal")
        try:
            end = await self._carry(one, reply)
        except (asyncio.CancelledError, ConnectionError):
            end = End("failed", "gateway-stopped") if self.closing else End("cancelled", "client-gone")
            raise
        finally:
            self._close(one, end)

    def look_again(self) -> None:
        """Let those who are held choose again, the oldest first: a node, a pod or a table came or changed."""
        held, self._held = self._held, {}
        for waiting in held.values():
            if not waiting.done():
                waiting.set_result(None)

    def remind(self) -> None:
        """Say again which models are missed, and let their requests look at time and pods again."""
        now_s = self._clock.now_s()
        for count in self.ledger.models(now_s) if self._held else ():
            if count.held:
                self._wakes.missing(count.model, count.oldest_held_s)
        self.look_again()

    def _inadmissible(self, ask: Ask) -> Refusal | None:
        if ask.request in self.ledger.open:
            words = f"request id {ask.request!r} is in flight here: send another x-request-id, or none to get one"
            return Refusal(409, "duplicate_request_id", words, param="x-request-id")
        if len(self.ledger.open) >= self.limits.open_limit:
            words = f"{self.limits.open_limit} requests are open at this site, which is its limit: try again"
            return Refusal(429, "over_capacity", words, "rate_limit_error", retry_after_s=1.0)
        return None

    async def _carry(self, one: Open, reply: Reply) -> End:
        """Try tickets until the request has ended."""
        while True:
            now_s = self._clock.now_s()
            if now_s >= one.deadline_at_s:
                return await self._give_up(one, reply, now_s)
            pick = self._choose(one, now_s) if one.refusals < REFUSALS_AT_ONCE else None
            if pick is None:
                await self._hold(one, now_s)
                continue
            one.held_at_s = None
            tried = await self._try(one, pick.node, reply)
            if isinstance(tried, End):
                return tried
            if tried == "lost":
                if one.sent_again:
                    refusal = Refusal(502, "pod_lost", _lost_words(one), "server_error")
                    await reply.refuse(refusal, one)
                    return End("failed", "pod-lost")
                one.sent_again = True
            self.ledger.moved[tried] += 1

    def _choose(self, one: Open, now_s: float) -> Pick | None:
        """Return where the request goes; None if no node can serve it."""
        model = one.ask.model
        chosen = self._view.pick(model, now_s, (self._draw(), self._draw()))
        pick, table = chosen.pick, chosen.table
        if pick is None or pick.node not in self.keepers:
            return None
        if chosen.wait_s is not None and chosen.wait_s > WAIT_SHARE * self.limits.start_delay_s.get(model, 0.0):
            self._wakes.growing(model, chosen.wait_s)
        if one.propensity is None:
            one.propensity = min(1.0, max(0.0, pick.propensity))
            self.ledger.chosen[model, pick.node] += 1
            self._picks += 1
            if self._picks % self.limits.sample_one_in == 0:
                self.ledger.sample(_journaled(one, pick, 0 if table is None else table.generation, now_s))
        one.decision = "" if table is None else table.decision
        one.table_generation = 0 if table is None else table.generation
        return pick

    async def _hold(self, one: Open, now_s: float) -> None:
        """Wait until something changed or it is time to look again."""
        self.ledger.move(one, "held")
        if one.held_at_s is None:
            one.held_at_s = now_s
        if one.refusals < REFUSALS_AT_ONCE:
            self._wakes.missing(one.ask.model, now_s - one.held_at_s)
        one.refusals = 0
        waiting = self._held[one.ask.request] = asyncio.get_running_loop().create_future()
        try:
            await waiting
        finally:
            if self._held.get(one.ask.request) is waiting:
                del self._held[one.ask.request]

    async def _try(self, one: Open, node: str, reply: Reply) -> "End | Moved":
        """Offer one ticket to a node; return how the request ended or what became of the ticket."""
        one.attempt += 1
        ask = one.ask
        offer = Offer(
            ticket=Ticket(request=ask.request, attempt=one.attempt),
            site=self.limits.site,
            model=ask.model,
            path=ask.path,
            body_bytes=len(ask.body),
            deadline_at_s=one.deadline_at_s,
        )
        keeper = self.keepers[node]
        sent = self._view.sent(node, ask.model)
        self.ledger.move(one, "transfer")
        attempt = _Attempt(self, one, node, sent, reply)
        self.mover.offers[ask.request] = (node, offer)
        updates = keeper.offer(offer, ask.body)
        try:
            async for update in updates:
                ended = await attempt.take(update)
                if ended is not None:
                    return ended
            return await attempt.lost("it ended without a word")
        except KeeperUnavailable:
            self._view.lost(node)
            if attempt.begun:
                return await attempt.lost("its keeper is gone")
            return "lost" if await _started(keeper, offer) else "moved"
        finally:
            del self.mover.offers[ask.request]
            self._view.settled(sent)
            await updates.aclose()

    async def _give_up(self, one: Open, reply: Reply, now_s: float) -> End:
        """No pod had it in time: say how far the nearest one is."""
        model = one.ask.model
        stage, ready_in_s = self._view.stage(model, now_s)
        eta_s = ready_in_s if ready_in_s is not None else self.limits.start_delay_s.get(model, 0.0)
        where = {"ready": "its pods are busy", "starting": f"a pod starts and is expected in {eta_s:.0f} s"}
        words = (
            f"model {model!r} could not be had within {self.limits.hold_timeout_s:g} s: "
            f"{where.get(stage, f'no pod of it is up, a start takes about {eta_s:.0f} s')}"
        )
        code = "over_capacity" if stage == "ready" else "model_not_ready"
        refusal = Refusal(503, code, words, "server_error", retry_after_s=max(1.0, eta_s), stage=stage)
        await reply.refuse(refusal, one)
        return End("refused", "hold-timeout")

    def view_refused(self, node: str, model: str) -> None:
        """Note that the node does not take this model now."""
        self._view.refused(node, model)

    def acknowledged(self, sent: Dispatch | None) -> None:
        """Note that the keeper has the ticket."""
        self._view.acknowledged(sent)

    def answered(self, sent: Dispatch | None) -> None:
        """Note that the answer has begun."""
        self._view.answered(sent)

    def now_s(self) -> float:
        """Return the domain's instant."""
        return self._clock.now_s()

    def _close(self, one: Open, end: End) -> None:
        """Write the outcome."""
        now_s = self._clock.now_s()
        until_s = now_s if one.granted_at_s is None else one.granted_at_s
        outcome = Outcome(
            request=one.ask.request,
            attempts=one.tried,
            model=one.ask.model,
            site=self.limits.site,
            node=one.node,
            status=end.status,
            reason=end.reason,
            arrived_at_s=one.arrived_at_s,
            ended_at_s=now_s,
            wait_s=max(0.0, until_s - one.arrived_at_s),
            service_s=None if one.granted_at_s is None else max(0.0, now_s - one.granted_at_s),
            response_bytes=end.response_bytes,
            table_generation=one.table_generation,
            propensity=one.propensity,
            queued_at_s=one.queued_at_s,
        )
        self.ledger.end(one, outcome)


class _Attempt:
    """One ticket's updates, passed on to the client as they come."""

    __slots__ = ("_head", "_ingress", "_node", "_one", "_pieces", "_received", "_reply", "_sent", "begun")

    def __init__(self, ingress: Ingress, one: Open, node: str, sent: Dispatch | None, reply: Reply) -> None:
        self._ingress = ingress
        self._one = one
        self._node = node
        self._sent = sent
        self._reply = reply
        self._head: Head | None = None
        self._pieces: list[bytes] = []
        self._received = 0
        self.begun = False
        """The client has seen a byte."""

    async def take(self, update: Update | bytes) -> "End | Moved | None":
        """Act on one update; return the end of the request or of the ticket, None while it goes on."""
        one, ingress = self._one, self._ingress
        match update:
            case bytes():
                await self._pass_on(update)
                return None
            case Head():
                ingress.answered(self._sent)
                self._head = update
                return None
            case Granted():
                ingress.acknowledged(self._sent)
                one.node, one.granted_at_s = self._node, ingress.now_s()
                if one.place == "transfer":
                    one.tried, one.queued_at_s = one.tried + 1, one.granted_at_s
                ingress.ledger.move(one, "running")
                return None
            case Queued():
                ingress.acknowledged(self._sent)
                one.tried, one.queued_at_s = one.tried + 1, ingress.now_s()
                one.refusals = 0
                ingress.ledger.move(one, "queued")
                return None
            case Done():
                return await self._done()
            case Failed():
                return await self.lost(update.reason)
            case Refused():
                one.refusals += 1
                ingress.view_refused(self._node, one.ask.model)
                return "moved"
            case Returned() if self._head is not None:
                return await self.lost(f"it was given back ({update.reason}) after it had begun")
            case Returned():
                one.node = one.granted_at_s = None
                match update.reason:
                    case "withdrawn":
                        return "price"
                    case "deadline":
                        one.deadline_at_s = min(one.deadline_at_s, ingress.now_s())
                    case _:
                        ingress.view_refused(self._node, one.ask.model)
                return "moved"
            case _:
                assert_never(update)

    async def lost(self, why: str) -> "End | Literal['lost']":
        """Act on a broken answer: show it if the client has seen a byte of it."""
        self._one.granted_at_s = None if not self.begun else self._one.granted_at_s
        if not self.begun:
            self._ingress.view_refused(self._node, self._one.ask.model)
            return "lost"
        words = f"the answer of node {self._node!r} broke off after {self._received} bytes: {why}"
        await self._reply.break_off(Refusal(502, "pod_lost", words, "server_error"))
        return End("failed", "pod-lost", self._received)

    async def _pass_on(self, piece: bytes) -> None:
        self._received += len(piece)
        head = self._head
        if head is None or not head.content_type.startswith(STREAM_TYPE):
            self._pieces.append(piece)
            return
        if not self.begun:
            self.begun = True
            await self._reply.begin(self._one, head.status, head.content_type)
        await self._reply.write(piece)

    async def _done(self) -> "End | Literal['lost']":
        head = self._head
        if head is None:
            return "lost"
        if self.begun:
            await self._reply.finish()
        else:
            await self._reply.whole(self._one, head.status, head.content_type, b"".join(self._pieces))
        if head.status >= 400:
            return End("failed", f"pod-status-{head.status}", self._received)
        return End("finished", "", self._received)


async def _started(keeper: KeeperPort, offer: Offer) -> bool:
    """Return whether a ticket that fell silent may have been started: it was, unless its keeper says otherwise."""
    try:
        return (await keeper.withdraw(offer)).state == "started"
    except KeeperUnavailable:
        return True


def _journaled(one: Open, pick: Pick, table_generation: int, now_s: float) -> Choice:
    return Choice(
        request=one.ask.request,
        at_s=now_s,
        model=one.ask.model,
        node=pick.node,
        table_generation=table_generation,
        propensity=one.propensity or 0.0,
        explored=pick.explored,
        prices_s=pick.journaled(),
    )


def _lost_words(one: Open) -> str:
    return (
        f"request {one.ask.request!r} was started twice and lost twice, last on node {one.node!r}; "
        "it is not started a third time: send it again if that is safe"
    )
