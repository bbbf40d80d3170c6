"""Many cells played, on as many processes as wanted, each at most once: what a store has is not played again."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from fairlead.studies.cells import Cell, CellResult, run_cell
from fairlead.studies.store import Store

Tell = Callable[[int, int], None]
"""Told how many cells are done, of how many."""


def swept(cells: Sequence[Cell], jobs: int, store: Store | None, tell: Tell) -> tuple[CellResult, ...]:
    """Return the results of cells, in their order.

    Cells that are equal are played once. With one job they are played in this process, else in so many others, which
    end with this one. An error of one cell ends the sweep; what was finished is kept, as it is on an interruption.
    """
    found: dict[Cell, CellResult] = {}
    distinct = dict.fromkeys(cells)
    for cell in distinct:
        kept = None if store is None else store.read(cell)
        if kept is not None:
            found[cell] = kept
    tell(len(found), len(distinct))
    ahead = [cell for cell in distinct if cell not in found]
    with contextlib.closing(_played(ahead, min(jobs, len(ahead)))) as played:
        for cell, result in played:
            if store is not None:
                store.write(cell, result)
            found[cell] = result
            tell(len(found), len(distinct))
    return tuple(found[cell] for cell in cells)


def usable_cores() -> int:
    """Return how many processes can run at once here."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _played(cells: Sequence[Cell], jobs: int) -> Generator[tuple[Cell, CellResult], None, None]:
    """Yield cells with their results as they are finished."""
    if jobs <= 1:
        for cell in cells:
            yield cell, run_cell(cell)
        return
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_serve)
    try:
        waiting = {pool.submit(run_cell, cell): cell for cell in cells}
        for one in as_completed(waiting):
            yield waiting[one], one.result()
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _serve() -> None:
    """Let a process of the pool end with the one that started it, and leave Ctrl-C to that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
