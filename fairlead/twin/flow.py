"""The way of requests: sent, entered, dispatched or held, admitted, served, answered; given back, lost, given up."""

import math
from collections.abc import Iterable, Iterator, Mapping

from fairlead.policy.moving import Waiting
from fairlead.policy.steering import REFUSALS_AT_ONCE, WAIT_SHARE
from fairlead.policy.streams import mixed, seeded, unit
from fairlead.twin.agent import freed
from fairlead.twin.calendar import Answered, Calendar, Ended, Entered, Expired, Reached, Returned, Sent
from fairlead.twin.node import Node
from fairlead.twin.requests import Arrival, Books, Fate, Network, Place, Request
from fairlead.twin.rules import Rules
from fairlead.twin.site import Site

CHOICE_STREAM = 3
"""Purpose of the stream that ingresses draw from: one pair of numbers for each ticket, whatever was drawn before."""

MOVE_STREAM = 4
"""Purpose of the stream that says where a waiting ticket is priced: one number for each ticket and look."""


class Flow:
    """All requests of a run; what happens to them later is entered into the calendar."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        sites: Mapping[str, Site],
        network: Network,
        demand: Iterable[Arrival],
        rules: Rules,
        calendar: Calendar,
    ) -> None:
        """Await the first request of `demand`, which is in order of time."""
        self.now_s = 0.0
        self.books = Books()
        self.ended: list[Request] = []
        """In order of their ends, since they were taken last."""
        self.nodes = nodes
        self.sites = sites
        self._network = network
        self._demand: Iterator[Arrival] = iter(demand)
        self._next: Arrival | None = None
        self._arrivals = 0
        self._seed = rules.seed
        self._hold_timeout_s = rules.hold_timeout_s
        self._fresh = rules.fresh
        self._moving = rules.settings.moving
        self._looks = 0
        """How often tickets of an ingress were looked at to be moved."""
        self._move_saves_s = rules.settings.move_saves_s
        self._calendar = calendar
        self._await_arrival()

    def pass_to(self, now_s: float) -> None:
        """Let time pass."""
        self.books.pass_to(now_s)
        self.now_s = now_s

    def check(self) -> None:
        """Raise `AssertionError` where a request is not in exactly one place."""
        queues = [queue for node in self.nodes.values() for queue in node.queues.values()]
        self.books.check(
            queued=sum(len(queue.waiting) for queue in queues),
            running=sum(len(queue.running) for queue in queues),
            held=sum(len(kept) for site in self.sites.values() for kept in site.held.values()),
        )

    def go_on(self, request: Request, place: Place, left_s: float) -> None:
        """Have a request that came before this instant: held, in the queue of its pod, or running with work left."""
        model, number = request.arrival.model, request.number
        self._arrivals = number + 1
        self.books.arrive(request)
        if request.expires_at_s < math.inf:
            self._calendar.enter(request.expires_at_s, Expired(number))
        if place == "held":
            self._site_of(request).hold(request, request.entered_at_s)
        elif place == "queued":
            self.nodes[request.node].admit(number, model, request.arrival.work_s, request.entered_at_s)
        else:
            self.nodes[request.node].go_on(number, model, left_s, self.now_s)
        self.books.move(request, place)

    def _await_arrival(self) -> None:
        self._next = next(self._demand, None)
        if self._next is not None:
            self._calendar.enter(self._next.at_s, Sent())

    def send(self) -> None:
        """Let the client of the next request send it."""
        arrival = self._next
        if arrival is None:
            raise AssertionError("an arrival was entered that the demand does not have")
        request = Request(self._arrivals, arrival)
        self._arrivals += 1
        self.books.arrive(request)
        self._calendar.enter(self.now_s + self._network.up_s[arrival.model], Entered(request.number))
        self._await_arrival()

    def enter(self, number: int) -> None:
        """Let a request come to its ingress."""
        request = self.books.open[number]
        self._site_of(request).arrive(request.arrival.model, self.now_s)
        request.entered_at_s = self.now_s
        request.expires_at_s = self.now_s + self._hold_timeout_s
        if request.expires_at_s < math.inf:
            self._calendar.enter(request.expires_at_s, Expired(request.number))
        self.carry(request)

    def carry(self, request: Request) -> None:
        """Send a ticket for a request, hold it, or give it up."""
        if self.now_s >= request.expires_at_s:
            self.close(request, "refused")
        elif not self._dispatch(request):
            site = self._site_of(request)
            site.hold(request, self.now_s)
            if request.refusals < REFUSALS_AT_ONCE:
                site.say(request.arrival.model, "missing", self.now_s)
            request.refusals = 0
            self.books.move(request, "held")

    def _dispatch(self, request: Request) -> bool:
        """Send a ticket for a request to the pod that its ingress chooses; False if it chooses none."""
        if request.refusals >= REFUSALS_AT_ONCE:
            return False
        site, model = self._site_of(request), request.arrival.model
        draw = seeded(self._seed, CHOICE_STREAM, request.number, request.attempts)
        chosen = site.view.pick(model, self.now_s, (unit(draw), unit(mixed(draw))))
        if chosen.pick is None:
            return False
        request.node = chosen.pick.node
        request.attempts += 1
        start_delay_s = self.nodes[request.node].models[model].start_delay_s
        if chosen.wait_s is not None and chosen.wait_s > WAIT_SHARE * start_delay_s:
            site.say(model, "wait", self.now_s)
        site.view.sent(request.number, request.node, model)
        self.books.move(request, "transfer")
        self._calendar.enter(self.now_s + self._far_s(request), Reached(request.number))
        return True

    def reach(self, number: int) -> None:
        """Let a ticket come to its node."""
        request = self.books.open[number]
        node, model, view = self.nodes[request.node], request.arrival.model, self._site_of(request).view
        if not node.up:
            view.lost(request.node, self.now_s)
            view.refused(request.number, request.node, model)
            self.carry(request)
        elif node.admit(request.number, model, request.arrival.work_s, request.entered_at_s):
            request.refusals = 0
            view.acknowledged(request.number, self.now_s)
            self.books.move(request, "queued")
            self.pump(node, model)
            if self.now_s >= request.expires_at_s:
                self.expire(number)
            self.touch(pods=False)
        else:
            request.refusals += 1
            self.give_back(request)

    def give_back(self, request: Request) -> None:
        """Let a ticket that never started go back to its ingress."""
        self._site_of(request).view.refused(request.number, request.node, request.arrival.model)
        self.books.move(request, "transfer")
        self._calendar.enter(self.now_s + self._far_s(request), Returned(request.number))

    def pump(self, node: Node, model: str) -> None:
        """Begin to serve who has a place, and foretell the next end."""
        for number in node.pump(model, self.now_s):
            self.books.move(self.books.open[number], "running")
        self.foretell(node)

    def foretell(self, node: Node) -> None:
        """Enter who ends next on a node, if that may have changed."""
        if node.version == node.foretold:
            return
        node.foretold = node.version
        due = node.due()
        if due is not None:
            self._calendar.enter(due.at_s, Ended(node.spec.id, due.model, due.request, node.version))

    def end(self, event: Ended) -> Node | None:
        """Let a pod have done a request; return the node if its agent is to look, because that pod drains."""
        node = self.nodes[event.node]
        if event.version != node.version:
            return None
        node.end(event.request, event.model, self.now_s)
        request = self.books.open[event.request]
        self._site_of(request).view.ended(event.request)
        self.books.move(request, "transfer")
        back_s = self._far_s(request) + self._network.down_s[event.model]
        self._calendar.enter(self.now_s + back_s, Answered(event.request))
        self.pump(node, event.model)
        self.touch(pods=False)
        self.have_room()
        return node if freed(node, event.model) else None

    def close(self, request: Request, fate: Fate) -> None:
        """End a request."""
        self.books.end(request, fate, self.now_s)
        self._site_of(request).view.ended(request.number)
        self.ended.append(request)

    def lose(self, request: Request) -> None:
        """Send a request that was being served again from the beginning, once."""
        if request.sent_again:
            self.close(request, "failed")
            return
        request.sent_again = True
        self._site_of(request).view.ended(request.number)
        self.books.move(request, "transfer")
        self.carry(request)

    def expire(self, number: int) -> None:
        """Give up a request that has waited for as long as it may, if it still waits."""
        request = self.books.open.get(number)
        if request is None or request.place in ("running", "transfer"):
            return  # what is under way is looked at when it comes back
        if request.place == "held":
            self._site_of(request).release(request)
        else:
            self.nodes[request.node].withdraw(number, request.arrival.model)
        self.close(request, "refused")

    def look_again(self, site: Site) -> None:
        """Let those who are held choose again, the oldest first; one that finds none stands for its model."""
        left = set(site.waiting())
        while left:
            model = min(left, key=lambda one: next(iter(site.held[one])))
            request = next(iter(site.held[model].values()))
            if not self._dispatch(request):
                left.discard(model)
                continue
            site.release(request)
            if model not in site.held:
                left.discard(model)

    def have_room(self) -> None:
        """Let waiting tickets move now that a node has room, where ingresses see that; each sees who went before it."""
        if self._moving and self._fresh:
            for site in self.sites.values():
                self._move_waiting(site)

    def take_turn(self) -> None:
        """Let the tickets of one ingress move after a report, of the next one at the next.

        All have heard the same: if all acted on it, all would send to where there is room for one's tickets.
        """
        if self._moving and not self._fresh:
            self._move_waiting(list(self.sites.values())[self._looks % len(self.sites)])

    def _move_waiting(self, site: Site) -> None:
        """Take back the tickets of an ingress that are better off elsewhere; once they are back they choose again.

        A ticket is taken out at once, and is back after a round trip.
        """
        self._looks += 1
        queued = [one for one in self.books.open.values() if one.place == "queued" and one.arrival.site == site.name]
        if not queued:
            return
        waiting = [Waiting(one.number, one.arrival.model, one.node, self._move_draw(one)) for one in queued]
        for move in site.view.moves(waiting, self.now_s, self._move_saves_s):
            request = self.books.open[move.ticket]
            self.nodes[request.node].withdraw(request.number, request.arrival.model)
            site.view.withdrawn(request.number, request.node, request.arrival.model)
            self.books.move(request, "transfer")
            self._calendar.enter(self.now_s + 2.0 * self._far_s(request), Returned(request.number))

    def _move_draw(self, request: Request) -> float:
        return unit(seeded(self._seed, MOVE_STREAM, request.number, self._looks))

    def _site_of(self, request: Request) -> Site:
        return self.sites[request.arrival.site]

    def _far_s(self, request: Request) -> float:
        return self._network.between_s[request.arrival.site][request.node]

    def touch(self, *, pods: bool) -> None:
        """Let ingresses look again that see that a node has changed."""
        for site in self.sites.values():
            if site.held and site.view.touched(pods):
                self.look_again(site)
