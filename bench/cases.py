"""What recalling costs, and whether it finds the regime: 2000 made-up cases of 7 × 4, 100 × 20 and 300 × 50.

Each case is an epoch of a random regime: one model is asked for 2.2 times as often (`rotating`, CONTROL §5). Arrivals
are Poisson, rates and trend are learned from them as live, everything else is drawn as it would look in that regime.
The question is one more epoch. `hits` is the share of the good cases shown that are of the question's own regime,
`chance` what drawing them blindly would give.
"""

import statistics
import time

import numpy as np
from numpy.typing import NDArray

from fairlead.contracts.cases import Case, CaseFeatures, ModelFeatures, NodeFeatures, Provenance, Realised
from fairlead.policy.cases_retrieval import forgettable, remembered, select, shelf

SIZES = ((7, 4, 20), (100, 20, 10), (300, 50, 5))
"""Nodes, models, questions measured."""

CASES = 2000
EPOCH_S = 300.0
SLOT_S = 30.0
NOW_S = CASES * EPOCH_S
HALF_LIFE_SLOTS = 4.0
FACTOR = 2.2
SHOWN = 4

Floats = NDArray[np.float64]


def rates(nodes: int, models: int, regime: int) -> Floats:
    """Return requests/s of each model: a tenth of a request a node and second in all, shares as 1/rank."""
    share = 1.0 / np.arange(1, models + 1)
    share[regime] *= FACTOR
    rate: Floats = 0.1 * nodes * share / share.sum()
    return rate


def learned(rate: Floats, draws: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return λ after ten slots of the regime, the trend and the index of dispersion."""
    counts = draws.poisson(rate * SLOT_S, size=(10, len(rate)))
    gain = 1.0 - 2.0 ** (-1.0 / HALF_LIFE_SLOTS)
    now = rate * np.exp(draws.normal(0.0, 0.1, len(rate)))
    for count in counts:
        now += gain * (count / SLOT_S - now)
    mean = counts.mean(axis=0)
    spread = np.where(mean > 0, counts.var(axis=0, ddof=1) / np.maximum(mean, 1e-9), 1.0)
    return np.maximum(now, 0.001), np.log((counts[-1] + 1) / (now * SLOT_S + 1)), spread


def situation(nodes: int, models: int, regime: int, draws: np.random.Generator) -> CaseFeatures:
    """Return the features of an epoch of a regime."""
    rate, trend, spread = learned(rates(nodes, models, regime), draws)
    names = [f"m{k:03d}" for k in range(models)]
    busy = rate / rate.sum()
    return CaseFeatures(
        models=tuple(
            ModelFeatures(
                model=name,
                log_rate=float(np.log(rate[k])),
                trend=float(trend[k]),
                dispersion=float(spread[k]),
                backlog_s=float(draws.gamma(1.0, 20.0)),
                price_s=float(draws.gamma(2.0, 10.0)),
                slowdown=float(draws.uniform(1.0, 3.0)),
            )
            for k, name in enumerate(names)
        ),
        nodes=tuple(
            NodeFeatures(
                node=f"n{k:04d}",
                up=bool(draws.random() > 0.01),
                free_ratio=float(draws.uniform(0.0, 0.4)),
                speed=float(draws.uniform(0.9, 1.1)),
                work_s=float(draws.gamma(1.0, 10.0)),
                awake=tuple(sorted(draws.choice(names, size=min(3, models), replace=False, p=busy).tolist())),
            )
            for k in range(nodes)
        ),
        failures=int(draws.poisson(0.1)),
        day_ratio=float(draws.random()),
    )


def case(number: int, nodes: int, models: int, regime: int, draws: np.random.Generator) -> Case:
    """Return an epoch of a regime with some F; its id says which regime it is of."""
    realised = Realised(
        objective=float(draws.uniform(0.1, 0.6)),
        latency_s=10.0,
        fairness=0.9,
        service=0.97,
        churn=4,
        arrived=200,
        finished=194,
    )
    return Case(
        id=f"c-{number:05d}-{regime}",
        epoch=number,
        began_at_s=number * EPOCH_S,
        ended_at_s=(number + 1) * EPOCH_S,
        features=situation(nodes, models, regime, draws),
        plan_generation=number + 1,
        intents=(),
        priorities=(),
        warm=(),
        rates=(),
        realised=realised,
        provenance=Provenance(
            cluster="c", source="fallback", policy="marginal-dpp", llm="", decision="epoch-1", version="0", seed=0
        ),
    )


def measured(nodes: int, models: int, questions: int) -> str:
    """Return a line of figures for a size."""
    draws = np.random.default_rng(7)
    regimes = min(models, 8)
    made = [case(n, nodes, models, int(draws.integers(regimes)), draws) for n in range(CASES)]
    began_s = time.perf_counter()
    kept = [remembered(one) for one in made]
    encode_s = (time.perf_counter() - began_s) / CASES
    began_s = time.perf_counter()
    among = shelf(kept)
    stack_s = time.perf_counter() - began_s
    took_s, hits = [], []
    for _ in range(questions):
        regime = int(draws.integers(regimes))
        now = situation(nodes, models, regime, draws)
        began_s = time.perf_counter()
        found = select(now, among, now_s=NOW_S, k=SHOWN)
        took_s.append(time.perf_counter() - began_s)
        hits += [hit.id.endswith(f"-{regime}") for hit in found[:-1]]
    began_s = time.perf_counter()
    forgettable(among, CASES - 1)
    forget_s = time.perf_counter() - began_s
    return (
        f"{nodes:5d} × {models:3d}: encode {encode_s * 1e6:4.0f} µs a case, stack {stack_s * 1e3:3.0f} ms, recall "
        f"{statistics.median(took_s) * 1e3:5.1f} ms (most {max(took_s) * 1e3:5.1f}), forget {forget_s * 1e3:4.0f} ms, "
        f"hits {statistics.fmean(hits):.2f} (chance {1 / regimes:.2f})"
    )


def main() -> None:
    """Print the figures of each size."""
    for nodes, models, questions in SIZES:
        print(measured(nodes, models, questions), flush=True)


if __name__ == "__main__":
    main()
