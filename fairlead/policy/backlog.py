"""What the pods of a node still have to do, as its keeper counts it, and how fast the node turns out to be.

Time-slicing (CONTROL §2 rule 6, §4): k busy pods on a node of speed v get v/k each, and the requests that run in one
pod share its part evenly. Each pod carries one running sum, the work that *each* of its running requests has been given
so far; a request's own share is the difference between now and its start, so that an event costs O(pods).

All instants are domain seconds and come in as arguments; they may stand still but never run backwards (an earlier
instant counts as the last one seen).
"""

import math
from dataclasses import dataclass, field

LEAST_LEFT_RATIO = 0.1
"""Running work counts max(b − attained, 0.1 b) (CONTROL §2): what has outlived its mean is nearly done, not done."""


@dataclass(frozen=True, slots=True)
class SpeedRule:
    """How v follows the observed speed: v ← v·clip(observed/v, low, high)^gain (CONTROL §2)."""

    gain: float = 0.15
    clip_low: float = 0.4
    clip_high: float = 2.5


def learned(speed: float, observed_ratio: float, rule: SpeedRule) -> float:
    """Return v after a completion that ran `observed_ratio` times as fast as v foretold."""
    return speed * math.pow(min(max(observed_ratio, rule.clip_low), rule.clip_high), rule.gain)


@dataclass(frozen=True, slots=True)
class PodBacklog:
    """One pod's account at an instant."""

    work_s: float
    """W: mean work waiting and running, seconds of a node of speed 1."""
    count: int
    """K: waiting and running."""
    running: int


@dataclass(slots=True)
class _Pod:
    work_s: float
    waiting: int = 0
    given_s: float = 0.0
    """What each running request of this pod has been given since the pod was declared."""
    running: dict[int, float] = field(default_factory=dict)
    """`given_s` at the start of each running request."""


class Backlog:
    """The account of one node; a pod is known by a key that differs for each start of it."""

    def __init__(self, speed: float, now_s: float, rule: SpeedRule | None = None, *, pausing: bool = False) -> None:
        """Begin at the declared `speed`, seconds of work a second; `pausing`: one pod runs at a time."""
        self.speed = speed
        """v: learned from completions."""
        self._rule = rule or SpeedRule()
        self._at_s = now_s
        self._pausing = pausing
        self._pods: dict[str, _Pod] = {}

    def declare(self, pod: str, work_s: float) -> None:
        """Make a pod known, or change the mean work b of its requests."""
        known = self._pods.get(pod)
        if known is None:
            self._pods[pod] = _Pod(work_s)
        else:
            known.work_s = work_s

    def drop(self, pod: str, now_s: float) -> None:
        """Forget a pod and all that it had."""
        self._advance(now_s)
        self._pods.pop(pod, None)

    def enqueue(self, pod: str) -> None:
        """Count one request more that waits."""
        self._pods[pod].waiting += 1

    def leave(self, pod: str) -> None:
        """Count one request less that waits: it starts, or was given back."""
        self._pods[pod].waiting -= 1

    def start(self, pod: str, ticket: int, now_s: float, attained_s: float = 0.0) -> None:
        """Note that the pod has a request from now on, which was given some work before."""
        self._advance(now_s)
        one = self._pods[pod]
        one.running[ticket] = one.given_s - attained_s

    def end(self, pod: str, ticket: int, now_s: float, *, finished: bool) -> None:
        """Note that the pod no longer has a request; a finished one teaches how fast the node is."""
        self._advance(now_s)
        one = self._pods.get(pod)
        began_s = one.running.pop(ticket, None) if one is not None else None
        if one is None or began_s is None or not finished:
            return
        attained_s = one.given_s - began_s
        ratio = one.work_s / attained_s if attained_s > 0 else self._rule.clip_high
        self.speed = learned(self.speed, ratio, self._rule)

    def service_s(self, pod: str) -> float:
        """Return how long one more request of a pod would be served if those who are busy now stayed so."""
        others = sum(1 for key, one in self._pods.items() if one.running and key != pod)
        one = self._pods[pod]
        return one.work_s * (others + 1) * (len(one.running) + 1) / self.speed

    def attained_s(self, pod: str, ticket: int, now_s: float) -> float:
        """Return the work that a running request has been given."""
        self._advance(now_s)
        one = self._pods[pod]
        return one.given_s - one.running[ticket]

    def account(self, pod: str, now_s: float) -> PodBacklog:
        """Return W and K of a pod."""
        self._advance(now_s)
        one = self._pods[pod]
        b_s, least_s, given_s = one.work_s, LEAST_LEFT_RATIO * one.work_s, one.given_s
        left_s = sum(max(b_s - (given_s - began_s), least_s) for began_s in one.running.values())
        return PodBacklog(b_s * one.waiting + left_s, one.waiting + len(one.running), len(one.running))

    def runner(self) -> str | None:
        """Return the pod that runs while the others pause: the one with a request of least work left; None if idle.

        Who runs has ever less work left, so that this changes only when a request comes or goes. Of equals the one
        that was declared first.
        """
        busy = [pod for pod, one in self._pods.items() if one.running]
        return min(busy, key=self._least_left_s, default=None)

    def _least_left_s(self, pod: str) -> float:
        one = self._pods[pod]
        left_s = one.work_s - (one.given_s - min(one.running.values()))
        return max(left_s, LEAST_LEFT_RATIO * one.work_s)

    def _advance(self, now_s: float) -> None:
        for_s = now_s - self._at_s
        if for_s <= 0:
            return
        self._at_s = now_s
        busy = [p for p in self._pods.values() if p.running]
        runner = self.runner() if self._pausing else None
        if runner is not None:
            busy = [self._pods[runner]]
        for one in busy:
            one.given_s += for_s * self.speed / (len(busy) * len(one.running))
