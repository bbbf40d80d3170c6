"""The readable reference engine: one event after the other, in the order (time, priority, sequence).

A request goes as it does live: from its client to its ingress, which chooses a pod by price or holds it; as a ticket to
a node, where it waits for its pod; given back if the pod drains or refuses, sent again from its beginning if lost.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, assert_never

from fairlead.contracts.decisions import SlotDecision, SlotInput
from fairlead.contracts.events import Wake
from fairlead.contracts.plans import EpochPlan, NodePlacement, Placement
from fairlead.policy.periods import Agenda, Periods
from fairlead.policy.reconcile import wakes_at_s
from fairlead.twin.agent import STOP_S, Effects, finished_start, finished_stop, freed, look, started
from fairlead.twin.calendar import (
    Answered,
    Attended,
    Calendar,
    Ended,
    Entered,
    Event,
    Expired,
    Gone,
    Mishap,
    NodeBack,
    NodeLost,
    Patience,
    Reached,
    Ready,
    Returned,
    Rung,
    Sent,
    SpeedTurned,
    Ticked,
)
from fairlead.twin.controller import Controller
from fairlead.twin.flow import Flow
from fairlead.twin.node import Node
from fairlead.twin.requests import Arrival, Books, Network, Place, Request
from fairlead.twin.rules import Readings, Rules
from fairlead.twin.site import Site
from fairlead.twin.talking import Spoken
from fairlead.twin.views import View


class Engine:
    """One run."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        views: Mapping[str, View],
        network: Network,
        demand: Iterable[Arrival],
        rules: Rules,
        controller: Controller | None = None,
        begins_at_s: float = 0.0,
    ) -> None:
        """Begin at an instant. Without a controller nothing is decided: pods stay as they were put."""
        self.starts: list[float] = []
        """When pods were started, those of the beginning left out."""
        self.stops: list[float] = []
        """When pods were stopped."""
        self.nodes = nodes
        settings = rules.settings
        self.sites = {name: Site(name, view, settings.refresh_s, self._told) for name, view in views.items()}
        self._rules = rules
        self._controller = controller
        self._agenda = Agenda(Periods(rules.origin_s, settings.slot_s), settings.refresh_s)
        self._calendar = Calendar()
        self._flow = Flow(nodes, self.sites, network, demand, rules, self._calendar)
        self._flow.pass_to(begins_at_s)
        self.readings = Readings()
        """What the slot agent knows."""
        self._rung = False

    # --- from outside

    @property
    def now_s(self) -> float:
        """Return the instant of the last event."""
        return self._flow.now_s

    @property
    def books(self) -> Books:
        """Return where every request is."""
        return self._flow.books

    @property
    def decisions(self) -> int:
        """Return how many decisions were put in force."""
        return 0 if self._controller is None else self._controller.decisions

    @property
    def spoken(self) -> Sequence[Spoken]:
        """Return the dialogues with a language model so far."""
        talks = None if self._controller is None else self._controller.talks
        return () if talks is None else talks.spoken

    @property
    def decision(self) -> SlotDecision | None:
        """Return the last decision that put something in force."""
        return None if self._controller is None else self._controller.decision

    @property
    def ended(self) -> Sequence[Request]:
        """Return the requests that have ended, in that order, without those that were taken."""
        return self._flow.ended

    def take_ended(self) -> list[Request]:
        """Return the requests that have ended since the last call, in that order, and keep them no longer."""
        taken, self._flow.ended = self._flow.ended, []
        return taken

    def happen(self, at_s: float, mishap: Mishap) -> None:
        """Let something happen to a node at an instant that has not passed."""
        self._calendar.enter(at_s, mishap)

    def stand(self, node: str, model: str) -> None:
        """Put a ready pod on a node before anything happens."""
        there = self.nodes[node]
        there.open(started(there, model, 0.0))
        finished_start(there, model, 0.0)

    def order(self, node: str, placement: Placement) -> None:
        """Let the agent of a living node follow a placement from now on."""
        self.nodes[node].placement = placement
        self._steer(self.nodes[node])

    def impose(self, nodes: tuple[NodePlacement, ...]) -> None:
        """Put a placement in force that the slot agent did not decide, and that it goes on from."""
        if self._controller is None:
            raise AssertionError("nothing is decided in this run: order nodes one by one")
        placement = self._controller.imposed(nodes, self.now_s)
        for name, node in self.nodes.items():
            if node.up:
                self.order(name, placement)

    def begin(self) -> None:
        """Put the first decision in force, its pods ready, and let slots and refreshes begin."""
        if self._controller is None:
            return
        self._report()
        self._read()
        decision = self._controller.decide("slot", 0.0, self.readings.nodes, self.readings.sites)
        for part in decision.placement.nodes if decision is not None and decision.placement is not None else ():
            for model in part.awake:
                self.stand(part.node, model)
        self._apply(decision)
        self._report()
        self._calendar.enter(self._agenda.next_tick_s(0.0), Ticked())

    def resume(self, present: Sequence[tuple[Request, Place, float]], *, slot_begins: bool) -> None:
        """Go on from now with the pods that nodes have and these requests, in the order of their numbers.

        Each is held, queued or running, with so much work left. The first decision comes at once.
        """
        for request, place, left_s in present:
            self._flow.go_on(request, place, left_s)
        for name, node in self.nodes.items():
            for model, pod in node.pods.items():
                if pod.phase == "starting":
                    assert pod.ready_at_s is not None
                    self._calendar.enter(pod.ready_at_s, Ready(name, model, pod.instance))
                elif pod.phase == "stopping":
                    self._calendar.enter(max(self.now_s, pod.since_at_s + STOP_S), Gone(name, model, pod.instance))
                elif pod.phase == "ready":
                    self._flow.pump(node, model)
                elif pod.phase == "draining":
                    freed(node, model)
            self._flow.foretell(node)
        self._report()
        self._read()
        if self._controller is not None:
            trigger: Literal["slot", "event"] = "slot" if slot_begins else "event"
            self._apply(self._controller.anew(trigger, self.now_s, self.readings.nodes, self.readings.sites))
        self._calendar.enter(self._agenda.next_tick_s(self.now_s), Ticked())

    def asked(self) -> SlotInput:
        """Return what an event's decision would be asked now."""
        if self._controller is None:
            raise AssertionError("nothing is decided in this run")
        readings = Readings()
        readings.take(self.nodes, self.sites, self.now_s)
        return self._controller.asked(self.now_s, readings.nodes, readings.sites)

    def follow(self, plan: EpochPlan | None) -> None:
        """Have another plan from now on, and decide by it once all that happens now has happened."""
        if self._controller is None:
            raise AssertionError("nothing is decided in this run")
        self._controller.plan = plan
        self._calendar.enter(self.now_s, Rung())

    def run(self, until_s: float = math.inf) -> None:
        """Let happen what happens before `until_s`, or until nothing is left to happen."""
        while (at_s := self._calendar.next_at_s()) is not None and at_s < until_s:
            self.step()
        if until_s < math.inf:
            self._flow.pass_to(until_s)

    def step(self) -> bool:
        """Let one event happen; False if there is none."""
        if self._calendar.next_at_s() is None:
            return False
        at_s, event = self._calendar.take()
        self._flow.pass_to(at_s)
        self._act(event)
        return True

    def check(self) -> None:
        """Raise `AssertionError` where a request is not in one place or a node has more pods than memory."""
        self._flow.check()
        for name, node in self.nodes.items():
            if node.claimed_bytes > node.spec.memory_bytes:
                raise AssertionError(f"{name} has {node.spec.memory_bytes} bytes, pods claim {node.claimed_bytes}")
            if node.hosted_bytes > node.spec.host_memory_bytes:
                raise AssertionError(
                    f"{name} has {node.spec.host_memory_bytes} host bytes, {node.hosted_bytes} claimed"
                )

    def _act(self, event: Event) -> None:
        match event:
            case Ended():
                node = self._flow.end(event)
                if node is not None:
                    self._steer(node)
            case Answered(number):
                self._flow.close(self.books.open[number], "finished")
            case Reached(number):
                self._flow.reach(number)
            case Returned(number):
                self._flow.carry(self.books.open[number])
            case Sent():
                self._flow.send()
            case Entered(number):
                self._flow.enter(number)
            case Expired(number):
                self._flow.expire(number)
            case Ready() | Gone():
                self._turn_pod(event)
            case NodeLost() | NodeBack() | SpeedTurned():
                self._befall(event)
            case Patience(name):
                self._wait_no_longer(self.nodes[name])
            case Ticked():
                self._tick()
            case Attended():
                self._attend()
            case Rung():
                self._rung = False
                self._decide_event(forced=True)
            case _:
                assert_never(event)

    # --- nodes

    def _turn_pod(self, event: Ready | Gone) -> None:
        node = self.nodes[event.node]
        pod = node.pods.get(event.model)
        if pod is None or pod.instance != event.instance:
            return
        if isinstance(event, Gone):
            finished_stop(node, event.model, self.now_s)
            self._steer(node)
        elif pod.phase == "starting":
            finished_start(node, event.model, self.now_s)
            self._flow.pump(node, event.model)
            self._flow.touch(pods=True)
            self._flow.have_room()

    def _steer(self, node: Node) -> None:
        """Let the agent of a living node do what its placement says."""
        effects = look(node, self.now_s, self._rules.limits)
        self._follow_up(node, effects)
        at_s = wakes_at_s(node.placement, node.spec.id, node.pods, self.now_s, self._rules.limits)
        if at_s is not None and at_s != node.looks_at_s:
            node.looks_at_s = at_s
            self._calendar.enter(at_s, Patience(node.spec.id))

    def _follow_up(self, node: Node, effects: Effects) -> None:
        name = node.spec.id
        for pod in effects.starting:
            self.starts.append(self.now_s)
            assert pod.ready_at_s is not None
            self._calendar.enter(pod.ready_at_s, Ready(name, pod.model, pod.instance))
        for pod in effects.stopping:
            self.stops.append(self.now_s)
            self._calendar.enter(self.now_s + STOP_S, Gone(name, pod.model, pod.instance))
        for number in effects.returned:
            self._flow.give_back(self.books.open[number])
        for number in effects.lost:
            self._flow.lose(self.books.open[number])
        if effects.changed:
            self._flow.foretell(node)
            self._flow.touch(pods=True)

    def _wait_no_longer(self, node: Node) -> None:
        if node.looks_at_s == self.now_s:
            node.looks_at_s = None
            self._steer(node)

    def _befall(self, mishap: Mishap) -> None:
        node = self.nodes[mishap.node]
        match mishap:
            case NodeLost() if node.up:
                self._die(node)
            case NodeBack() if not node.up:
                node.come_back(self.now_s)
                node.placement = self._controller.placement if self._controller is not None else None
                self._steer(node)
            case SpeedTurned(_, speed):
                node.turn(speed, self.now_s)
                self._flow.foretell(node)
            case _:
                pass  # a dead node cannot die, a living one does not come back

    def _die(self, node: Node) -> None:
        """Lose a node; the ingresses of its requests notice at once, others when they try it or hear nothing of it."""
        if self._rules.fresh:
            self.readings.take_node(node, self.now_s)
        ran, waited = ([self.books.open[number] for number in numbers] for numbers in node.die(self.now_s))
        for name in sorted({request.arrival.site for request in (*ran, *waited)}):
            self.sites[name].view.lost(node.spec.id, self.now_s)
        for request in waited:
            self._flow.carry(request)
        for request in ran:
            self._flow.lose(request)
        self._flow.touch(pods=True)

    # --- reports and decisions

    def _told(self, wake: Wake) -> None:
        if self._controller is not None and self._controller.told(wake, self.now_s) and not self._rung:
            self._rung = True
            self._calendar.enter(self.now_s, Rung())

    def _report(self) -> None:
        """Let nodes and ingresses report where nobody sees the state of now, and ingresses hear of the nodes."""
        if self._rules.fresh:
            return
        self.readings.take(self.nodes, self.sites, self.now_s)
        for site in self.sites.values():
            heard = [site.view.heard(one) for one in self.readings.nodes if one.at_s == self.now_s]
            if any(heard) and site.held:
                self._flow.look_again(site)

    def _read(self) -> None:
        """Let the slot agent read the state of now, where that is what it reads."""
        if self._rules.fresh:
            self.readings.take(self.nodes, self.sites, self.now_s)

    def _tick(self) -> None:
        controller = self._controller
        if controller is None:
            return
        self._report()
        for site in self.sites.values():
            site.remind(self.now_s)
            self._flow.look_again(site)
        slots = self._agenda.slots
        if slots.begins_at_s(slots.at(self.now_s)) == self.now_s:
            self._read()
            self._apply(controller.decide("slot", self.now_s, self.readings.nodes, self.readings.sites))
        else:
            self._decide_event(forced=False)
        self._flow.take_turn()
        self._calendar.enter(self._agenda.next_tick_s(self.now_s), Ticked())

    def _decide_event(self, *, forced: bool) -> None:
        if self._controller is not None:
            self._read()
            nodes, sites = self.readings.nodes, self.readings.sites
            self._apply(self._controller.decide("event", self.now_s, nodes, sites, forced=forced))

    def _attend(self) -> None:
        if self._controller is not None:
            self._read()
            self._apply(self._controller.attend(self.now_s, self.readings.nodes, self.readings.sites))

    def _apply(self, decision: SlotDecision | None) -> None:
        """Put a decision in force: ingresses have the table, agents the placement, at once."""
        if self._controller is not None and self._controller.talks is not None:
            for at_s in self._controller.talks.appointments():
                self._calendar.enter(at_s, Attended())
        if decision is None:
            return
        if decision.table is not None:
            for site in self.sites.values():
                site.view.steer_by(decision.table)
        if decision.placement is not None:
            for name, node in self.nodes.items():
                if node.up:
                    self.order(name, decision.placement)
        for site in self.sites.values():
            self._flow.look_again(site)
