"""The lock files: every package pinned with hashes, no index address inside, nothing of `pyproject.toml` missing."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = {
    "edge.txt": ("edge",),
    "control.txt": ("control", "llm", "embedded-mongo"),
    "core.txt": ("control", "llm", "twin"),
    "all.txt": ("edge", "control", "llm", "embedded-mongo", "testbed", "local", "dev"),
}
"""Extras of each lock file."""


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=\[; ]", requirement, maxsplit=1)[0]).lower()


@pytest.mark.parametrize("lock", [*LOCKS, "weights.txt"])
def test_every_package_is_pinned_with_its_hashes(lock: str) -> None:
    """Each entry has one version and at least one hash; whose index it came from stays out."""
    text = (ROOT / "requirements" / lock).read_text("utf-8")
    assert "://" not in text
    assert "--index" not in text
    entries = re.findall(r"^[a-z0-9].*(?:\n    .*)*", text, re.M)
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==[^ ]+", entry), entry
        assert "--hash=sha256:" in entry, entry


@pytest.mark.parametrize(("lock", "extras"), LOCKS.items())
def test_lock_has_all_that_is_asked_for(lock: str, extras: tuple[str, ...]) -> None:
    """Every requirement of the project and of the lock's extras is in it: `make lock` was not forgotten."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / lock).read_text("utf-8"), re.M))
    assert {_name(one) for one in asked} - {"fairlead"} <= locked
