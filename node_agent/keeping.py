"""What an agent keeps on disk beside its pods: the last cluster and the last placement, each whole or not at all."""

import os
from pathlib import Path
from typing import TypeVar

import structlog
from pydantic import ValidationError

from fairlead.contracts.base import Message
from fairlead.contracts.errors import foreign

Kept = TypeVar("Kept", bound=Message)


def keep(path: Path, message: Message) -> None:
    """Write a message so that a reader finds the old or the new one, never half of one.

    A disk that does not take it holds nobody up: what was kept is for a successor that cannot ask.
    """
    fresh = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(message.to_json())
        fresh.replace(path)
    except OSError as error:
        structlog.get_logger().warning("what is new could not be kept", path=str(path), error=foreign(error))


def kept(path: Path, kind: type[Kept]) -> Kept | None:
    """Return the message in a file; None if there is none that can be read."""
    try:
        return kind.from_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        structlog.get_logger().warning("what was kept cannot be read", path=str(path), error=foreign(error))
        return None
