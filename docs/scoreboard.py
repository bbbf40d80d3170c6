"""Plays the scoreboard: docs/scoreboard.json, from which `docs.generate` writes docs/scoreboard.md.

python -m docs.scoreboard [--seeds N] [--jobs N] [--only SCENARIO …] [--no-limits] [--no-ablations] [--no-agents]
python -m docs.scoreboard --asked FILE     nothing is played: a row of what `fairlead agents evaluate --json` measured

Finished runs are kept, so that one that was interrupted goes on; with `--only` the other tables stay as they are.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from docs.generate import SCOREBOARD
from fairlead.studies.ablation import ablations, additions
from fairlead.studies.scoreboard import Asked, Extra, Scoreboard, Section, document, read, sections, tables_of
from fairlead.studies.scoreboard_limits import limited, limits_of
from fairlead.studies.store import Store, code_digest, default_folder
from fairlead.studies.sweep import swept, usable_cores

SEEDS = 10


def main() -> None:
    """Play what is not kept and write the file."""
    parser = argparse.ArgumentParser(prog="python -m docs.scoreboard", description="Play the scoreboard.")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=usable_cores())
    parser.add_argument("--only", nargs="*", default=(), metavar="SCENARIO")
    parser.add_argument("--no-limits", action="store_true")
    parser.add_argument("--no-ablations", action="store_true")
    parser.add_argument("--no-agents", action="store_true")
    parser.add_argument("--asked", type=Path, metavar="FILE")
    given = parser.parse_args()
    if given.asked is not None:
        board = with_asked(read(SCOREBOARD.read_text("utf-8")), given.asked.read_text("utf-8"))
        SCOREBOARD.write_text(document(board), "utf-8")
        print(f"scoreboard: wrote {SCOREBOARD.name} with {len(board.llms)} language models; `make docs`")
        return
    chosen = [one for one in sections(given.seeds) if not given.only or one.scenario in given.only]
    ablated = () if given.no_ablations else ablations(given.seeds)
    added = () if given.no_agents else additions(given.seeds)
    board = _played(chosen, ablated, added, given.jobs, with_limits=not given.no_limits)
    if SCOREBOARD.is_file():
        board = _joined(read(SCOREBOARD.read_text("utf-8")), board, whole=not given.only)
    SCOREBOARD.write_text(document(board), "utf-8")
    print(f"scoreboard: wrote {SCOREBOARD.name} with {sum(len(one.columns) for one in board.tables)} rows; `make docs`")


def _played(
    chosen: Sequence[Section], ablated: Sequence[Section], added: Sequence[Section], jobs: int, *, with_limits: bool
) -> Scoreboard:
    folder = default_folder(os.environ)
    store = Store.of(folder)
    cells = [cell for one in (*chosen, *ablated, *added) for cell in one.cells()]
    columns = ("{task.description}", MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("runs")
        results = swept(cells, jobs, store, lambda done, of: progress.update(task, completed=done, total=of))
        extra: Extra = {}
        if with_limits:
            other = progress.add_task("limits")
            wanted = limits_of(chosen)
            extra = limited(wanted, jobs, folder, lambda done, of: progress.update(other, completed=done, total=of))
    found = dict(zip(cells, results, strict=True))
    tables, without, agents = (
        tables_of(chosen, found, extra),
        tables_of(ablated, found, {}),
        tables_of(added, found, {}),
    )
    return Scoreboard(code=code_digest(), tables=tables, ablations=without, agents=agents)


def _joined(old: Scoreboard, new: Scoreboard, *, whole: bool) -> Scoreboard:
    """Return the new tables, and in their places the old ones that were not played again.

    Where all were to be played, none of the old ones stays but ablations and agents, if these were left out.
    """
    played = {one.scenario for one in new.tables}
    tables = [*(one for one in old.tables if not whole and one.scenario not in played), *new.tables]
    order = [one.scenario for one in sections(1)]
    tables.sort(key=lambda one: (order.index(one.scenario) if one.scenario in order else len(order), one.load))
    ablations, agents = new.ablations or old.ablations, new.agents or old.agents
    return Scoreboard(code=new.code, tables=tuple(tables), ablations=ablations, agents=agents, llms=old.llms)


def with_asked(board: Scoreboard, evaluation: str) -> Scoreboard:
    """Return the board with what an evaluation says, in place of what the same model did in the same scenario."""
    told = json.loads(evaluation)
    told |= {"latency_ratio": told["ratio"]["mean"]}
    new = Asked.model_validate_json(json.dumps({name: told[name] for name in Asked.model_fields}))
    kept = (one for one in board.llms if (one.llm, one.scenario, one.load) != (new.llm, new.scenario, new.load))
    llms = sorted((*kept, new), key=lambda one: (one.llm, one.scenario, one.load))
    return board.model_copy(update={"llms": tuple(llms)})


if __name__ == "__main__":
    main()
