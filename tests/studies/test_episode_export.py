"""A run that was recorded: what its database kept becomes lines in order, and its decisions come out again."""

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from fairlead.contracts.decisions import DecisionRecord, SlotInput
from fairlead.contracts.episodes import AnswerLine, DecisionLine, GatewayReportLine, OutcomeLine, Recorded, RequestLine
from fairlead.contracts.errors import InputError
from fairlead.contracts.readings import Choice, GatewayReport, NodeReport, Outcome
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.measuring import Window
from fairlead.policy.registry import decide_slot
from fairlead.studies.episodes.export import Run, export, recorded_in
from fairlead.studies.episodes.files import Episode, checked, lines
from fairlead.studies.episodes.recorded import check_recorded
from tests.adapters import store_examples as some
from tests.studies.trace_files import CITY7, header, request, write_episode

Item = TypeVar("Item")


async def within(items: Sequence[tuple[float, Item]], since_s: float, until_s: float) -> AsyncIterator[Item]:
    """Yield what lies between two instants, in order."""
    for at_s, item in sorted(items, key=lambda one: one[0]):
        if since_s <= at_s < until_s:
            yield item


@dataclass(frozen=True)
class Kept:
    """What a database has kept, in memory."""

    ended: tuple[Outcome, ...] = ()
    chosen: tuple[Choice, ...] = ()
    said: tuple[NodeReport | GatewayReport, ...] = ()
    journal: tuple[DecisionRecord, ...] = ()

    def arrived(self, since_s: float, until_s: float) -> AsyncIterator[Outcome]:
        """Yield outcomes by arrival."""
        return within([(one.arrived_at_s, one) for one in self.ended], since_s, until_s)

    def outcomes(self, since_s: float, until_s: float) -> AsyncIterator[Outcome]:
        """Yield outcomes by end."""
        return within([(one.ended_at_s, one) for one in self.ended], since_s, until_s)

    def choices(self, since_s: float, until_s: float) -> AsyncIterator[Choice]:
        """Yield choices."""
        return within([(one.at_s, one) for one in self.chosen], since_s, until_s)

    def reports(self, since_s: float, until_s: float) -> AsyncIterator[NodeReport | GatewayReport]:
        """Yield reports."""
        return within([(one.observed_at_s, one) for one in self.said], since_s, until_s)

    def decisions(self, since_s: float, until_s: float) -> AsyncIterator[DecisionRecord]:
        """Yield the journal."""
        return within([(one.made_at_s, one) for one in self.journal], since_s, until_s)


def decided(number: int) -> DecisionRecord:
    """Return a record of what the policy does decide for a slot."""
    record = some.slot_record(number)
    assert isinstance(record.input, SlotInput)
    return record.model_copy(update={"output": decide_slot(record.input)})


def ended(name: str, arrived_at_s: float, ended_at_s: float, **more: object) -> Outcome:
    """Return an outcome of a request of city7."""
    return some.outcome(name, ended_at_s, arrived_at_s=arrived_at_s, **({"model": "image"} | more))


def run(**more: object) -> Run:
    """Return a run from 1000 to 1100 of which everything since 990 is recorded."""
    recorded = Recorded(
        policy="marginal-dpp", settings=PolicySettings(), seed=7, static=(), speed=2.0, scenario="", load=None,
        clients=False, version="0",
    )  # fmt: skip
    fields = {
        "name": "run", "cluster": CITY7, "recorded": recorded, "window": Window(1000.0, 1100.0), "since_s": 990.0,
        "until_s": 1120.0,
    }  # fmt: skip
    return Run(**(fields | more))  # type: ignore[arg-type]


async def test_what_was_kept_becomes_lines_in_order(tmp_path: Path) -> None:
    """Instants count from the demand's begin; reports carry no outcomes twice; nothing outside is taken."""
    gateway = some.gateway_report(observed_at_s=1004.0, outcomes=(ended("a", 1002.0, 1008.0),))
    kept = Kept(
        ended=(ended("a", 1002.0, 1008.0), ended("b", 1001.0, 1130.0), ended("c", 980.0, 985.0)),
        said=(some.node_report(observed_at_s=995.0), gateway),
        journal=(decided(3), decided(1)),
    )
    episode = await export(run(), kept, None, tmp_path / "run.jsonl.gz")
    there = list(lines(episode.path))
    assert [(line.kind, line.at_s) for line in there] == [
        ("node-report", -5.0), ("request", 1.0), ("decision", 1.0), ("request", 2.0), ("decision", 3.0),
        ("gateway-report", 4.0), ("outcome", 8.0),
    ]  # fmt: skip
    assert next(line for line in there if isinstance(line, OutcomeLine)).outcome == kept.ended[0]
    report = next(line for line in there if isinstance(line, GatewayReportLine)).report
    assert report == gateway.model_copy(update={"outcomes": (), "samples": ()})
    assert [line.record for line in there if isinstance(line, DecisionLine)] == [decided(1), decided(3)]
    assert (episode.header.begins_at_s, episode.header.window_end_s) == (1000.0, 100.0)
    assert all(one.one_way_s == 0.0 for one in episode.header.distances), "live there is no emulated delay"


