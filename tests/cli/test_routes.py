"""`fairlead routes`: the cluster's own gateway, as it was seen last."""

import json

import pytest

from fairlead.contracts.resources import RouteStates
from tests.adapters import store_examples as some
from tests.cli.conftest import System
from tests.cli.test_agents import said


def test_routes_are_told_with_what_the_gateway_says_of_them(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights in percent, the table they are of, the gateway's own word; nothing is exported before something is."""
    assert "ours alone serves" in said(capsys, "routes")
    states = RouteStates(gateway="infra/edge", observed_at_s=0.0, reason="", items=(some.route_state(left_out=0.125),))
    system.does(system.store.put_routes(states))
    assert RouteStates.from_json(said(capsys, "routes", "--json")) == states
    words = said(capsys, "routes")
    assert words.startswith("gateway infra/edge, seen 1970-01-01 00:00:00\n")
    line = (
        "text *  7 rejected  1970-01-01 00:00:12  node-1 25 %, node-2 75 % (12.5 % of the row has no room)  NotAllowed"
    )
    assert line.split() == words.splitlines()[-1].split()
    assert json.loads(said(capsys, "routes", "--json"))["items"][0]["model"] == "text"
