"""Scenarios in the twin: the demand that the testbed plays, the network of CONTROL §5, and what is measured."""

import json
from typing import Any

import pytest

from fairlead.contracts.errors import InputError
from fairlead.policy.measuring import Window
from fairlead.twin.clusters import cluster, default_ports
from fairlead.twin.demand import draw, until
from fairlead.twin.network import FAR_S, NEAR_S, network_of
from fairlead.twin.play import Game, Played, PolicyAt, engine_of, figures_of, outcomes_of, play, policy_at
from fairlead.twin.requests import at_once
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import Subject, subject_of
from fairlead_cli.main import invoke
from tests.twin.scene import asks, model, run
from tests.twin.scene import cluster as small

CITY7 = cluster("city7", default_ports("city7"))


def game(policy: str, name: str = "city7-rotating", load: float = 0.8, seed: int = 1) -> Game:
    """Return a game of ten minutes, the first 200 s of it warm-up."""
    return Game(subject_of(scenario(name), load, seed, warm_up_s=200.0, run_s=600.0), policy_at(policy), seed)


def quick(policy: str, **how: Any) -> Played:
    """Return what came of it."""
    return play(game(policy, **how), lambda share: None)


@pytest.mark.parametrize(
    ("text", "name", "fresh"),
    [("lru", "lru", False), ("lru@5s", "lru", False), ("marginal-dpp@fresh", "marginal-dpp", True)],
)
def test_a_policy_is_named_with_the_state_it_sees(text: str, name: str, fresh: bool) -> None:
    """Without a suffix it is every 5 s."""
    at = policy_at(text)
    assert (at.name, at.fresh) == (name, fresh)
    assert policy_at(str(at)) == at == PolicyAt(at.name, fresh)


def test_settings_stand_in_brackets() -> None:
    """In any order; they are what it decides by, all others have their defaults."""
    at = policy_at("marginal-dpp[fit_ratio=0.5, eta=0]@fresh")
    assert str(at) == "marginal-dpp[eta=0,fit_ratio=0.5]@fresh"
    assert (at.settings().eta, at.settings().fit_ratio) == (0.0, 0.5)
    assert at.settings().model_copy(update={"eta": 1.0, "fit_ratio": 0.8}) == policy_at("marginal-dpp").settings()


@pytest.mark.parametrize("text", ["lru[magic=1]", "lru[eta]", "lru[eta=high]", "lru[eta=-1]"])
def test_a_setting_that_is_none_is_refused(text: str) -> None:
    """With its name."""
    with pytest.raises(InputError, match=r"setting '(magic|eta)'"):
        policy_at(text)


@pytest.mark.parametrize("text", ["", "best", "lru@1s", "@fresh", "lru@fresh@5s"])
def test_a_policy_that_is_none_is_refused(text: str) -> None:
    """With the names that there are."""
    with pytest.raises(InputError, match="marginal-dpp"):
        policy_at(text)


def test_the_twin_plays_the_demand_of_the_testbed() -> None:
    """Request by request: the same instants, sites, models and work as `fairlead up` plays."""
    drawn = until(draw(scenario("city7-rotating").spans(CITY7, 0.8, 1, 200.0), CITY7, 1), 600.0)
    assert [(a.at_s, a.site, a.model, a.work_s) for a in game("lru").subject.demand()] == [
        (d.at_s, d.site, d.model, d.work_s) for d in drawn
    ]


def test_the_network_is_the_one_of_the_scoreboard() -> None:
    """2 ms to the node beside a site, up to 20 ms to others; 0.01 to 0.15 s of payload by kind."""
    network = network_of(CITY7)
    assert network == network_of(CITY7)
    for site in CITY7.sites:
        far_s = network.between_s[site.id]
        assert site.node is not None
        assert far_s[site.node] == NEAR_S
        assert all(NEAR_S <= one <= FAR_S for one in far_s.values())
        assert len(set(far_s.values())) == len(CITY7.nodes)
    payloads = [network.up_s[one.id] + network.down_s[one.id] for one in CITY7.models]
    assert (min(payloads), max(payloads)) == (0.01, 0.15)


