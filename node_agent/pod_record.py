"""What an agent writes down of each pod before it exists, so that its successor finds it: one small file a pod."""

import contextlib
from pathlib import Path
from typing import Literal

import structlog
from pydantic import ValidationError

from fairlead.contracts.base import Bytes, Id, Instant, Message, Name
from fairlead.contracts.errors import foreign


class PodRecord(Message):
    """One pod of a node."""

    node: Id
    model: Id
    instance: Name
    launcher: Literal["exec", "warm-parent"]
    ready_path: str
    memory_bytes: Bytes
    ordered_at_s: Instant
    start_delay_s: float
    boot: Name
    """Of the machine; a record of an earlier boot names nobody."""
    pid: int | None
    """None until it is known."""
    start_ticks: int | None
    port: int | None

    @property
    def url(self) -> str | None:
        """Return where the pod answers."""
        return None if self.port is None else f"http://127.0.0.1:{self.port}"


class PodRecords:
    """The records of a node's pods in one directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory

    def log_path(self, model: str) -> Path:
        """Return where the pod's own output goes; each start begins it anew."""
        return self.directory / f"{model}.log"

    def put(self, record: PodRecord) -> None:
        """Write a record whole or not at all."""
        fresh = self.directory / f"{record.model}.json.fresh"
        fresh.write_text(record.to_json())
        fresh.replace(self.directory / f"{record.model}.json")

    def remove(self, record: PodRecord) -> None:
        """Forget a pod, unless its model has begun another one."""
        path = self.directory / f"{record.model}.json"
        with contextlib.suppress(OSError, ValidationError):
            if PodRecord.from_json(path.read_bytes()).instance == record.instance:
                path.unlink()

    def all(self) -> tuple[PodRecord, ...]:
        """Return every record that can be read; the others are removed and logged."""
        found = []
        for path in sorted(self.directory.glob("*.json")):
            try:
                found.append(PodRecord.from_json(path.read_bytes()))
            except (OSError, ValidationError) as error:
                structlog.get_logger().warning("a pod's record cannot be read", path=str(path), error=foreign(error))
                path.unlink(missing_ok=True)
        return tuple(found)
