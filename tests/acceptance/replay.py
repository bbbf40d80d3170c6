"""Every journaled decision of a run executed again from the journal alone, under two hash seeds."""

import subprocess
import sys
from pathlib import Path

from tests.acceptance.case import ROOT, Case, hold
from tests.acceptance.live import run, until, up

DECISIONS = 40
"""More than a slot decision a wall second for half a minute, an epoch or more among them."""

AGAIN = """
import pathlib, sys
from fairlead_cli.main import invoke
files = sorted(pathlib.Path(sys.argv[1]).glob("*.json"))
sys.exit(any([invoke(["decisions", "replay", "--file", str(file)]) for file in files]))
"""


def _replay() -> str:
    with up("--scenario", "city7-rotating", "--load", "0.8", "--speed", "30", "--seed", "3", "--json") as system:
        system.works()
        listed = until(
            lambda: (found := system.call("GET", "decisions?limit=1000").json()["items"])[DECISIONS:] and found,
            f"{DECISIONS} decisions were journaled", 90, system.alive,
        )  # fmt: skip
        kinds = {one["kind"] for one in listed}
        hold({"epoch", "slot"} <= kinds, f"no decision of some kind, only {kinds}")
        first = run("decisions", "replay", listed[0]["id"], environ=system.environ())
        hold(
            first.status == 0 and first.out.strip() == "identical", f"replay {listed[0]['id']}: {first.out}{first.err}"
        )
        rest = system.call("POST", f"decisions/{listed[1]['id']}/replay").json()
        hold(rest["identical"] is True, f"replay over REST: {rest}")
        records = Path(system.folder) / "records"
        records.mkdir()
        for one in listed:
            (records / f"{one['id']}.json").write_bytes(system.call("GET", f"decisions/{one['id']}").body)
        system.end()
        for seed in ("1", "4242"):
            done = subprocess.run(
                [sys.executable, "-c", AGAIN, str(records)], cwd=ROOT, capture_output=True, text=True, check=False,
                env=system.environ(PYTHONHASHSEED=seed), timeout=300,
            )  # fmt: skip
            words = done.stdout.split("\n")
            hold(
                done.returncode == 0,
                f"hash seed {seed}: {[w for w in words if w != 'identical'][:3]}{done.stderr[-400:]}",
            )
            hold(
                words.count("identical") == len(listed),
                f"hash seed {seed}: {words.count('identical')} of {len(listed)}",
            )
        return f"{len(listed)} decisions ({', '.join(sorted(kinds))}) identical under two hash seeds, system gone"


CASES = (Case("replay", "decisions are executed again from the journal alone, byte for byte", _replay),)
