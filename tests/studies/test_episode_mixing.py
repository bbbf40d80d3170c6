"""Traces mixed into one demand: factors that are written down, a load that is met, time that is never compressed."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fairlead.contracts.errors import InputError, TraceError
from fairlead.studies.episodes.files import lines
from fairlead.studies.episodes.imports import Source, Wish, import_episode, import_whole
from fairlead.studies.episodes.looks import drawn, listed, look, rates
from fairlead.studies.episodes.subject import offered_load, subject_of_episode
from fairlead.twin.clusters import cluster, default_ports
from tests.studies.trace_files import (
    CITY7,
    TRACES,
    azure_row,
    gentd26_row,
    windows,
    write_azure,
    write_gentd26,
    write_servegen,
)


def wish(sources: Sequence[Source], **more: object) -> Wish:
    """Return the wish for an episode of 2400 s on city7 at load 0.8."""
    plain = Wish("mix", CITY7, tuple(sources), 0.8, 300.0, 2400.0, 0.0, 7, sized=False, clients=None)
    return replace(plain, **more)  # type: ignore[arg-type]


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Source, ...]:
    """Return a text trace that is too fast and shorter than an episode, a service, and images that are too rare."""
    text = write_azure(tmp_path / "conv.csv", [azure_row(at / 4, output=1 + at % 19) for at in range(2400)])
    service = write_servegen(tmp_path / "multimodal-mm-image.tar.gz", {"chunk-0": windows(3.0, 12)})
    seconds = range(0, 86_400, 40)
    images = write_gentd26(tmp_path / "images.csv.gz", [gentd26_row(15, at) for at in seconds])
    return (
        Source("azure", text, ("small-text", "large-text")),
        Source("servegen", service),
        Source("gentd26", images),
    )


def test_a_mix_has_the_load_and_says_how_it_was_made(tmp_path: Path, sources: tuple[Source, ...]) -> None:
    """Each model is fed by its trace, thinned or laid over itself, in the proportions of the cluster's mix."""
    episode = import_episode(wish(sources), tmp_path / "mix.jsonl.gz")
    by_model = {one.model: one for one in episode.header.sources}
    assert {name: one.trace for name, one in by_model.items()} == {
        "small-text": "azure", "large-text": "azure", "vision-language": "servegen", "image": "gentd26",
    }  # fmt: skip
    assert by_model["small-text"].layers == 1
    assert by_model["small-text"].trace_per_s == pytest.approx(4.0)
    assert by_model["image"].trace_per_s == pytest.approx(0.125, rel=0.01)
    assert by_model["image"].layers == 5, "0.11 images a second are wanted, there are 0.025"
    assert offered_load(episode) == pytest.approx(0.8, rel=0.15)
    counts = {one.model: one.requests for one in look(episode.path).demand}
    for name, one in by_model.items():
        assert one.offered_per_s == pytest.approx(one.kept_ratio * one.trace_per_s)
        assert counts[name] == pytest.approx(one.offered_per_s * 2100, rel=0.25)
    text = [line.at_s for line in lines(episode.path) if line.kind == "request" and line.model == "small-text"]
    assert all(at_s * 4 == pytest.approx(round(at_s * 4), abs=1e-5) for at_s in text), "times are the trace's own"
    images = [line.at_s for line in lines(episode.path) if line.kind == "request" and line.model == "image"]
    assert all(at_s == int(at_s) for at_s in images)


def test_the_same_wish_gives_the_same_bytes(tmp_path: Path, sources: tuple[Source, ...]) -> None:
    """For a seed; another seed or another stretch give another demand."""
    first = import_episode(wish(sources), tmp_path / "a.jsonl").path.read_bytes()
    assert import_episode(wish(sources), tmp_path / "b.jsonl").path.read_bytes() == first
    for other in (wish(sources, seed=8), wish(sources, from_s=600.0)):
        assert import_episode(other, tmp_path / "c.jsonl").end.sha256 not in first.decode()


def test_work_can_go_by_the_sizes_of_the_trace(tmp_path: Path, sources: tuple[Source, ...]) -> None:
    """In proportion to the tokens that are generated, with the model's mean."""
    episode = import_episode(wish(sources[:1], sized=True), tmp_path / "a.jsonl")
    there = [line for line in lines(episode.path) if line.kind == "request" and line.model == "small-text"]
    mean_s = sum(line.work_s for line in there) / len(there)
    assert mean_s == pytest.approx(2.0, rel=0.05)
    assert all(line.work_s == pytest.approx(2.0 * (line.output_tokens or 0) / 10.0, rel=1e-2) for line in there)


def test_a_trace_with_too_few_rows_gives_what_it_has(tmp_path: Path) -> None:
    """Rows are not made up: the factors say that less is offered, and the load is missed."""
    sparse = write_azure(tmp_path / "sparse.csv", [azure_row(at * 60) for at in range(60)])
    episode = import_episode(wish([Source("azure", sparse)], run_s=1200.0), tmp_path / "a.jsonl")
    assert all(one.layers == 3 for one in episode.header.sources), "of an hour three stretches of twenty minutes"
    assert sum(one.kept_ratio for one in episode.header.sources) == pytest.approx(1.0)
    assert offered_load(episode) < 0.4


