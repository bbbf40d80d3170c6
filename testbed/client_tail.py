"""The client's log while it grows: counts of the whole run, and latency and fairness of the last minutes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fairlead.contracts.cluster import Cluster
from fairlead.policy.fairness import ModelStats, readings
from fairlead.policy.measuring import Window, latency, model_stats
from testbed.client_stats import Fated

RECENT_S = 600.0
"""Domain seconds that the figures beside the counts look back: a turn of the rotating scenarios (CONTROL §5)."""


@dataclass(frozen=True, slots=True)
class Lately:
    """What the clients see."""

    arrived: int
    finished: int
    failed: int
    open: int
    mean_s: float | None
    """Mean latency of the last minutes, domain seconds, what is running with its age; None without requests."""
    x1: float
    """Normalised Jain index of the timely service ratio (CONTROL §1)."""
    models: tuple[ModelStats, ...]


class ClientTail:
    """Reads what was appended since the last look."""

    def __init__(self, path: Path, cluster: Cluster) -> None:
        self._path = path
        self._cluster = cluster
        self._file: BinaryIO | None = None
        self._rest = b""
        self._recent: dict[str, Fated] = {}
        self._arrived = self._finished = self._failed = 0

    def look(self, now_s: float) -> Lately:
        """Return what the clients see at a domain instant."""
        for line in self._appended():
            document = json.loads(line)
            self._sent(document) if document["event"] == "sent" else self._ended(document)
        old_s = now_s - RECENT_S
        self._recent = {i: r for i, r in self._recent.items() if r.sent_at_s >= old_s or r.fate == "open"}
        window = Window(old_s, now_s)
        requests = tuple(self._recent.values())
        stats = model_stats(requests, self._cluster, window)
        return Lately(
            arrived=self._arrived,
            finished=self._finished,
            failed=self._failed,
            open=self._arrived - self._finished - self._failed,
            mean_s=sum(latency(one, window) for one in requests) / len(requests) if requests else None,
            x1=readings(stats).x1,
            models=stats,
        )

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _appended(self) -> list[bytes]:
        if self._file is None:
            if not self._path.is_file():
                return []
            self._file = self._path.open("rb")
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return lines

    def _sent(self, line: dict[str, Any]) -> None:
        self._arrived += 1
        self._recent[line["id"]] = Fated(line["id"], line["model"], line["at_s"], None, "open", "")

    def _ended(self, line: dict[str, Any]) -> None:
        if line["end"] == "open":
            return
        finished = line["end"] == "finished"
        self._finished += finished
        self._failed += not finished
        known = self._recent.get(line["id"])
        if known is not None:
            fate = "finished" if finished else "failed"
            self._recent[line["id"]] = Fated(known.id, known.model, known.sent_at_s, line["at_s"], fate, line["reason"])  # type: ignore[arg-type]
