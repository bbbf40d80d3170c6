"""Lref of the objective: what `random-static` needs in each scenario, measured once and then fixed (CONTROL §1).

python -m fairlead.studies.references > fairlead/studies/data/references.json      measure anew
"""

import json
import sys
from importlib import resources
from typing import Any

from fairlead.studies import statistics
from fairlead.studies.cells import Cell, ScenarioAt, Source
from fairlead.studies.sweep import swept, usable_cores
from fairlead.twin.clusters import cluster, default_ports
from fairlead.twin.engines import EngineName
from fairlead.twin.scenarios import RUN_S, SCENARIOS, WARM_UP_S, Scenario

REFERENCE = "random-static@5s"
"""Whose mean latency is Lref (CONTROL §1)."""

SEEDS = 20
"""1 to this, as the scoreboard has."""

NODES_MOST = 100
"""Clusters that are larger are for scale, and are not measured."""


def recorded_reference_s(source: Source) -> float | None:
    """Return the Lref that is fixed for a scenario at a load; None where there is none and a sweep finds its own."""
    if not isinstance(source, ScenarioAt) or (source.warm_up_s, source.run_s) != (WARM_UP_S, RUN_S):
        return None
    text = resources.files("fairlead.studies").joinpath("data", "references.json").read_text(encoding="utf-8")
    for one in json.loads(text)["references"]:
        if (one["scenario"], one["load"]) == (source.name, source.load):
            return float(one["mean_s"])
    return None


def sources() -> tuple[ScenarioAt, ...]:
    """Return what is measured: scenarios at the loads of the scoreboard.

    Without the very large and the real ones, and without pods that pause or sleep, which the reference engine plays.
    """
    return tuple(ScenarioAt(one.name, load) for one in SCENARIOS if _is_measured(one) for load in one.loads)


def _is_measured(one: Scenario) -> bool:
    nodes = cluster(one.cluster, default_ports(one.cluster)).nodes
    special = any(node.pausing or node.host_memory_bytes for node in nodes)
    return one.fixed_speed is None and len(nodes) < NODES_MOST and not special


def measured(wanted: tuple[ScenarioAt, ...], seeds: int, jobs: int, engine: EngineName = "auto") -> dict[str, Any]:
    """Return what is measured of sources, as the file has it."""
    cells = [Cell(source, REFERENCE, seed, engine) for source in wanted for seed in range(1, seeds + 1)]
    results = swept(cells, jobs, None, lambda done, total: None)
    rows = []
    for at, source in enumerate(wanted):
        means = [one.mean_s for one in results[at * seeds : (at + 1) * seeds] if one.mean_s is not None]
        found = statistics.mean(means)
        rows.append({"scenario": source.name, "load": source.load, "mean_s": round(found.value, 3)})
    return {
        "what": "Lref of the objective (CONTROL §1): mean latency of a policy, seconds",
        "policy": REFERENCE,
        "seeds": f"1 to {seeds}",
        "references": rows,
    }


if __name__ == "__main__":
    json.dump(measured(sources(), SEEDS, usable_cores()), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
