"""What recalling costs, and whether it finds the regime: made-up cases of 7 × 4, 100 × 20 and 300 × 50.

Each case is an epoch of a random regime: one model is asked for 2.2 times as often (`rotating`, CONTROL §5). Arrivals
are Poisson, rates and trend are learned from them as live, everything else is drawn as it would look in that regime.
The question is one more epoch. `hits` is the share of the good cases shown that are of the question's own regime,
`chance` what drawing them blindly would give. Then an embedded database: cases of 7 × 4 are kept there, a planner's
memory reads all of them as at its start, compares them as it does every minute, and recalls: it chooses among all and
reads those chosen in full. Seconds are of the wall; `processor` is what this process took of them.
"""

import asyncio
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from bench.fallback import made_up
from fairlead.adapters import mongod
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.mongo import MongoStore, connect
from fairlead.adapters.mongo_driver import Document, Driver
from fairlead.contracts.cases import Case, CaseFeatures, ModelFeatures, NodeFeatures
from fairlead.contracts.settings import MongoSettings, Settings
from fairlead.policy.cases import cluster_digest
from fairlead.policy.cases_retrieval import select
from fairlead.policy.cases_shelf import Shelf, forgettable, remembered
from planner.case_metrics import CaseMetrics
from planner.memory import CaseMemory
from tests.policy import remembering
from tests.policy.remembering import EPOCH_S

SIZES = ((7, 4, 2_000), (7, 4, 10_000), (7, 4, 100_000), (100, 20, 2_000), (100, 20, 10_000), (300, 50, 2_000))
"""Nodes, models, cases; 100 000 is a year of epochs."""

QUESTIONS = 20
MADE = 2_000
"""Cases that are made up; where more are wanted each stands there again with an id, a time and an F of its own."""
SLOT_S = 30.0
HALF_LIFE_SLOTS = 4.0
FACTOR = 2.2
SHOWN = 4

KEPT = (2_000, 100_000)
"""Cases kept in a database: the default capacity, and the greatest."""

AT_ONCE = 1000
"""Rows that are inserted at once: written by the evaluator one by one they would take as many majority writes."""

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
    objective = float(draws.uniform(0.1, 0.6))
    made = remembering.case(number, objective, situation(nodes, models, regime, draws))
    return made.model_copy(update={"id": f"c-{number:05d}-{regime}"})


def filled(nodes: int, models: int, count: int, draws: np.random.Generator) -> tuple[list[Case], Shelf, str]:
    """Return cases that were made up, a shelf with as many as wanted, and what that took."""
    regimes = min(models, 8)
    made = [case(n, nodes, models, int(draws.integers(regimes)), draws) for n in range(min(count, MADE))]
    began_s = time.process_time()
    kept = [remembered(one) for one in made]
    encode_s = (time.process_time() - began_s) / len(made)
    among = Shelf(kept[0].key)
    began_s = time.process_time()
    for n in range(count):
        one = kept[n % MADE]
        regime = one.id.rpartition("-")[2]
        jitter = float(draws.normal(0.0, 0.02))
        among.put(replace(one, id=f"c-{n:06d}-{regime}", began_at_s=n * EPOCH_S, objective=one.objective + jitter))
    put_s = (time.process_time() - began_s) / count
    return made, among, f"encode {encode_s * 1e6:4.0f} µs, put {put_s * 1e6:3.0f} µs a case"


def measured(nodes: int, models: int, count: int) -> str:
    """Return a line of figures for a size."""
    draws = np.random.default_rng(7)
    regimes = min(models, 8)
    _, among, said = filled(nodes, models, count, draws)
    took_s, cpu_s, hits = [], [], []
    for _ in range(QUESTIONS):
        regime = int(draws.integers(regimes))
        now = situation(nodes, models, regime, draws)
        began_s, spent_s = time.perf_counter(), time.process_time()
        found = select(now, among, now_s=count * EPOCH_S, k=SHOWN)
        took_s.append(time.perf_counter() - began_s)
        cpu_s.append(time.process_time() - spent_s)
        hits += [hit.id.endswith(f"-{regime}") for hit in found[:-1]]
    began_s = time.perf_counter()
    forgettable(among, count - 1)
    forget_s = time.perf_counter() - began_s
    choose = f"choose {statistics.median(took_s) * 1e3:5.1f} ms (most {max(took_s) * 1e3:5.1f}, processor"
    return (
        f"{nodes:5d} × {models:3d}, {count:6d} cases: {said}, {choose} {statistics.median(cpu_s) * 1e3:5.1f}), "
        f"forget {forget_s * 1e3:4.0f} ms, hits {statistics.fmean(hits):.2f} (chance {1 / regimes:.2f})"
    )


