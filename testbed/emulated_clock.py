"""The compute of an emulated node: busy pods share it in equal time slices, exactly, event by event (CONTROL §4).

With k busy pods each pod gets v/k, split evenly among the requests that it serves at the same time. Nothing is stepped:
the clock computes when the next mark of any request is reached and jumps from one such instant to the next. Work is in
seconds of a node of speed 1, instants in seconds of one clock, `speed` in work done in a second of that clock.
"""

import math
from dataclasses import dataclass, field

CLOSE_S = 1e-9
"""Work nearer to a mark than this has reached it: below the resolution of the system's clocks."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A request reached one of its marks."""

    pod: str
    request: int
    mark: int
    """Index of the mark."""
    last: bool
    """Nothing of the request is left."""
    at_s: float


@dataclass(slots=True)
class _Running:
    marks: tuple[float, ...]
    done_s: float = 0.0
    next_mark: int = 0


@dataclass(slots=True)
class SharedClock:
    """Time slices of one node."""

    speed: float
    now_s: float
    """Up to where the work has been accounted."""
    _pods: dict[str, dict[int, _Running]] = field(default_factory=dict)

    def begin(self, pod: str, request: int, marks: tuple[float, ...], at_s: float) -> tuple[Reached, ...]:
        """Begin a request whose marks are rising amounts of work; return what was reached up to `at_s`.

        An instant before `now_s` counts as `now_s`: the shares handed out since cannot be taken back.
        """
        reached = self.advance(at_s)
        self._pods.setdefault(pod, {})[request] = _Running(marks)
        return reached

    def cancel(self, pod: str, request: int, at_s: float) -> tuple[Reached, ...]:
        """Take a request out, finished or not; return what was reached up to `at_s`."""
        reached = self.advance(at_s)
        running = self._pods.get(pod)
        if running is not None:
            running.pop(request, None)
            if not running:
                del self._pods[pod]
        return reached

    def remove(self, pod: str, at_s: float) -> tuple[Reached, ...]:
        """Take out all that a pod runs; return what was reached up to `at_s`."""
        reached = self.advance(at_s)
        self._pods.pop(pod, None)
        return reached

    def next_at_s(self) -> float:
        """Return when the next mark is reached if nothing changes; infinity if nothing runs."""
        return self.now_s + self._next_in_s()

    def advance(self, to_s: float) -> tuple[Reached, ...]:
        """Account the work up to `to_s`; return the marks reached, in order, each with its exact instant."""
        reached: list[Reached] = []
        while True:
            in_s = self._next_in_s()
            if self.now_s + in_s > to_s:
                break
            self._progress(in_s)
            self.now_s += in_s
            reached += self._arrived()
        if to_s > self.now_s:
            self._progress(to_s - self.now_s)
            self.now_s = to_s
        return tuple(reached)

    def _next_in_s(self) -> float:
        least_s = math.inf
        for running in self._pods.values():
            slices = len(self._pods) * len(running)
            for request in running.values():
                left_s = request.marks[request.next_mark] - request.done_s
                least_s = min(least_s, max(0.0, left_s) * slices / self.speed)
        return least_s

    def _progress(self, for_s: float) -> None:
        for running in self._pods.values():
            done_s = for_s * self.speed / (len(self._pods) * len(running))
            for request in running.values():
                request.done_s += done_s

    def _arrived(self) -> list[Reached]:
        reached = []
        for pod, running in list(self._pods.items()):
            for number, request in list(running.items()):
                while request.next_mark < len(request.marks):
                    if request.marks[request.next_mark] > request.done_s + CLOSE_S:
                        break
                    request.next_mark += 1
                    last = request.next_mark == len(request.marks)
                    reached.append(Reached(pod, number, request.next_mark - 1, last, self.now_s))
                if request.next_mark == len(request.marks):
                    del running[number]
            if not running:
                del self._pods[pod]
        return reached
