"""What queueing theory says: recursions that are exact on a sample, and closed forms for means.

All times are in seconds, all servers have speed 1, arrivals are Poisson with rate λ, ρ = λ E[S] / k is the load.
"""

import heapq
from collections.abc import Sequence

import numpy as np

from fairlead.policy.arrays import Floats


def lindley(gaps: Sequence[float], work: Sequence[float]) -> Floats:
    """Return the stay of each request at one server, first come first served.

    W ← max(0, W + S − A), stay = W + S (Lindley, "The theory of queues with a single server", 1952). `gaps` has the
    time before each arrival.
    """
    stays = np.empty(len(work))
    left_s = 0.0
    for n, (gap, own) in enumerate(zip(gaps, work, strict=True)):
        left_s = max(0.0, left_s - gap) + own
        stays[n] = left_s
    return stays


def kiefer_wolfowitz(gaps: Sequence[float], work: Sequence[float], servers: int) -> Floats:
    """Return the stay of each request at `servers` servers with one queue, first come first served.

    The sorted workload vector, its least element served next (Kiefer and Wolfowitz, "On the theory of queues with
    many servers", 1955).
    """
    stays = np.empty(len(work))
    loads = [0.0] * servers
    for n, (gap, own) in enumerate(zip(gaps, work, strict=True)):
        loads = [max(0.0, load - gap) for load in loads]
        loads[0] += own
        stays[n] = loads[0]
        loads.sort()
    return stays


def sharing(gaps: Sequence[float], work: Sequence[float]) -> Floats:
    """Return the stay of each request at one server that all present share evenly.

    In attained time V, which goes on at 1/N, a request leaves at V(arrival) + S (Kleinrock, "Queueing Systems" II,
    1976, §4.4). V begins anew whenever nobody is present.
    """
    stays = np.empty(len(work))
    present: list[tuple[float, int, float]] = []
    now_s, attained_s = 0.0, 0.0
    for n, (gap, own) in enumerate(zip(gaps, work, strict=True)):
        at_s = now_s + gap
        now_s, attained_s = _left(present, stays, now_s, attained_s, at_s)
        if not present:
            attained_s = 0.0
        attained_s, now_s = attained_s + (at_s - now_s) / max(1, len(present)), at_s
        heapq.heappush(present, (attained_s + own, n, at_s))
    _left(present, stays, now_s, attained_s, float("inf"))
    return stays


def _left(
    present: list[tuple[float, int, float]], stays: Floats, now_s: float, attained_s: float, until_s: float
) -> tuple[float, float]:
    """Let those leave who do before `until_s`; return instant and attained time of the last one."""
    while present:
        ends_s = now_s + (present[0][0] - attained_s) * len(present)
        if ends_s > until_s:
            break
        attained_s, n, arrived_at_s = heapq.heappop(present)
        now_s = ends_s
        stays[n] = now_s - arrived_at_s
    return now_s, attained_s


def preemptive(gaps: Sequence[float], work: Sequence[float], classes: Sequence[int]) -> Floats:
    """Return the stay of each request at one server where a lower class goes first at once, and work done is kept.

    A request leaves once all work of its class and lower ones is done that was there when it came, its own, and all of
    lower classes that comes before that (Kleinrock, "Queueing Systems" II, 1976, §3.4). The first is Lindley's
    recursion over these classes.
    """
    at_s = np.cumsum(gaps).tolist()
    stays = np.empty(len(work))
    for own in sorted(set(classes)):
        left_s, before_s = 0.0, 0.0
        for n, one in enumerate(classes):
            if one > own:
                continue
            left_s, before_s = max(0.0, left_s - (at_s[n] - before_s)) + work[n], at_s[n]
            if one == own:
                stays[n] = _overtaken(at_s, work, classes, n, at_s[n] + left_s) - at_s[n]
    return stays


def _overtaken(at_s: Sequence[float], work: Sequence[float], classes: Sequence[int], n: int, ends_s: float) -> float:
    """Return when the `n`th request leaves that would leave at `ends_s` if nobody of a lower class came."""
    for k in range(n + 1, len(work)):
        if at_s[k] >= ends_s:
            break
        if classes[k] < classes[n]:
            ends_s += work[k]
    return ends_s


def pollaczek_khinchine(rate: float, mean_s: float, cv: float) -> float:
    """Return the mean stay in M/G/1: λ E[S²] / 2(1 − ρ) + E[S]; `cv` is the coefficient of variation of S.

    M/M/1 has cv 1, M/D/1 has 0 (Kleinrock, "Queueing Systems" I, 1975, §5.6).
    """
    load = rate * mean_s
    return mean_s + load * mean_s * (1.0 + cv * cv) / (2.0 * (1.0 - load))


def shared_mean(rate: float, mean_s: float) -> float:
    """Return the mean stay in M/G/1-PS: E[S] / (1 − ρ), whatever the distribution (Kleinrock II, §4.4)."""
    return mean_s / (1.0 - rate * mean_s)


def preemptive_mean(rates: Sequence[float], means_s: Sequence[float], cv: float) -> float:
    """Return the mean stay over all classes in M/G/1 with preemptive-resume priority, the first class going first.

    T_k = (E[S_k](1 − σ_k) + Σ_{i ≤ k} λ_i E[S_i²]/2) / ((1 − σ_{k−1})(1 − σ_k)), σ_k the load of the first k classes
    (Kleinrock II, §3.4).
    """
    total, before, residual_s = 0.0, 0.0, 0.0
    for rate, mean_s in zip(rates, means_s, strict=True):
        load = before + rate * mean_s
        residual_s += rate * mean_s * mean_s * (1.0 + cv * cv) / 2.0
        total += rate * (mean_s * (1.0 - load) + residual_s) / ((1.0 - before) * (1.0 - load))
        before = load
    return total / sum(rates)


def erlang_c(rate: float, mean_s: float, servers: int) -> float:
    """Return the mean stay in M/M/k: C(k, a) E[S] / (k (1 − ρ)) + E[S] with a = λ E[S] (Kleinrock I, §3.5).

    Erlang's B by its recursion B_j = a B_{j−1} / (j + a B_{j−1}), and C = B / (1 − ρ (1 − B)).
    """
    offered = rate * mean_s
    blocked = 1.0
    for j in range(1, servers + 1):
        blocked = offered * blocked / (j + offered * blocked)
    load = offered / servers
    waits = blocked / (1.0 - load * (1.0 - blocked))
    return waits * mean_s / (servers * (1.0 - load)) + mean_s
