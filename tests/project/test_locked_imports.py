"""A process and its children's programs can be imported where nothing is installed but the lock of their machine."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CORE = (
    "control_api.service",
    "planner.service",
    "planner.hindsight_child",
    "slot_agent.service",
    "kube_sync.service",
    "fairlead.agents.twin_child",
    "fairlead_cli.setup",
)
EDGE = (
    "gateway.service",
    "node_agent.service",
    "testbed.edge_machine",
    "testbed.warm_parent",
    "testbed.load_generator",
)

HIDDEN = """
import importlib, sys
hidden, modules = (words.split(",") for words in sys.argv[1:])
sys.modules.update(dict.fromkeys(hidden))
for module in modules:
    importlib.import_module(module)
"""
"""Imports modules while others are as if they were not installed."""


@pytest.mark.parametrize(("lock", "modules"), [("edge.txt", EDGE), ("control.txt", CORE), ("core.txt", CORE)])
def test_what_processes_import_is_in_their_lock(lock: str, modules: tuple[str, ...]) -> None:
    """With every other package of this environment hidden, each module is imported."""
    text = (ROOT / "requirements" / lock).read_text("utf-8")
    locked = {*re.findall(r"^([a-z0-9-]+)==", text, re.M), "fairlead"}
    owners = packages_distributions()
    hidden = [name for name, of in owners.items() if not {re.sub(r"[-_.]+", "-", one).lower() for one in of} & locked]
    assert "pytest" in hidden
    words = (sys.executable, "-c", HIDDEN, ",".join(hidden), ",".join(modules))
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-600:]
