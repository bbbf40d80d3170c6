"""The loop under demand: what a run reports, and how the controller stands against the baselines."""

import json
import time
from typing import Any

from tests.acceptance.case import Case, Ledger, hold
from tests.acceptance.live import punctual, run

DURATION_S = 60
SPEED = 30
SEED = 1
"""Of all runs here; more seeds play in the twin: `replay-city7`, `replay-catalogue`."""
PROMISED = {
    "requests": ("arrived", "finished", "failed", "open", "lost"),
    "latency_s": ("mean", "p50", "p95", "p99"),
    "fairness": ("x1", "x2", "x3", "x4"),
    "pods": ("starts", "stops"),
    "decisions": ("by_source", "by_step"),
    "slots": ("total", "late"),
}
"""Keys of the JSON object and of its parts."""


def summary(scenario: str, load: float, policy: str, seed: int) -> dict[str, Any]:
    """Return what a run reports, from the ledger if it was run at this revision before."""
    ledger = Ledger.of_now()
    name = f"run-{scenario}-{load}-{policy}-{seed}"
    if (known := ledger.read(name)) is not None:
        return dict(known)
    begun_s = time.monotonic()
    ended = run(
        "up", "--scenario", scenario, "--load", str(load), "--speed", str(SPEED), "--duration", str(DURATION_S),
        "--seed", str(seed), "--policy", policy, "--json", limit_s=DURATION_S + 90.0,
    )  # fmt: skip
    hold(ended.status == 0, f"{policy} seed {seed}: exit status {ended.status}: {ended.err[-600:]}")
    report: dict[str, Any] = json.loads(ended.out)
    hold(isinstance(report, dict), f"standard output is no JSON object: {ended.out[:200]}")
    check_contract(report, seed)
    ledger.write(name, report)
    mean = report["latency_s"]["mean"]
    print(
        f"       run {scenario} {policy} seed {seed}: mean {mean:.2f} s, {time.monotonic() - begun_s:.0f} s", flush=True
    )
    return report


def check_contract(report: dict[str, Any], seed: int) -> None:
    """Raise `Broken` unless a report without faults has all that was promised and nothing was lost or failed."""
    for part, keys in PROMISED.items():
        for key in keys:
            hold(key in report.get(part, {}), f"no {part}.{key} in the report: {json.dumps(report)[:400]}")
    hold(
        report["speed"] == SPEED and report["seed"] == seed and bool(report["version"]), "speed, seed or version is off"
    )
    requests = report["requests"]
    total = sum(requests[key] for key in ("finished", "failed", "open", "lost"))
    hold(total == requests["arrived"] > 0, f"the four do not add up to arrived: {requests}")
    hold(requests["lost"] == 0, f"lost: {requests}")
    hold(requests["failed"] == 0 and not report["failures"], f"failed: {requests}, {report['failures']}")
    punctual(report)
    hold(report["slots"]["total"] >= DURATION_S * SPEED / 30 - 2, f"too few slots: {report['slots']}")


def _city7_contract() -> str:
    report = summary("city7-rotating", 0.8, "marginal-dpp", SEED)
    mean, timely = report["latency_s"]["mean"], report["fairness"]["x1"]
    return f"arrived {report['requests']['arrived']}, mean {mean:.1f} s, J'(x1) {timely:.3f}"


def _mean(scenario: str, load: float, policy: str) -> float:
    return float(summary(scenario, load, policy, SEED)["latency_s"]["mean"])


def _compare(scenario: str, load: float, against: dict[str, float]) -> str:
    own = _mean(scenario, load, "marginal-dpp")
    said = []
    for policy, limit in against.items():
        ratio = own / _mean(scenario, load, policy)
        hold(ratio <= limit, f"mean latency is {ratio:.3f} of that of {policy}, allowed is {limit}")
        said.append(f"{ratio:.3f} of {policy} (≤ {limit})")
    return ", ".join(said)


def _city7_policies() -> str:
    return _compare("city7-rotating", 0.8, {"sed-static": 1.15})


def _catalogue_contract() -> str:
    report = summary("catalogue-roomy", 0.6, "marginal-dpp", SEED)
    pods = report["pods"]
    hold(pods["starts"] > 0 and pods["stops"] > 0, f"models do not make room for one another: {pods}")
    return f"arrived {report['requests']['arrived']}, starts {pods['starts']}, stops {pods['stops']}"


def _catalogue_lru() -> str:
    return _compare("catalogue-roomy", 0.6, {"lru": 1.0})


CASES = (
    Case(
        "city7-contract",
        "up --json reports all that it promises; nothing lost or failed, slots in time",
        _city7_contract,
    ),
    Case(
        "catalogue-contract", "models start on demand and make room for one another; nothing lost", _catalogue_contract
    ),
    Case("city7-policies", "live, marginal-dpp against sed-static, seed 1", _city7_policies),
    Case("catalogue-lru", "live, marginal-dpp against lru where the catalogue does not fit, seed 1", _catalogue_lru),
)
