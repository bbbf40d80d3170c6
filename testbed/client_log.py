"""The client's log: two JSON lines per request, one when it is sent and one when it ends, whole after any kill -9."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fairlead.twin.demand import Demand

End = Literal["finished", "failed", "open"]
"""`finished`: the full answer came; `failed`: it ended without; `open`: the client left while it was running."""


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """What the client knows of one request; instants in domain seconds since the Unix epoch."""

    id: str
    model: str
    site: str
    """Where it was sent first."""
    due_at_s: float
    sent_at_s: float
    first_byte_at_s: float | None
    """When the answer's head came; None if none did."""
    ended_at_s: float | None
    """None if the log has no end of it: the client itself died."""
    end: End | None
    reason: str
    """Short code such as `http-503`, `connection-lost`; empty when finished."""
    sends: int
    """2 when the first connection broke before any byte; 0 if the log has no end of it."""


class ClientLog:
    """Appends lines to a file, each with one write of its own, so that no kill loses or tears more than the last."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def sent(self, record: ClientRecord, asked: Demand | None = None) -> None:
        """Append that a request was sent, and how much it asks for where that is known."""
        line = {
            "event": "sent",
            "id": record.id,
            "model": record.model,
            "site": record.site,
            "due_at_s": record.due_at_s,
            "at_s": record.sent_at_s,
        }
        if asked is not None:
            line |= {name: getattr(asked, name) for name in ("work_s", "prompt_tokens", "output_tokens")}
        self._append(line)

    def ended(self, record: ClientRecord) -> None:
        """Append how a request ended."""
        self._append(
            {
                "event": "ended",
                "id": record.id,
                "at_s": record.ended_at_s,
                "end": record.end,
                "reason": record.reason,
                "sends": record.sends,
                "first_byte_at_s": record.first_byte_at_s,
            }
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _append(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")


def read_client_log(path: Path) -> tuple[ClientRecord, ...]:
    """Return one record per request in order of sending; a torn last line is left out."""
    sent: dict[str, dict[str, Any]] = {}
    ended: dict[str, dict[str, Any]] = {}
    for line in whole_lines(path):
        document = json.loads(line)
        (sent if document["event"] == "sent" else ended)[document["id"]] = document
    return tuple(_record(line, ended.get(one)) for one, line in sent.items())


def whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file that a writer may have been killed at; nothing if there is no such file."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line


def _record(sent: dict[str, Any], ended: dict[str, Any] | None) -> ClientRecord:
    known = ended or {}
    return ClientRecord(
        id=sent["id"],
        model=sent["model"],
        site=sent["site"],
        due_at_s=sent["due_at_s"],
        sent_at_s=sent["at_s"],
        first_byte_at_s=known.get("first_byte_at_s"),
        ended_at_s=known.get("at_s"),
        end=known.get("end"),
        reason=known.get("reason", ""),
        sends=known.get("sends", 0),
    )
