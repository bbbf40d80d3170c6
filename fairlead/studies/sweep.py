"""Many cells played, on as many processes as wanted, each at most once: what a store has is not played again."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from types import FrameType

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
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_serve)
    with _interruptible() as pressed:
        try:
            waiting = {pool.submit(run_cell, cell): cell for cell in cells}
            for one in as_completed(waiting):
                yield waiting[one], one.result()
        except BrokenProcessPool:
            if pressed.is_set():
                raise KeyboardInterrupt from None
            raise
        except BaseException:
            _end_children()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _interruptible() -> Generator[threading.Event]:
    """Let Ctrl-C end the pool's processes, which breaks the pool; give what tells whether it was pressed.

    A `KeyboardInterrupt` alone gets lost where it is raised inside of what Python calls on its own, such as the weak
    references' callbacks of a pool: exceptions are ignored there.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def press(number: int, frame: FrameType | None) -> None:
        pressed.set()
        if not _end_children():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _end_children() -> int:
    """End the processes that this one has started; return how many there were."""
    children = multiprocessing.active_children()
    for process in children:
        process.terminate()
    return len(children)


def _serve() -> None:
    """Let a process of the pool end with the one that started it, and leave Ctrl-C to that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