@pytest.mark.parametrize(
    "policy", ["marginal-dpp@fresh", "marginal-dpp@5s", "lru@fresh", "random-static", "round-robin@5s"]
)
def test_every_policy_serves_the_stationary_city(policy: str) -> None:
    """At load 0.5 nobody is refused; what is counted adds up; the same game gives the same figures."""
    played = quick(policy, name="city7-stationary", load=0.5)
    figures = played.figures
    assert figures.arrived == figures.finished + figures.open == sum(one.arrived for one in figures.models)
    assert figures.arrived > 100
    assert (figures.failed, figures.refused) == (0, 0)
    assert played.decisions >= 20
    assert played == quick(policy, name="city7-stationary", load=0.5)


def test_static_policies_start_nothing_and_adaptive_ones_do() -> None:
    """From the same random placement, ready as the run begins."""
    static, adaptive = quick("random-static").figures, quick("marginal-dpp@fresh").figures
    assert static.starts_per_hour == static.stops_per_hour == 0.0
    assert adaptive.starts_per_hour > 0.0
    assert adaptive.stops_per_hour > 0.0


def test_what_is_unfinished_counts_with_its_age() -> None:
    """One is done in the window, one runs, one is refused; what came before the window is not measured.

    Two of them came within five minutes after demand changed.
    """
    shape = small((model("a", work_s=10.0), model("b", gb=4)))
    demand = asks((0.0, "a", 1.0), (110.0, "a", 30.0), (150.0, "a", 100.0), (160.0, "b", 1.0))
    engine = run(shape, demand, awake=[["a"]])
    engine.run(200.0)
    subject = Subject("s", shape, at_once(shape), lambda: iter(demand), Window(100.0, 200.0), changes_at_s=(120.0,))
    figures = figures_of(outcomes_of(engine), engine.starts, engine.stops, subject)
    assert (figures.arrived, figures.finished, figures.open) == (3, 1, 2)
    assert figures.latency_s.mean == pytest.approx((30.0 + 50.0 + 40.0) / 3)
    assert figures.after_change_s == pytest.approx((50.0 + 40.0) / 2)
    assert figures.service_ratio == pytest.approx(1 / 3)


def test_the_command_prints_what_came_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON for programs, the same figures for people."""
    assert invoke(["twin", "run", "home3", "--policy", "lru@fresh", "--load", "0.05", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["policy"] == "lru@fresh"
    assert set(document["fairness"]) == {"x1", "x2", "x3", "x4"}
    assert document["arrived"] == document["finished"] + document["open"]
    assert invoke(["twin", "run", "home3", "--policy", "lru@fresh", "--load", "0.05"]) == 0
    printed = capsys.readouterr().out
    assert f"mean {document['latency_s']['mean']:.3f} s" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no scenario is named 'nowhere'"),
        (["city7-rotating", "--policy", "magic"], "policy 'magic' is none of"),
        (["catalogue-roomy", "--policy", "sed-static"], "sed-static needs a searched placement"),
    ],
)
def test_a_run_that_cannot_be_is_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what there is, exit status 2."""
    assert invoke(["twin", "run", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_command_checks_the_twin(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each case; it fails where a case does, as too small a sample may."""
    status = invoke(["twin", "check", "--requests", "1000", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert status == (0 if document["ok"] else 1)
    assert all(one["furthest_s"] <= 1e-9 for one in document["items"])
    assert invoke(["twin", "check", "--requests", "1000"]) == status
    assert capsys.readouterr().out.count("\n") == 1 + len(document["items"])


def test_mishaps_and_orders_of_a_scenario_reach_the_run() -> None:
    """Cleared by operators before it leaves, a node loses nothing; lost without a word, it does."""
    loads = {}
    for name in ("city7-node-loss", "city7-maintenance"):
        subject = subject_of(scenario(name), 0.6, 4, warm_up_s=0.0, run_s=2200.0)
        engine = engine_of(Game(subject, policy_at("marginal-dpp@fresh"), 4))
        node = engine.nodes[subject.mishaps[0][1].node]
        engine.run(1199.0)
        loads[name] = sum(len(queue.running) + len(queue.waiting) for queue in node.queues.values())
        assert bool(node.pods) == (name == "city7-node-loss")
        engine.run(1201.0)
        assert not node.up
        engine.run(2200.0)
        assert node.up
    assert loads["city7-maintenance"] == 0
