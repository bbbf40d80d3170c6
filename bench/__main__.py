"""Runs benchmarks one after another, each in a process of its own, and prints what they print and how long they took.

    python -m bench [NAME…]

A benchmark is a module of this folder; a NAME is the beginning of some. Anything else that keeps this machine busy
meanwhile is in the figures: look at ratios and medians.
"""

import os
import pkgutil
import subprocess
import sys
import time

import bench


def names() -> tuple[str, ...]:
    """Return the benchmarks there are."""
    return tuple(sorted(one.name for one in pkgutil.iter_modules(bench.__path__) if not one.name.startswith("_")))


def main() -> int:
    """Run those that were asked for, all without; return 1 if one failed."""
    asked = sys.argv[1:]
    if any(word in ("-h", "--help") for word in asked):
        print(__doc__)
        return 0
    chosen = [name for name in names() if not asked or name.startswith(tuple(asked))]
    if not chosen:
        print(f"error: no benchmark is named {' '.join(asked)}: there are {', '.join(names())}", file=sys.stderr)
        return 2
    print(f"bench: {', '.join(chosen)} on {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}", flush=True)
    failed = []
    for name in chosen:
        print(f"\n== {name}", flush=True)
        begun_s = time.monotonic()
        if subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode != 0:
            failed.append(name)
        print(f"== {name}: {time.monotonic() - begun_s:.0f} s", flush=True)
    if failed:
        print(f"\nbench: failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
