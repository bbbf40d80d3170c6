"""The spool: order, bound, survival of a kill, exactly-once delivery to a receiver that knows repeats."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.adapters.spool import Outbox, Spool
from fairlead.contracts.errors import ControlUnavailable, InputError


def drained(spool: Spool) -> list[str]:
    """Return all pending messages, delivering each."""
    found = []
    while (message := spool.oldest()) is not None:
        found.append(message)
        spool.delivered()
    return found


def test_messages_come_out_in_the_order_they_went_in(tmp_path: Path) -> None:
    """First in, first out, over many segments."""
    spool = Spool(tmp_path, 200_000)
    sent = [f"message {i} " + "x" * (i % 300) for i in range(500)]
    assert all(spool.append(m) for m in sent)
    assert spool.pending == 500
    assert drained(spool) == sent
    assert spool.pending == 0
    spool.close()


def test_a_full_spool_drops_the_newest_and_counts_it(tmp_path: Path) -> None:
    """The oldest are dropped last."""
    spool = Spool(tmp_path, 10_000)
    kept = [spool.append(f"{i:04d}" + "y" * 95) for i in range(200)]
    assert kept == [True] * 100 + [False] * 100
    assert spool.dropped == 100
    assert sum(p.stat().st_size for p in tmp_path.glob("*.ndjson")) <= 10_000
    assert [m[:4] for m in drained(spool)] == [f"{i:04d}" for i in range(100)]
    assert spool.append("there is room again")
    spool.close()


def test_a_successor_delivers_what_is_left(tmp_path: Path) -> None:
    """Messages of an earlier process come first, delivered ones do not come again."""
    first = Spool(tmp_path, 100_000)
    for i in range(10):
        first.append(f"old {i}")
    for _ in range(4):
        first.oldest()
        first.delivered()
    first.close()
    second = Spool(tmp_path, 100_000)
    second.append("new")
    assert second.pending == 7
    assert drained(second) == [f"old {i}" for i in range(4, 10)] + ["new"]
    second.close()


def test_half_a_line_is_cut_off_and_counted(tmp_path: Path) -> None:
    """A writer that died in the middle leaves no broken message."""
    first = Spool(tmp_path, 100_000)
    first.append("whole")
    first.close()
    with (tmp_path / f"{1:020d}.ndjson").open("ab") as file:
        file.write(b"hal")
    second = Spool(tmp_path, 100_000)
    assert second.torn == 1
    second.append("next")
    assert drained(second) == ["whole", "next"]
    second.close()


def test_a_senseless_position_repeats_rather_than_loses(tmp_path: Path) -> None:
    """Where the position cannot be read, everything kept is delivered."""
    first = Spool(tmp_path, 100_000)
    first.append("a")
    first.append("b")
    first.oldest()
    first.delivered()
    first.close()
    (tmp_path / "position").write_bytes(b"nonsense")
    second = Spool(tmp_path, 100_000)
    assert drained(second) == ["a", "b"]
    second.close()


def test_files_stay_small_while_everything_is_delivered(tmp_path: Path) -> None:
    """Delivered segments are removed."""
    spool = Spool(tmp_path, 16_000_000)
    for i in range(3000):
        spool.append(f"{i} " + "z" * 200)
        assert spool.oldest() is not None
        spool.delivered()
    assert sum(p.stat().st_size for p in tmp_path.glob("*.ndjson")) < 200_000
    spool.close()


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.one_of(st.integers(0, 3000), st.just("deliver"), st.just("reopen")), max_size=60),
    limit=st.integers(5_000, 60_000),
)
def test_any_course_delivers_each_kept_message_once_in_order(
    tmp_path_factory: object, steps: list[int | str], limit: int
) -> None:
    """Whatever is appended, delivered and reopened: kept messages come out once, in order, within the bound."""
    directory = tmp_path_factory.mktemp("spool")  # type: ignore[attr-defined]
    spool = Spool(directory, limit)
    kept: list[str] = []
    out: list[str] = []
    for number, step in enumerate(steps):
        match step:
            case "deliver":
                message = spool.oldest()
                if message is not None:
                    out.append(message)
                    spool.delivered()
            case "reopen":
                spool.close()
                spool = Spool(directory, limit)
            case int(size):
                message = f"{number}:" + "m" * size
                if spool.append(message):
                    kept.append(message)
        assert sum(p.stat().st_size for p in directory.glob("*.ndjson")) <= limit
        assert spool.pending == len(kept) - len(out)
    out += drained(spool)
    spool.close()
    assert out == kept


WRITER = """
import sys
from pathlib import Path
from fairlead.adapters.spool import Spool
spool = Spool(Path(sys.argv[1]), 50_000_000)
number = 0
while True:
    assert spool.append(f"message {number}")
    number += 1
    if number == 500:
        print("going", flush=True)
"""


def test_what_was_kept_outlives_kill_9(tmp_path: Path) -> None:
    """A killed writer's messages are all there, without a gap."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"going\n"
        os.kill(writer.pid, signal.SIGKILL)
    spool = Spool(tmp_path, 50_000_000)
    found = drained(spool)
    spool.close()
    assert len(found) >= 500
    assert found == [f"message {i}" for i in range(len(found))]


async def test_the_outbox_tries_again_and_loses_nothing(tmp_path: Path) -> None:
    """A receiver that is away gets everything afterwards, in order; what it will never take is counted."""
    spool = Spool(tmp_path, 100_000)
    got: list[str] = []
    away = True
    tries = 0

    async def send(message: str) -> None:
        nonlocal tries
        tries += 1
        if away:
            raise ControlUnavailable("away")
        if message == "poison":
            raise InputError("no")
        got.append(message)

    outbox = Outbox(spool, send, seed=1, first_s=0.001, most_s=0.01)
    running = asyncio.create_task(outbox.run())
    for message in ("one", "poison", "two"):
        outbox.put(message)
    async with asyncio.timeout(10):
        while tries < 3:
            await asyncio.sleep(0.001)
        away = False
        while spool.pending:
            await asyncio.sleep(0.001)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    spool.close()
    assert got == ["one", "two"]
    assert (outbox.sent, outbox.rejected) == (2, 1)
    assert outbox.retries >= 3
