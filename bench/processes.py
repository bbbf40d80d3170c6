"""What each process costs: CPU seconds and memory to import it, then memory and CPU of all while `city7` runs."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import psutil

MODULES = {
    "python": "sys",
    "gateway": "gateway.service",
    "node-agent": "node_agent.service",
    "slot-agent": "slot_agent.service",
    "planner": "planner.service",
    "control": "control_api.service",
    "warm-parent": "testbed.warm_parent",
    "fairlead": "fairlead_cli.main",
}
"""What a process of each name imports; `python` is the interpreter alone."""

REPEATS = 5
RUN_S = 30
"""Wall seconds of demand; CPU is measured over the last half, when all pods have started."""

IMPORT = """
import importlib, os, sys, time
cpu, wall = time.process_time(), time.perf_counter()
importlib.import_module(sys.argv[1])
rss = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
print(time.process_time() - cpu, time.perf_counter() - wall, rss)
"""


def imported(module: str) -> tuple[float, float, float]:
    """Return CPU seconds, wall seconds and resident MB of an import in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", IMPORT, module], capture_output=True, text=True, check=True)
    cpu_s, wall_s, rss = (float(word) for word in done.stdout.split())
    return cpu_s, wall_s, rss / 1e6


def imports() -> None:
    """Print the medians for each process."""
    print(f"import, median of {REPEATS}:  CPU s   wall s  resident MB")
    for name, module in MODULES.items():
        imported(module)  # the first one also reads the files from disk
        rows = [imported(module) for _ in range(REPEATS)]
        cpu_s, wall_s, rss_mb = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"  {name:22} {cpu_s:7.3f} {wall_s:8.3f} {rss_mb:9.0f}")


def kind(name: str) -> str:
    """Return what a supervised process is, without which of its kind: `node-agent-node-3` is a `node-agent`."""
    return next(
        (one for one in ("node-agent", "slot-agent", "warm-parent") if name.startswith(one)), name.split("-")[0]
    )


def running(directory: Path) -> dict[str, list[psutil.Process]]:
    """Return the processes of a run by kind; children of the warm parent are pods."""
    found: dict[str, list[psutil.Process]] = defaultdict(list)
    for row in json.loads((directory / "processes.json").read_text("utf-8"))["processes"]:
        process = psutil.Process(row["pid"])
        found[kind(row["name"])].append(process)
        if row["name"].startswith("warm-parent"):
            found["pod"] = process.children()
    return found


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def live(options: Sequence[str]) -> None:
    """Print memory and CPU of every kind of process under demand."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "state"
        command = [sys.executable, "-m", "fairlead_cli", "up", *options, "--duration", str(RUN_S), "--json"]
        up = subprocess.Popen([*command, "--state-dir", str(directory)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**os.environ, "XDG_STATE_HOME": folder}, text=True)  # fmt: skip
        begun_s = time.monotonic()
        outcomes = directory / "outcomes"
        while up.poll() is None and not any(file.stat().st_size for file in outcomes.glob("*.jsonl")):
            time.sleep(0.05)
        first_s = time.monotonic() - begun_s
        time.sleep(RUN_S / 2)
        processes = running(directory)
        before = {p.pid: _cpu_s(p) for group in processes.values() for p in group}
        at_s = time.monotonic()
        time.sleep(RUN_S / 4)
        took_s = time.monotonic() - at_s
        print(f"\nup {' '.join(options)}: first request finished {first_s:.1f} s after the command")
        print("  process                count  resident MB each, median   unshared MB   CPU % of a core, all together")
        for name, group in sorted(processes.items()):
            alive = [p for p in group if p.is_running()]
            memory = [p.memory_full_info() for p in alive]
            share = sum(_cpu_s(p) - before[p.pid] for p in alive) / took_s * 100
            rss, unshared = (statistics.median(getattr(m, key) for m in memory) / 1e6 for key in ("rss", "uss"))
            print(f"  {name:22} {len(alive):5} {rss:14.0f} {unshared:24.0f} {share:16.0f}")
        out, err = up.communicate(timeout=120)
        if up.returncode != 0:
            raise SystemExit(f"up ended with {up.returncode}: {err[-500:]}")
        report = json.loads(out)
        print(f"  requests {report['requests']}, slots {report['slots']}")


def main() -> None:
    """Print all figures."""
    imports()
    live(("--scenario", "city7-rotating", "--load", "0.8", "--speed", "30", "--seed", "7"))


if __name__ == "__main__":
    main()
