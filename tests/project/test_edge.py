"""An edge process loads the edge's libraries alone."""

import json
import subprocess
import sys

import pytest

CONTROL_SIDE = ("fastapi", "starlette", "uvicorn", "pymongo", "bson", "httpx", "typer", "xllamacpp", "openai",
                "control_api", "planner", "slot_agent", "testbed", "fairlead_cli")  # fmt: skip
"""What an edge machine need not have installed, and what is no business of its processes."""

LOADED = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"


@pytest.mark.parametrize("service", ["gateway.service", "node_agent.service"])
def test_an_edge_process_loads_no_control_side(service: str) -> None:
    """A fresh interpreter that imports the service has loaded nothing of the control side."""
    done = subprocess.run([sys.executable, "-c", LOADED, service], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert loaded & {"aiohttp"}
    assert sorted(loaded & set(CONTROL_SIDE)) == []


def test_the_command_line_answers_before_it_loads_a_service() -> None:
    """`fairlead --help` imports no service and no library of one."""
    script = "import json, sys, fairlead_cli.main; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    heavy = {"aiohttp", "fastapi", "pymongo", "numpy", "gateway", "node_agent", "planner", "slot_agent", "control_api"}
    assert sorted(loaded & heavy) == []
