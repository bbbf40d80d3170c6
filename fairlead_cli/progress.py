"""How far something long is, in one line where a person looks on, and nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(what: str, at_first: str = "") -> Iterator[Callable[[int, int], None]]:
    """Give what is told how many are done of how many; `at_first` says what takes so long until one more is done."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        waiting = f"{what} ({at_first})" if at_first else what
        task = shown.add_task(waiting, total=None)
        before: list[int] = []

        def tell(done: int, total: int) -> None:
            before.append(done)
            shown.update(task, completed=done, total=total, description=what if done > before[0] else waiting)

        yield tell
