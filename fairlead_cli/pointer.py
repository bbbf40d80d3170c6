"""Where the running `fairlead up` of this user is found: a small file each, under the XDG state directory."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from fairlead_cli import private_file


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a client needs to know of a run."""

    pid: int
    control_url: str
    token: str
    """Of the role admin; the file is readable by its user only."""
    state_dir: str
    sites: tuple[str, ...]


def directory(environ: Mapping[str, str]) -> Path:
    """Return where pointers lie: $XDG_STATE_HOME/fairlead, ~/.local/state/fairlead without."""
    base = environ.get("XDG_STATE_HOME")
    home = Path(base) if base and Path(base).is_absolute() else Path(environ.get("HOME", "/")) / ".local" / "state"
    return home / "fairlead"


def write(pointer: Pointer, environ: Mapping[str, str]) -> Path:
    """Write a pointer and return its file, which is there whole or not; raises `OSError` if it cannot be written."""
    file = directory(environ) / f"up-{pointer.pid}.json"
    private_file.write(file, json.dumps(asdict(pointer)))
    return file


def read(environ: Mapping[str, str]) -> tuple[Pointer, ...]:
    """Return the pointers whose process lives, by pid; those of dead ones are removed."""
    found = []
    for file in sorted(directory(environ).glob("up-*.json")):
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
            pointer = Pointer(**(document | {"sites": tuple(document["sites"])}))
        except (OSError, ValueError, TypeError, KeyError):
            continue
        if _lives(pointer.pid):
            found.append(pointer)
        else:
            file.unlink(missing_ok=True)
    return tuple(found)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
