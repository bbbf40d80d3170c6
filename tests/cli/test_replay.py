"""`fairlead replay`: what it prints, keeps and refuses."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fairlead.contracts.decisions import DecisionRecord
from fairlead.contracts.episodes import DecisionLine, EpisodeHeader, RequestLine
from fairlead.studies.episodes.files import writing
from fairlead.studies.episodes.imports import network_lines
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import subject_of
from fairlead_cli.main import invoke
from tests.slot_agent.scripted_run import record_run

SHORT = ("--duration", "600", "--load", "0.1")
REFERENCE = ("--jobs", "1", "--engine", "reference")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep finished runs in a place of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fairlead" / "cells"


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    """Return an episode of ten minutes of city7 at load 0.5, the first two of them warm-up."""
    return written(tmp_path / "ten-minutes.jsonl")


def written(path: Path, decisions: Sequence[DecisionRecord] = ()) -> Path:
    """Write that episode, with decisions before its demand."""
    subject = subject_of(scenario("city7-stationary"), 0.5, 1, 120.0, 600.0)
    distances, payloads = network_lines(subject.cluster, subject.network)
    header = EpisodeHeader(
        name="ten-minutes",
        begins_at_s=0.0,
        window_start_s=120.0,
        window_end_s=600.0,
        cluster=subject.cluster,
        distances=distances,
        payloads=payloads,
        seed=1,
    )
    with writing(path, header) as write:
        for record in decisions:
            write(DecisionLine(at_s=0.0, record=record))
        for one in subject.demand():
            write(RequestLine(at_s=one.at_s, site=one.site, model=one.model, work_s=one.work_s))
    return path


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Return what the command prints as JSON."""
    assert invoke(["replay", *words, *REFERENCE, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_json_has_what_programs_need(capsys: pytest.CaptureFixture[str]) -> None:
    """Every figure is a value with its interval; nothing else is on standard output."""
    found = printed(capsys, "home3", "--policy", "lru@fresh", "--policy", "random-static", "--seeds", "2", *SHORT)
    first, second = found["results"]
    assert (first["policy"], first["load"], first["seeds"]) == ("lru@fresh", 0.1, 2)
    for figure in (
        *(first["latency_s"][name] for name in ("mean", "p95", "p99")),
        *(first["fairness"][name] for name in ("x1", "x2", "x3", "x4")),
        *(first[name] for name in ("service_ratio", "objective", "starts_per_hour")),
    ):
        assert set(figure) == {"value", "low", "high"}
        assert figure["low"] <= figure["value"] <= figure["high"]
    assert second["paired"]["against"] == "lru@fresh"
    assert second["paired"]["latency_ratio"]["mean"]["value"] == pytest.approx(
        second["latency_s"]["mean"]["value"] / first["latency_s"]["mean"]["value"]
    )


def test_a_second_time_nothing_is_played(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    """What is kept is printed; `--fresh` plays it again, with the same figures."""
    words = ("home3", "--policy", "random-static", "--seeds", "1", *SHORT)
    first = printed(capsys, *words)
    (file,) = cache.glob("*/*.json")
    before = file.stat().st_mtime_ns
    again = printed(capsys, *words)
    assert file.stat().st_mtime_ns == before
    assert again["results"] == first["results"]
    assert printed(capsys, *words, "--fresh")["results"] == first["results"]
    assert file.stat().st_mtime_ns > before


def test_an_episode_is_replayed_at_its_own_load_or_less(capsys: pytest.CaptureFixture[str], episode: Path) -> None:
    """All of it without `--load`, half of it at half its load; never more than it has."""
    whole = printed(capsys, str(episode), "--policy", "sed-static@fresh", "--seeds", "1")["results"][0]
    assert 0.3 < whole["load"] < 0.7
    half = printed(capsys, str(episode), "--policy", "sed-static", "--seeds", "1", "--load", str(whole["load"] / 2))
    assert 0.3 * whole["requests"] < half["results"][0]["requests"] < 0.7 * whole["requests"]
    short = printed(capsys, str(episode), "--policy", "sed-static", "--seeds", "1", "--duration", "240")
    assert 0.3 * whole["requests"] < short["results"][0]["requests"] < 0.7 * whole["requests"]
    assert invoke(["replay", str(episode), "--policy", "lru", "--load", "0.9"]) == 2
    assert "requests are not made up" in capsys.readouterr().err


def test_recorded_decisions_are_executed_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Byte for byte; one that was changed is named, and the command fails."""
    records = asyncio.run(record_run([("ask", "m1"), ("miss", "m4"), ("wait", "")], "marginal-dpp", 0))
    path = written(tmp_path / "good.jsonl", records)
    found = printed(capsys, str(path), "--policy", "recorded")
    assert (found["replayed"], found["identical"]) == (len(records), len(records))
    assert invoke(["replay", str(path), "--policy", "recorded"]) == 0
    assert f"{len(records)} identical" in capsys.readouterr().out
    changed = records[-1].model_copy(update={"input": records[-1].input.model_copy(update={"seed": 99, "now_s": 1e6})})
    path = written(tmp_path / "changed.jsonl", [*records[:-1], changed])
    assert invoke(["replay", str(path), "--policy", "recorded"]) == 1
    assert f"first: {changed.id} different" in capsys.readouterr().out


def test_figures_for_people_and_a_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One line a policy; the page and the JSON lie where they were wanted."""
    page, file = tmp_path / "made" / "here", tmp_path / "figures.json"
    words = ["home3", "--policy", "lru@fresh", "--policy", "random-static", "--seeds", "1", *REFERENCE, *SHORT]
    assert invoke(["replay", *words, "--report", str(page), "--json", str(file)]) == 0
    said = capsys.readouterr()
    assert said.out.count("\n") == 3
    assert str(page / "index.html") in said.err
    assert "<h1>home3: lru@fresh, random-static</h1>" in (page / "index.html").read_text("utf-8")
    assert len(json.loads(file.read_text())["results"]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "--policy", "lru"], "neither a scenario nor a file"),
        (["home3"], "no policy to replay"),
        (["home3", "--policy", "lru", "--policy", "lru@5s"], "named twice"),
        (["home3", "--policy", "magic"], "policy 'magic' is none of"),
        (["home3", "--policy", "lru[eta=x]"], "setting 'eta'"),
        (["home3", "--policy", "lru", "--load", "0"], "--load 0 cannot be offered"),
        (["home3", "--policy", "lru", "--load", "nan"], "--load nan cannot be offered"),
        (["home3", "--policy", "lru", "--load", "0.3", "--load", "0.3"], "given twice"),
        (["home3", "--policy", "lru", "--duration", "-1"], "--duration -1"),
        (["home3", "--policy", "lru", "--seeds", "0"], "--seeds"),
        (["home3", "--policy", "lru", "--jobs", "0"], "--jobs"),
        (["home3", "--policy", "lru", "--engine", "fast"], "auto, reference or compiled"),
        (["home3", "--policy", "sed-static"], "none was searched for home3"),
        (["home3", "--policy", "recorded"], "needs an episode"),
        (["home3", "--policy", "recorded", "--policy", "lru"], "stands alone"),
        (["home3", "--policy", "lru", "--json", "{file}/x"], "cannot be written"),
        (["home3", "--policy", "lru", "--report", "{file}/x"], "cannot be written"),
        (["home3", "--policy", "lru", "--store", "{file}/x"], "name a folder by --store"),
        (["{file}", "--policy", "lru"], "line 1 column 1"),
        (["{file}", "--policy", "recorded"], "line 1 column 1"),
        (["{episode}", "--policy", "recorded"], "has no recorded decisions"),
        (["{episode}", "--policy", "lru", "--duration", "1e6"], "is not inside it"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    words: list[str], said: str, tmp_path: Path, episode: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, nothing on standard output, before anything is played."""
    (tmp_path / "file").write_text("no episode\n")
    filled = [word.format(file=tmp_path / "file", episode=episode) for word in words]
    assert invoke(["replay", *filled]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert said in found.err
    assert found.err.count("\n") == 1
