"""Runs the cases that have not passed at this commit, cheap ones first, and prints the time of each.

    python -m tests.acceptance [--fresh] [--list] [NAME…]

NAME is a case or the beginning of some; named ones run again even if they have passed.
"""

import argparse
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from tests.acceptance import (
    agents,
    bad_input,
    comparisons,
    compose,
    earning,
    episodes,
    faults,
    kubernetes,
    loop,
    real_model,
    replay,
    runtimes,
    start,
    twin,
)
from tests.acceptance.case import Broken, Case, Ledger, Skipped

CASES: tuple[Case, ...] = (
    *start.CASES,
    *bad_input.CASES,
    *real_model.CASES,
    *replay.CASES,
    *episodes.CASES,
    *comparisons.CASES,
    *earning.CASES,
    *faults.CASES,
    *runtimes.CASES,
    *agents.CASES,
    *twin.CASES,
    *loop.CASES,
    *compose.CASES,
    *kubernetes.CASES,
)


def main() -> int:
    """Return 0 if every case that was asked for, and can be shown on this machine, holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance", description=__doc__.splitlines()[0])
    parser.add_argument("--fresh", action="store_true", help="run also what has passed at this commit, and forget runs")
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a case, or the beginning of some")
    options = parser.parse_args()
    chosen = [case for case in CASES if not options.names or case.name.startswith(tuple(options.names))]
    if not chosen:
        parser.error(f"no case is named {options.names}: there are {', '.join(case.name for case in CASES)}")
    if options.list:
        for case in chosen:
            print(f"{case.name:22} {case.claim}")
        return 0
    ledger = Ledger.of_now()
    if options.fresh:
        for file in ledger.folder.glob("*.json"):
            file.unlink()
    return _run(chosen, ledger, again=bool(options.names))


def _run(cases: list[Case], ledger: Ledger, *, again: bool) -> int:
    """Run cases in order, those that may run side by side at the end, and return 0 if all passed."""
    begun_s = time.monotonic()
    print(f"acceptance: {len(cases)} of {len(CASES)} cases at {ledger.folder.name}; all take an hour", flush=True)
    fates = {case.name: _fate(case, ledger, again=again) for case in cases if case.pace == "alone"}
    with ThreadPoolExecutor(1) as beside:
        slow = {case.name: beside.submit(_fate, case, ledger, again=again) for case in cases if case.pace == "slow"}
        fates |= {case.name: _fate(case, ledger, again=again) for case in cases if case.pace == "offline"}
        fates |= {name: fate.result() for name, fate in slow.items()}
    failed = [case.name for case in cases if fates[case.name] == "failed"]
    skipped = sum(fate == "skipped" for fate in fates.values())
    print(f"acceptance: {time.monotonic() - begun_s:.0f} s" + (f"; failed: {', '.join(failed)}" if failed else ""))
    rest = f", {skipped} skipped" if skipped else ""
    print(f"{len(cases) - len(failed) - skipped} passed, {len(failed)} failed{rest}", flush=True)
    return bool(failed)


def _fate(case: Case, ledger: Ledger, *, again: bool) -> Literal["passed", "skipped", "failed"]:
    """Run a case that has not passed at this revision, and say how it went."""
    known = ledger.read(f"case-{case.name}")
    if known is not None and not again:
        print(f"passed {case.name}, {known['took_s']:.0f} s before: {known['found']}", flush=True)
        return "passed"
    print(f"...    {case.name}: {case.claim}", flush=True)
    at_s = time.monotonic()
    try:
        found = case.run()
    except Skipped as why:
        print(f"skipped {case.name}: {why}", flush=True)
        return "skipped"
    except Exception as error:
        words = str(error) if isinstance(error, Broken) else traceback.format_exc()
        print(f"FAILED {case.name}, {time.monotonic() - at_s:.0f} s: {words}", flush=True)
        return "failed"
    took_s = time.monotonic() - at_s
    ledger.write(f"case-{case.name}", {"took_s": took_s, "found": found})
    print(f"passed {case.name}, {took_s:.0f} s: {found}", flush=True)
    return "passed"


if __name__ == "__main__":
    sys.exit(main())
