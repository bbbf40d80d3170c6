"""A case, its failure, and the record of what has passed at this commit."""

import functools
import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parents[2]
STATE = ROOT / ".acceptance"
"""Results by commit; removing it makes everything run again."""


class Broken(Exception):
    """Something that must hold does not; the message has what was found and what is allowed."""


class Skipped(Exception):
    """What the case claims cannot be shown on this machine; the message has what is missing and how to get it."""


def hold(what: bool, message: str) -> None:
    """Raise `Broken` with `message` unless `what` is so."""
    if not what:
        raise Broken(message)


@dataclass(frozen=True, slots=True)
class Case:
    """One line of what must hold."""

    name: str
    claim: str
    """What it shows, in words."""
    run: Callable[[], str]
    """Returns the figures found; raises `Broken`, or anything else, where it does not hold."""
    pace: Literal["alone", "offline", "slow"] = "alone"
    """Whether others may run meanwhile: an `offline` case holds whatever else the machine does, a `slow` one does
    little for long; these two run side by side."""


@functools.cache
def revision() -> str:
    """Return the commit, and a digest of what differs from it in the work tree if anything does."""
    commit = _git("rev-parse", "HEAD").strip()[:12]
    changed = _git("diff", "HEAD") + "".join(
        f"{name}\n{(ROOT / name).read_bytes().hex()}" for name in _git("ls-files", "-o", "--exclude-standard").split()
    )
    return commit if not changed else f"{commit}-{hashlib.sha256(changed.encode()).hexdigest()[:8]}"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is known at one revision."""

    folder: Path

    @classmethod
    def of_now(cls) -> "Ledger":
        """Return the record of the revision that this process began with."""
        folder = STATE / revision()
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder)

    def read(self, name: str) -> Any:
        """Return what was kept under `name`, None if nothing was."""
        file = self.folder / f"{name}.json"
        return json.loads(file.read_text("utf-8")) if file.is_file() else None

    def write(self, name: str, document: Any) -> None:
        """Keep a document."""
        partial = self.folder / f"{name}.partial"
        partial.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
        partial.replace(self.folder / f"{name}.json")