async def test_requests_are_the_clients_own_where_their_log_is_there(tmp_path: Path) -> None:
    """With work and ends as they saw them; gateways' arrivals are then not taken for requests."""
    asked = RequestLine(at_s=1.5, id="a", site="site-3", model="image", work_s=30.0, prompt_tokens=9, output_tokens=1)
    seen = AnswerLine(at_s=60.0, id="a", end="finished", reason="", first_byte_s=59.0, sends=1)
    kept = Kept(ended=(ended("a", 1001.6, 1059.0),))
    episode = await export(run(), kept, [asked, seen], tmp_path / "run.jsonl")
    assert [line for line in lines(episode.path) if not isinstance(line, OutcomeLine)] == [asked, seen]


async def test_a_request_that_went_on_elsewhere_is_one(tmp_path: Path) -> None:
    """It counts where it came first; a name that comes again much later is another request; models unknown are none."""
    kept = Kept(
        ended=(
            ended("a", 1001.0, 1002.0),
            ended("a", 1005.0, 1009.0),
            ended("b", 1006.0, 1009.0, model="gone"),
            ended("a", 1700.0, 1800.0),
        )
    )
    episode = await export(run(window=Window(1000.0, 1900.0)), kept, None, tmp_path / "run.jsonl")
    assert [line.at_s for line in lines(episode.path, frozenset({"request"}))] == [1.0, 700.0]


async def test_what_the_newest_slot_decision_says_of_the_run() -> None:
    """Policy, settings and seed are in its input; without one there is nothing to record."""
    kept = Kept(journal=(decided(1), some.epoch_record(2)))
    said, cluster = await recorded_in(kept, 0.0, 2000.0, 5.0, "0.1")
    assert (said.policy, said.seed, said.speed, said.clients, cluster) == (
        "marginal-dpp",
        7,
        5.0,
        False,
        some.cluster(),
    )
    with pytest.raises(InputError, match="no slot decision"):
        await recorded_in(Kept(journal=(some.epoch_record(2),)), 0.0, 2000.0, 5.0, "0.1")


async def recorded_run(path: Path, journal: Sequence[DecisionRecord]) -> Episode:
    """Write an episode with these decisions."""
    return await export(run(), Kept(journal=tuple(journal)), None, path)


async def test_recorded_decisions_come_out_again_byte_for_byte(tmp_path: Path) -> None:
    """All that are in the episode, counted while they are."""
    episode = await recorded_run(tmp_path / "run.jsonl.gz", [decided(1), decided(2), decided(3)])
    told: list[tuple[int, int]] = []
    tally = check_recorded(episode.path, lambda done, total: told.append((done, total)))
    assert tally.holds
    assert tally.document() == {"replayed": 3, "identical": 3, "different": 0, "diverged": 0, "first": None}
    assert told == [(1, 3), (2, 3), (3, 3)]


async def test_a_decision_that_comes_out_otherwise_is_named(tmp_path: Path) -> None:
    """With the first line that differs; the rest is executed all the same."""
    changed = some.slot_record(2)  # its output was made up
    episode = await recorded_run(tmp_path / "run.jsonl.gz", [decided(1), changed, decided(3)])
    tally = check_recorded(episode.path)
    assert not tally.holds
    assert tally.counts == {"identical": 2, "different": 1, "diverged": 0}
    assert tally.first is not None
    assert tally.first.id == "slot-2"
    assert "recorded: " in tally.first.difference


def test_an_episode_without_decisions_cannot_be_executed_again(tmp_path: Path) -> None:
    """It says what to do."""
    path = write_episode(tmp_path / "a.jsonl", [request(1.0)], header())
    assert checked(path).count("decision") == 0
    with pytest.raises(InputError, match="no recorded decisions: name a policy"):
        check_recorded(path)


async def test_nothing_is_there_where_the_database_fails(tmp_path: Path) -> None:
    """An export that breaks off leaves no file."""

    @dataclass(frozen=True)
    class Failing(Kept):
        async def broken(self) -> AsyncIterator[Choice]:
            raise InputError("the database went away")
            yield

        def choices(self, since_s: float, until_s: float) -> AsyncIterator[Choice]:
            return self.broken()

    with pytest.raises(InputError, match="went away"):
        await export(run(), Failing(ended=(ended("a", 1001.0, 1002.0),)), None, tmp_path / "run.jsonl")
    assert not os.listdir(tmp_path)
