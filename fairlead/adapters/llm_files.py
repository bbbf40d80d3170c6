"""Questions and answers in a file: recorded beside a model that is asked, replayed in place of one.

A line is an `Exchange` as JSON. Several processes may add to one file at once.
"""

import asyncio
import fcntl
import hashlib
import os
import time
from pathlib import Path

import pydantic
import structlog

from fairlead.contracts.dialogue import Answer, Ask, EndpointStatus, Exchange
from fairlead.contracts.errors import ConfigError, foreign
from fairlead.contracts.ports import Llm

LOCK_S = 2.0
"""Wall seconds that a line waits for another process to finish its own; writing one takes well below a millisecond."""

LOCK_EVERY_S = 0.005


class RecordingLlm:
    """The port `Llm`: asks another one and adds each question with its answer to a file."""

    def __init__(self, llm: Llm, file: str) -> None:
        """Add to `file`, made if need be; raises `ConfigError` if it cannot be written."""
        self._llm = llm
        self._file = file
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        try:
            self._lines = open(file, "a+b", buffering=0, opener=_private)  # noqa: SIM115 — closed by `close`
        except OSError as error:
            raise ConfigError(f"record:{file} cannot be written: {foreign(error)}") from error

    async def ask(self, ask: Ask, *, id: str, deadline_s: float) -> Answer:
        """Return the other's answer; one that cannot be recorded is returned all the same, and logged."""
        answer = await self._llm.ask(ask, id=id, deadline_s=deadline_s)
        line = Exchange(id=id, ask=ask, answer=answer).to_json().encode() + b"\n"
        try:
            await self._add(line)
        except (OSError, ValueError) as error:
            self._log.error("an answer could not be recorded", file=self._file, error=foreign(error))
        return answer

    def statuses(self) -> tuple[EndpointStatus, ...]:
        """Return the other's."""
        return self._llm.statuses()

    async def close(self) -> None:
        """Close the other and the file."""
        await self._llm.close()
        self._lines.close()

    async def _add(self, line: bytes) -> None:
        """Add a line whole, after the others; raises `OSError`, `ValueError` once closed."""
        until_s = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(self._lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until_s:
                    raise
            await asyncio.sleep(LOCK_EVERY_S)
        try:
            size = self._lines.seek(0, os.SEEK_END)
            torn = size > 0 and os.pread(self._lines.fileno(), 1, size - 1) != b"\n"
            rest = b"\n" + line if torn else line
            while rest:
                rest = rest[self._lines.write(rest) :]
        finally:
            fcntl.flock(self._lines, fcntl.LOCK_UN)


def _private(file: str, flags: int) -> int:
    """Open for this user alone: replies are nobody else's business."""
    return os.open(file, flags, 0o600)


class ReplayingLlm:
    """The port `Llm`: answers equal questions as they were answered, in their order, over and over."""

    def __init__(self, file: str) -> None:
        """Read `file`; raises `ConfigError` with the number of a line that is no exchange."""
        self._file = file
        self._answers: dict[bytes, list[Answer]] = {}
        self._turns: dict[bytes, int] = {}
        self._last: Answer | None = None
        try:
            with Path(file).open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    self._learn(number, line)
        except OSError as error:
            raise ConfigError(f"replay:{file} cannot be read: {foreign(error)}") from error

    async def ask(self, ask: Ask, *, id: str, deadline_s: float) -> Answer:
        """Return the recorded answer at once; `diverged` where this was never asked."""
        key = _key(ask)
        answers = self._answers.get(key)
        if answers is None:
            self._last = _diverged(self._file)
            return self._last
        turn = self._turns.get(key, 0)
        self._turns[key] = turn + 1
        self._last = answers[turn % len(answers)]
        return self._last

    def statuses(self) -> tuple[EndpointStatus, ...]:
        """Return the file as the one endpoint there is."""
        last = self._last
        return (
            EndpointStatus(
                url=f"replay:{self._file}"[:256],
                model=last.model if last else "",
                style=last.style if last else None,
                breaker="closed",
                last_code=last.code if last else None,
            ),
        )

    async def close(self) -> None:
        """Do nothing: the file is read."""

    def _learn(self, number: int, line: bytes) -> None:
        try:
            exchange = Exchange.from_json(line)
        except pydantic.ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(
                f"replay:{self._file}: line {number} is no recorded exchange"
                f" ({foreign(f'{where}: ' if where else '')}{foreign(first['msg'])}): remove it or record anew"
            ) from error
        self._answers.setdefault(_key(exchange.ask), []).append(exchange.answer)


def _key(ask: Ask) -> bytes:
    """Return what stands for a question: its canonical JSON takes a hundred times the place."""
    return hashlib.sha256(ask.to_json().encode()).digest()


def _diverged(file: str) -> Answer:
    return Answer(
        code="diverged", text=None, endpoint="", model="", style=None, attempts=0, took_s=0.0,
        prompt_tokens=0, reply_tokens=0, money=0.0, detail=foreign(f"not asked in {file}"),
    )  # fmt: skip