async def kept(store: MongoStore, driver: Driver, count: int) -> str:
    """Keep so many cases of 7 × 4 in a database; the first as an evaluator does, all others as rows like it."""
    draws = np.random.default_rng(7)
    digest = cluster_digest(made_up(7, 4, draws))
    made = [case(n, 7, 4, int(draws.integers(4)), draws) for n in range(min(count, MADE))]
    made = [
        one.model_copy(update={"provenance": one.provenance.model_copy(update={"cluster": digest})}) for one in made
    ]
    began_s = time.perf_counter()
    await store.add_case(made[0], capacity=count)
    add_s = time.perf_counter() - began_s
    rows = driver.collection("cases")
    like = await rows.find_one({"_id": made[0].id}) or {}
    began_s = time.perf_counter()
    for first in range(1, count, AT_ONCE):
        numbers = range(first, min(count, first + AT_ONCE))
        await rows.insert_many([row(like, made[n % len(made)], n) for n in numbers], ordered=False)
    bulk_s = time.perf_counter() - began_s
    size = await driver.database.command("collStats", "cases")
    return (
        f"keep {add_s * 1e3:.1f} ms, in bulk {bulk_s:.0f} s, {size['size'] >> 20} MiB and "
        f"{size['totalIndexSize'] >> 20} of indexes, {size['storageSize'] >> 20} on disk"
    )


def row(like: Document, made: Case, number: int) -> Document:
    """Return the row of a made-up case that has an id, a time and an F of its own."""
    regime = made.id.rpartition("-")[2]
    objective = made.realised.objective + 1e-6 * number
    update = {
        "id": f"c-{number:06d}-{regime}",
        "began_at_s": number * EPOCH_S,
        "realised": made.realised.model_copy(update={"objective": objective}),
    }
    one = made.model_copy(update=update)
    return {**like, "_id": one.id, "at_s": one.began_at_s, "objective": objective, "json": one.to_json()}


async def read(store: MongoStore, driver: Driver, count: int) -> str:
    """Return what a planner takes to read so many cases at its start, to compare them, and to answer a question."""
    memory = CaseMemory(store, ScaledClock(1.0, 0.0), Settings(), "0", CaseMetrics(CollectorRegistry()))
    here = made_up(7, 4, np.random.default_rng(7))
    await store.replace_cluster(here)
    before_bytes = psutil.Process().memory_info().rss
    began_s, spent_s = time.perf_counter(), time.process_time()
    await memory.ready(here)
    first_s = time.perf_counter() - began_s
    await memory.refresh()
    load_s, load_cpu_s = time.perf_counter() - began_s, time.process_time() - spent_s
    taken_bytes = psutil.Process().memory_info().rss - before_bytes
    began_s, spent_s = time.perf_counter(), time.process_time()
    await memory.refresh()
    compare_s, compare_cpu_s = time.perf_counter() - began_s, time.process_time() - spent_s
    draws = np.random.default_rng(8)
    took_s, cpu_s, hits = [], [], []
    asked = await questions(driver)
    for _ in range(QUESTIONS):
        regime = int(draws.integers(4))
        now = situation(7, 4, regime, draws)
        began_s, spent_s = time.perf_counter(), time.process_time()
        found = await memory.chosen(now, count * EPOCH_S)
        took_s.append(time.perf_counter() - began_s)
        cpu_s.append(time.process_time() - spent_s)
        hits += [one.id.endswith(f"-{regime}") for one, _ in found[:-1]]
    asked = await questions(driver) - asked
    return (
        f"first ones there after {first_s:.1f} s, all after {load_s:.0f} s (processor {load_cpu_s:.0f}) in "
        f"{taken_bytes >> 20} MiB; compared in {compare_s:.2f} s (processor {compare_cpu_s:.2f}); "
        f"recall {statistics.median(took_s) * 1e3:.1f} ms (most {max(took_s) * 1e3:.1f}, processor "
        f"{statistics.median(cpu_s) * 1e3:.1f}) by {asked / QUESTIONS:g} question to the database, "
        f"hits {statistics.fmean(hits):.2f} (chance 0.25)"
    )


async def questions(driver: Driver) -> int:
    """Return how many queries the database has been asked."""
    status = await driver.client.admin.command("serverStatus")
    return int(status["opcounters"]["query"])


async def database() -> None:
    """Print the figures of each number of cases in a database."""
    for count in KEPT:
        with tempfile.TemporaryDirectory() as state:
            async with mongod.embedded(Path(state)) as one:
                settings = MongoSettings(uri=one.uri, timeout_s=30.0)
                store, driver = await connect(settings), Driver(settings)
                try:
                    said = await kept(store, driver, count)
                    print(f"{count:6d} cases in MongoDB: {said}", flush=True)
                    print(f"{count:6d} cases in MongoDB: {await read(store, driver, count)}", flush=True)
                finally:
                    await driver.close()
                    await store.close()


def main() -> None:
    """Print the figures of each size."""
    for nodes, models, count in SIZES:
        print(measured(nodes, models, count), flush=True)
    asyncio.run(database())


if __name__ == "__main__":
    main()
