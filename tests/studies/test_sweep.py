"""Cells give the same wherever and whenever they are played, and what is finished is not played again."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fairlead.contracts.errors import ConfigError, InputError
from fairlead.studies.cells import Cell, CellResult, ScenarioAt, game_of, run_cell
from fairlead.studies.store import Store, code_digest, default_folder
from fairlead.studies.sweep import swept
from fairlead.twin.play import play

SHORT = ScenarioAt("city7-rotating", 0.8, 100.0, 300.0)


def cells(*policies: str, seeds: int = 1) -> list[Cell]:
    """Return short cells."""
    return [Cell(SHORT, policy, seed, "reference") for policy in policies for seed in range(1, seeds + 1)]


def timeless(results: tuple[CellResult, ...]) -> list[CellResult]:
    """Return results without what the clock says."""
    return [one.model_copy(update={"took_s": 0.0}) for one in results]


def test_a_cell_is_the_game_that_it_names() -> None:
    """With the searched placement where the policy is given one; the figures are the engine's."""
    cell = Cell(SHORT, "sed-static@fresh", 3, "reference")
    game = game_of(cell)
    assert (game.seed, str(game.policy), game.subject.window.end_at_s) == (3, "sed-static@fresh", 300.0)
    assert len(game.static) == 7
    result, figures = run_cell(cell), play(game, lambda share: None).figures
    assert (result.mean_s, result.x1, result.arrived) == (figures.latency_s.mean, figures.fairness.x1, figures.arrived)
    assert result.pairs == 28


@pytest.mark.parametrize(
    ("cell", "error", "words"),
    [
        (Cell(ScenarioAt("nowhere", 0.8), "lru", 1), ConfigError, "no scenario"),
        (Cell(SHORT, "magic", 1), InputError, "policy 'magic'"),
        (Cell(SHORT, "agents", 1), InputError, "a language model is asked by agents"),
        (Cell(ScenarioAt("catalogue-roomy", 0.6), "sed-static", 1), InputError, "none was searched"),
    ],
)
def test_what_cannot_be_played_is_refused(cell: Cell, error: type[InputError], words: str) -> None:
    """Before anything is simulated."""
    with pytest.raises(error, match=words):
        game_of(cell)


def test_a_pool_gives_what_one_process_gives_in_the_order_asked_for() -> None:
    """Equal cells are played once."""
    asked = cells("random-static", "lru@fresh", seeds=2)
    asked.append(asked[0])
    told: list[tuple[int, int]] = []
    alone = swept(asked, 1, None, lambda done, total: told.append((done, total)))
    assert told == [(done, 4) for done in range(5)]
    assert [one.cell for one in alone] == [str(cell) for cell in asked]
    assert timeless(swept(asked, 2, None, lambda done, total: None)) == timeless(alone)


def test_a_finished_cell_is_not_played_again(tmp_path: Path) -> None:
    """What is kept is given as it is; a file that was cut off is played anew, and so is all after a change of code."""
    store = Store.of(tmp_path)
    (cell,) = cells("random-static")
    (first,) = swept([cell], 1, store, lambda done, total: None)
    kept = first.model_copy(update={"took_s": 12345.0})
    store.write(cell, kept)
    told: list[int] = []
    assert swept([cell], 1, store, lambda done, total: told.append(done)) == (kept,)
    assert told == [1]
    (file,) = store.folder.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert timeless(swept([cell], 1, store, lambda done, total: None)) == timeless((first,))
    assert dataclasses.replace(store, code="other").read(cell) is None


def test_an_error_of_a_cell_ends_the_sweep_and_keeps_what_was_finished(tmp_path: Path) -> None:
    """In a pool as in one process."""
    store = Store.of(tmp_path)
    good = cells("random-static")
    for jobs in (1, 2):
        with pytest.raises(InputError, match="'magic'"):
            swept([*good, *cells("magic", seeds=2)], jobs, store, lambda done, total: None)
    assert store.read(good[0]) is not None
    assert not multiprocessing.active_children()


def test_the_key_changes_with_whatever_the_result_depends_on() -> None:
    """Source, policy, seed, engine and code; and is the same for equal cells."""
    (cell,) = cells("lru")
    others = [
        dataclasses.replace(cell, seed=2),
        dataclasses.replace(cell, policy="lru@fresh"),
        dataclasses.replace(cell, engine="auto"),
        dataclasses.replace(cell, source=dataclasses.replace(SHORT, load=0.9)),
    ]
    keys = {one.key("code") for one in (cell, *others)} | {cell.key("other")}
    assert len(keys) == 6
    assert cell.key("code") == cells("lru")[0].key("code")
    assert code_digest() == code_digest()


def test_cells_lie_in_the_users_cache(tmp_path: Path) -> None:
    """As the XDG base directories say; where nothing can be written it is said what to do."""
    assert default_folder({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/fairlead/cells")
    assert default_folder({"HOME": "/h"}) == Path("/h/.cache/fairlead/cells")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--store"):
        Store.of(tmp_path / "file")


LONG = """
import sys
from pathlib import Path
from fairlead.studies.cells import Cell, ScenarioAt
from fairlead.studies.store import Store
from fairlead.studies.sweep import swept
if __name__ == "__main__":
    sources = [ScenarioAt("city7-rotating", 0.8, 100.0, 300.0 + 1e6 * (seed > 1)) for seed in range(1, 5)]
    cells = [Cell(source, "random-static", seed, "reference") for seed, source in enumerate(sources, start=1)]
    swept(cells, 2, Store.of(Path(sys.argv[1])), lambda done, total: print(done, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_sweep_leaves_no_process_and_keeps_what_was_finished(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C and a kill; the cell that was done is there, and no process of the pool is."""
    script = tmp_path / "sweep.py"
    script.write_text(LONG)
    command = [sys.executable, str(script), str(tmp_path / "cells")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.getcwd()}
    ) as sweep:
        assert sweep.stdout is not None
        assert [sweep.stdout.readline() for _ in range(2)] == [b"0\n", b"1\n"]
        pool = psutil.Process(sweep.pid).children(recursive=True)
        assert len(pool) >= 2
        sweep.send_signal(number)
        try:
            sweep.wait(60)
        finally:
            sweep.kill()
    assert psutil.wait_procs(pool, timeout=60)[1] == []
    (kept,) = (tmp_path / "cells").glob("*/*.json")
    assert CellResult.from_json(kept.read_text()).cell == "city7-rotating load 0.8 random-static seed 1"
