"""What surrounds a run: the lock on its directory, the sweeper behind it, the screen before it."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fairlead.contracts.errors import ConfigError
from testbed.layout import Layout, Order
from testbed.picture import Picture, line

LOOK_EVERY_S = 1.0
LINE_EVERY_S = 5.0
"""Wall seconds between two pictures in a terminal, and between two lines elsewhere."""


@dataclass(frozen=True, slots=True)
class Screen:
    """Where lines and pictures go."""

    tell: Callable[[str], None]
    show: Callable[[Picture], None]
    every_s: float
    """Wall seconds between two pictures."""


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory for one run; raises `ConfigError` where another run has it."""
    file = directory / "lock"
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"--state-dir {directory} is in use by another `fairlead up`: choose another one"
            ) from error
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


@contextlib.contextmanager
def swept(layout: Layout) -> Iterator[None]:
    """Keep a process that cleans up if this one is killed with -9; whatever it was needed for, it ends with us."""
    remove = [word for folder in layout.scratch for word in ("--remove", str(folder))]
    theirs, ours = os.pipe()
    sweeper = subprocess.Popen(
        [sys.executable, "-m", "testbed.sweeper", "--mark", layout.run, *remove],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(theirs)
    sweeper.returncode = 0  # the supervisor hears of every end and waits for it; Popen must not
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(sweeper.pid, signal.SIGKILL)
        os.close(ours)


@contextlib.contextmanager
def on_screen(order: Order, *, as_json: bool) -> Iterator[Screen]:
    """Give a live view in a terminal, plain lines on standard error elsewhere."""
    if sys.stderr.isatty() and not as_json:
        from testbed.live_view import LiveView

        with LiveView(f"Fairlead: {order.scenario.name}, {order.settings.policy}, load {order.load:g}") as view:
            yield Screen(view.tell, view.show, LOOK_EVERY_S)
        return

    def tell(words: str) -> None:
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()

    yield Screen(tell, lambda picture: tell(line(picture)), LINE_EVERY_S)