def test_bad_wishes_are_refused_and_write_nothing(tmp_path: Path, sources: tuple[Source, ...]) -> None:
    """Models that are not there or fed twice, traces that feed none, stretches and warm-ups that leave nothing."""
    text, service, images = sources
    out = tmp_path / "out.jsonl"
    broken = write_azure(tmp_path / "broken.csv", [azure_row(0), azure_row(1), "nonsense"])
    home3 = cluster("home3", default_ports("home3"))
    for bad, why in (
        (wish([replace(text, models=("dream",))]), "no model 'dream'"),
        (wish([text, replace(images, models=("small-text",))]), "fed by two traces"),
        (wish([images], cluster=home3), "no model of the cluster"),
        (wish([service], from_s=7200.0), "is not in it"),
        (wish([text], warm_up_s=2400.0), "leaves nothing"),
        (wish([text, Source("azure", broken, ("image",))]), "line 4 column 9"),
        (wish([Source("azure", tmp_path / "nowhere")]), "cannot be read"),
    ):
        with pytest.raises(InputError, match=why):
            import_episode(bad, out)
        assert not out.exists()


def test_data_sets_feed_the_models_that_they_suit(tmp_path: Path) -> None:
    """Of directories: conversations and code, services by name, the requests of GenTD26; what is named comes first."""
    rows = [azure_row(at / 4) for at in range(2400)]
    for name in ("conv", "code"):
        write_azure(tmp_path / f"AzureLLMInferenceTrace_{name}.csv", rows)
    for name in ("language-m-small", "language-m-large", "multimodal-mm-image"):
        write_servegen(tmp_path / f"{name}.tar.gz", {"chunk-0": windows(3.0, 12)})
    write_gentd26(tmp_path / "lora_request_trace.csv.gz", [gentd26_row(15, at * 8) for at in range(2000)])
    made = import_episode(wish([Source("azure", tmp_path)]), tmp_path / "a.jsonl")
    assert [(one.file[23:27], one.model) for one in made.header.sources] == [
        ("code", "large-text"),
        ("conv", "small-text"),
    ]
    made = import_episode(
        wish([Source("gentd26", tmp_path, ("small-text",)), Source("servegen", tmp_path), Source("gentd26", tmp_path)]),
        tmp_path / "b.jsonl",
    )
    assert [(one.model, one.file.partition(".")[0]) for one in made.header.sources] == [
        ("image", "lora_request_trace"),
        ("large-text", "language-m-large"),
        ("small-text", "lora_request_trace"),
        ("vision-language", "multimodal-mm-image"),
    ]


def test_a_table_with_models_becomes_an_episode_as_it_is(tmp_path: Path) -> None:
    """Every request, at its time; it ends after the last."""
    path = tmp_path / "mine.csv"
    path.write_text("at_s,model\n" + "".join(f"{at * 20},image\n" for at in range(100)), "utf-8")
    episode = import_whole(wish([Source("csv", path)]), tmp_path / "a.jsonl")
    assert [line.at_s for line in lines(episode.path)] == [at * 20.0 for at in range(100)]
    assert episode.header.window_end_s == 1981.0
    assert offered_load(episode) == pytest.approx(24.0 / 20.0 / 6.4, rel=0.02)
    path.write_text("at_s,model\n", "utf-8")
    with pytest.raises(TraceError, match="no rows"):
        import_whole(wish([Source("csv", path)]), tmp_path / "b.jsonl")


def test_a_demand_is_looked_at_listed_and_drawn(tmp_path: Path, sources: tuple[Source, ...]) -> None:
    """Rates add up to all requests; a broken episode is named in a listing; other files are passed over."""
    path = import_episode(wish(sources), tmp_path / "mix.jsonl").path
    middles, series = rates(path, 10)
    assert middles[0] == 2.0
    assert sum(map(sum, series.values())) * 4.0 == pytest.approx(sum(1 for _ in lines(path)))
    plot = drawn(path, 80, 12)
    assert "o image  " not in plot
    assert all(f"{marker} {model}" in plot for marker, model in zip("o+x*", series, strict=True))
    assert plot.count("\n") >= 12
    (tmp_path / "other.jsonl").write_text("{}\n", "utf-8")
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(path.read_bytes()[:-100])
    found = {one.path.name: one for one in listed(tmp_path)}
    assert set(found) == {"mix.jsonl", "cut.jsonl"}
    assert found["mix.jsonl"].episode is not None
    assert "cut off" in found["cut.jsonl"].wrong
    with pytest.raises(TraceError, match="cut off"):
        list(listed(cut))


@pytest.mark.skipif(not TRACES.is_dir(), reason=f"the real traces are not at {TRACES}")
def test_an_episode_of_real_traces_has_the_load(tmp_path: Path) -> None:
    """Conversations, two services and images, from any stretch; requests are in order, at each site."""
    real = (
        Source("azure", TRACES / "azure-llm-2023" / "AzureLLMInferenceTrace_conv.csv", ("small-text",)),
        Source("servegen", TRACES / "servegen" / "language-m-large.tar.gz"),
        Source("gentd26", TRACES / "alibaba-gentd26"),
    )
    episode = import_episode(wish(real, run_s=3600.0, from_s=360_000.0, clients=20), tmp_path / "real.jsonl.gz")
    demand = list(subject_of_episode(episode.path).demand())
    assert all(a.at_s <= b.at_s for a, b in itertools.pairwise(demand))
    assert {one.site for one in demand} == {"site-1", "site-3", "site-5"}
    assert offered_load(episode) == pytest.approx(0.8, rel=0.2)
    assert len(episode.header.sources) == 3
