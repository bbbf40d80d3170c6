"""A bounded queue of messages on disk: what a process has to say outlives its kill, and is delivered in order.

A message is one line in a segment file; a second file holds the position up to which all were delivered. A process
killed between a delivery and the note of it delivers that message once more: its receiver knows it by (reporter,
instance, sequence), so that the two together deliver exactly once. Lines are handed to the operating system, not
forced to the platter: they outlive the process, not a loss of power.

Full means full: the message that no longer fits is dropped and counted, so the oldest go last (DESIGN §5).
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Never

from fairlead.contracts.errors import Conflict, Denied, InputError, NotFound, Unavailable

SEGMENTS = 8
"""The bound is split so often; a delivered segment frees its share of it."""

RECYCLE_BYTES = 65_536
"""Once everything is delivered, a segment longer than this is left behind; own choice, half a page cache read-ahead."""

POSITION_BYTES = 42
"""Two numbers of 20 digits, a space and a line end."""


class Spool:
    """Messages in files under one directory, first in, first out; one process at a time uses a directory."""

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        """Open or create the spool; what an earlier process left there comes first."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._segment_bytes = max(4096, limit_bytes // SEGMENTS)
        self.dropped = 0
        """Messages that no longer fitted, or that the disk refused."""
        self.torn = 0
        """Half lines found at the start: their writer died in the middle."""
        self._position = os.open(directory / "position", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._sizes: dict[int, int] = self._mended()
        self._read_segment, self._read_offset = self._restored()
        self._writer = self._opened(max(self._sizes))
        self._reader = self._opened(self._read_segment)
        self.pending = self._counted()
        """Messages not yet delivered."""
        self._head: bytes | None = None

    def append(self, message: str) -> bool:
        """Keep a message; False if it does not fit and was dropped. It must not hold a line end."""
        line = message.encode() + b"\n"
        if sum(self._sizes.values()) + len(line) > self._limit_bytes:
            self.dropped += 1
            return False
        last = max(self._sizes)
        if self._sizes[last] and self._sizes[last] + len(line) > self._segment_bytes:
            last = self._begin_segment()
        try:
            written = os.write(self._writer, line)
        except OSError:
            written = 0
        if written < len(line):
            os.ftruncate(self._writer, self._sizes[last])
            self.dropped += 1
            return False
        self._sizes[last] += len(line)
        self.pending += 1
        return True

    def oldest(self) -> str | None:
        """Return the message that is next to be delivered; None if there is none."""
        if not self.pending:
            return None
        if self._head is None:
            if self._read_offset >= self._sizes[self._read_segment]:
                self._leave_segment()
            self._head = self._line_at(self._read_offset)
        return self._head[:-1].decode(errors="replace")

    def delivered(self) -> None:
        """Forget the oldest message: its receiver has it."""
        if self.oldest() is None or self._head is None:
            return
        self._read_offset += len(self._head)
        self._head = None
        self.pending -= 1
        if self._read_offset >= self._sizes[self._read_segment]:
            if self._read_segment < max(self._sizes):
                self._leave_segment()
            elif self._read_offset >= RECYCLE_BYTES:
                self._begin_segment()
                self._leave_segment()
        self._note()

    def close(self) -> None:
        """Close the files; what is pending stays for the next process."""
        for descriptor in (self._position, self._writer, self._reader):
            os.close(descriptor)

    def _path(self, segment: int) -> Path:
        return self._directory / f"{segment:020d}.ndjson"

    def _opened(self, segment: int) -> int:
        return os.open(self._path(segment), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _mended(self) -> dict[int, int]:
        """Return the size of each segment, the half line at the end of each cut off."""
        sizes: dict[int, int] = {}
        for path in sorted(self._directory.glob("*.ndjson")):
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                self.torn += 1
                os.truncate(path, whole)
            sizes[int(path.stem)] = whole
        return sizes or {1: 0}

    def _restored(self) -> tuple[int, int]:
        """Return where to read on: the noted position, or the beginning of the oldest segment if it makes no sense."""
        words = os.pread(self._position, POSITION_BYTES, 0).split()
        if len(words) == 2 and all(w.isdigit() for w in words):
            segment, offset = int(words[0]), int(words[1])
            if segment in self._sizes and offset <= self._sizes[segment]:
                for older in [s for s in self._sizes if s < segment]:
                    self._path(older).unlink(missing_ok=True)
                    del self._sizes[older]
                return segment, offset
        return min(self._sizes), 0

    def _counted(self) -> int:
        count = self._path(self._read_segment).read_bytes()[self._read_offset :].count(b"\n")
        return count + sum(self._path(s).read_bytes().count(b"\n") for s in self._sizes if s > self._read_segment)

    def _line_at(self, offset: int) -> bytes:
        line, take = b"", 4096
        while not line.endswith(b"\n"):
            piece = os.pread(self._reader, take, offset + len(line))
            end = piece.find(b"\n") + 1
            line += piece[:end] if end else piece
            take *= 4
            if not piece:
                raise InputError(f"spool {self._directory} ends in the middle of a line: remove the directory")
        return line

    def _begin_segment(self) -> int:
        segment = max(self._sizes) + 1
        os.close(self._writer)
        self._writer = self._opened(segment)
        self._sizes[segment] = 0
        return segment

    def _leave_segment(self) -> None:
        """Go on with the next segment; the one that was read to its end is removed."""
        done = self._read_segment
        self._read_segment, self._read_offset = min(s for s in self._sizes if s > done), 0
        os.close(self._reader)
        self._reader = self._opened(self._read_segment)
        self._note()
        self._path(done).unlink(missing_ok=True)
        del self._sizes[done]

    def _note(self) -> None:
        os.pwrite(self._position, f"{self._read_segment:020d} {self._read_offset:020d}\n".encode(), 0)


class Outbox:
    """Delivers a spool's messages in order, trying again with back-off for as long as it takes."""

    def __init__(
        self,
        spool: Spool,
        send: Callable[[str], Awaitable[None]],
        seed: int,
        *,
        first_s: float = 0.1,
        most_s: float = 5.0,
    ) -> None:
        """Send through `send`; waits between failures double from `first_s` to `most_s` wall seconds, with jitter."""
        self._spool = spool
        self._send = send
        self._jitter = random.Random(seed)
        self._first_s = first_s
        self._most_s = most_s
        self._some = asyncio.Event()
        self.sent = 0
        """Messages that were delivered."""
        self.rejected = 0
        """Messages that the receiver will never take."""
        self.retries = 0
        """Deliveries that failed and were tried again."""
        self.last_error = ""
        """Why the newest of them failed."""

    def put(self, message: str) -> bool:
        """Keep a message for delivery; False if the spool is full."""
        kept = self._spool.append(message)
        self._some.set()
        return kept

    async def run(self) -> Never:
        """Deliver until cancelled; `send` has a time-out of its own."""
        failures = 0
        while True:
            message = self._spool.oldest()
            if message is None:
                self._some.clear()
                await self._some.wait()
                continue
            try:
                await self._send(message)
                self.sent += 1
            except (Unavailable, Denied) as error:
                self.retries += 1
                self.last_error = str(error)
                ceiling_s = min(self._most_s, self._first_s * 2.0 ** min(failures, 30))
                failures += 1
                await asyncio.sleep(ceiling_s * (0.5 + 0.5 * self._jitter.random()))
                continue
            except (InputError, NotFound, Conflict) as error:
                self.rejected += 1
                self.last_error = str(error)
            failures = 0
            self._spool.delivered()
