"""Episodes in the twin: the same game as the scenario that they were written from, thinned to a load, with mishaps."""

from dataclasses import replace
from pathlib import Path

import pytest

from fairlead.contracts.episodes import EpisodeHeader, MishapLine
from fairlead.contracts.errors import InputError, TraceError
from fairlead.policy.measuring import Window
from fairlead.studies.episodes.files import checked
from fairlead.studies.episodes.imports import network_lines
from fairlead.studies.episodes.subject import demanded, network_of_episode, offered_load, subject_of_episode
from fairlead.twin.calendar import NodeBack, NodeLost, SpeedTurned
from fairlead.twin.play import Game, play, policy_at
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import Subject, subject_of
from tests.studies.trace_files import header, request, write_episode


def head_of(subject: Subject) -> EpisodeHeader:
    """Return the header of an episode that has a subject's cluster, network and window."""
    distances, payloads = network_lines(subject.cluster, subject.network)
    window = subject.window
    return header(
        subject.name,
        window.end_at_s,
        window.start_at_s,
        cluster=subject.cluster,
        distances=distances,
        payloads=payloads,
    )


def written(path: Path, subject: Subject) -> Path:
    """Write a subject's demand as an episode."""
    demand = (request(one.at_s, one.model, one.site, one.work_s) for one in subject.demand())
    return write_episode(path, demand, head_of(subject))


@pytest.fixture(scope="module")
def rotating(tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, Path]:
    """Return a scenario as a subject, and an episode of it."""
    subject = subject_of(scenario("city7-rotating"), 0.8, 3, 300.0, 1500.0)
    return subject, written(tmp_path_factory.mktemp("subject") / "rotating.jsonl.gz", subject)


def test_an_episode_is_the_same_game_as_what_it_was_written_from(rotating: tuple[Subject, Path]) -> None:
    """Demand, network and window are equal, and every figure of a policy's run but those about changes of rates."""
    subject, path = rotating
    again = subject_of_episode(path)
    assert list(again.demand()) == list(subject.demand()) == list(again.demand())
    assert (again.cluster, again.network, again.window) == (subject.cluster, subject.network, subject.window)
    assert again.changes_at_s == (), "a file of requests does not say when rates changed"
    games = [Game(one, policy_at("marginal-dpp@5s"), 3) for one in (replace(subject, changes_at_s=()), again)]
    first, second = (play(game, lambda _: None) for game in games)
    assert first == second


def test_a_lower_load_leaves_requests_out(rotating: tuple[Subject, Path]) -> None:
    """Each with the same probability, by the seed; its own load leaves none out, a higher one cannot be had."""
    _, path = rotating
    own = offered_load(checked(path))
    whole = list(subject_of_episode(path).demand())
    assert list(subject_of_episode(path, own).demand()) == whole
    half = subject_of_episode(path, own / 2, seed=1)
    kept = list(half.demand())
    assert set(kept) <= set(whole)
    assert len(kept) == pytest.approx(len(whole) / 2, rel=0.1)
    assert list(half.demand()) == kept
    assert list(subject_of_episode(path, own / 2, seed=2).demand()) != kept
    for load in (own * 1.01, 0.0, float("nan")):
        with pytest.raises(InputError, match="offers load"):
            subject_of_episode(path, load)


def test_a_window_of_ones_own_lies_inside_the_episode(rotating: tuple[Subject, Path]) -> None:
    """Requests after its end do not come; what is not there is refused."""
    _, path = rotating
    short = subject_of_episode(path, warm_up_s=100.0, run_s=400.0)
    assert short.window == Window(100.0, 400.0)
    assert max(one.at_s for one in short.demand()) < 400.0
    for warm_up_s, run_s in ((400.0, 400.0), (None, 1501.0), (-1.0, None), (None, 200.0)):
        with pytest.raises(InputError, match="is not inside it"):
            subject_of_episode(path, warm_up_s=warm_up_s, run_s=run_s)


def test_demand_is_counted_inside_the_window(tmp_path: Path) -> None:
    """Work over the speed of all nodes; models without requests are left out."""
    there = [request(5.0), request(10.0, "image", work_s=24.0), request(50.0, work_s=3.0)]
    path = write_episode(tmp_path / "a.jsonl", there)
    found = demanded(path, Window(10.0, 100.0))
    assert [(one.model, one.requests, one.work_s) for one in found] == [("image", 1, 24.0), ("small-text", 1, 3.0)]
    assert offered_load(checked(path)) == pytest.approx(27.0 / 90.0 / 6.4)


def test_what_befalls_nodes_is_in_the_subject(tmp_path: Path) -> None:
    """At its instant, as the twin knows it."""
    lines = [
        MishapLine(at_s=1.0, what="node-lost", node="node-2"),
        MishapLine(at_s=2.0, what="node-back", node="node-2"),
        MishapLine(at_s=3.0, what="speed-turned", node="node-5", speed=0.7),
    ]
    found = subject_of_episode(write_episode(tmp_path / "a.jsonl", lines)).mishaps
    assert found == ((1.0, NodeLost("node-2")), (2.0, NodeBack("node-2")), (3.0, SpeedTurned("node-5", 0.7)))


def test_a_broken_episode_is_no_subject(tmp_path: Path) -> None:
    """However far behind it is broken: nothing is played of it."""
    path = write_episode(tmp_path / "a.jsonl", [request(float(at)) for at in range(90)])
    path.write_bytes(path.read_bytes().replace(b'"at_s":80.0', b'"at_s":80.5'))
    with pytest.raises(TraceError, match="line 92"):
        subject_of_episode(path)


def test_the_network_of_an_episode_is_its_own(tmp_path: Path) -> None:
    """Site, node, one way; and payloads by model."""
    head = header()
    network = network_of_episode(head)
    assert network_lines(head.cluster, network) == (head.distances, head.payloads)
    assert checked(write_episode(tmp_path / "a.jsonl", [])).header == head
