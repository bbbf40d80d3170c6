"""A report shows the run that it is of, on a page that needs nothing else."""

import html.parser
import json
import re
from typing import Any

import pytest

from fairlead.studies.cells import Cell, ScenarioAt, game_of
from fairlead.studies.replay import Comparison, Order, compared
from fairlead.studies.report import page
from fairlead.studies.report_runs import HELD, Trace, trace, traced
from fairlead.studies.sweep import swept
from fairlead.twin.play import play

SHORT = ScenarioAt("city7-rotating", 0.8, 300.0, 900.0)
ORDER = Order((SHORT,), ("random-static", "marginal-dpp@fresh"), 2, "reference")
CELL = Cell(SHORT, "marginal-dpp@fresh", 1)


@pytest.fixture(scope="module")
def run() -> Trace:
    """Return what happened in a run that starts and stops pods."""
    return trace(CELL)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Return a comparison of two policies."""
    cells = ORDER.cells()
    results = swept(cells, 1, None, lambda done, total: None)
    return compared(ORDER, dict(zip(cells, results, strict=True)))


def test_looking_changes_nothing(run: Trace) -> None:
    """The same requests with the same latency as in a run that nobody looks into."""
    figures = play(game_of(CELL), lambda share: None).figures
    inside = [one.latency_s for one in run.asked if one.sent_at_s >= run.window.start_at_s]
    assert len(inside) == figures.arrived
    assert sum(inside) / len(inside) == pytest.approx(figures.latency_s.mean)


def test_every_start_of_the_run_is_on_the_chart(run: Trace) -> None:
    """A pod starts for its start delay, is then ready; its phases follow one another and never overlap."""
    shape = game_of(CELL).subject.cluster
    delays = {model.id: model.start_delay_s for model in shape.models}
    starting = [one for one in run.stays if one.phase == "starting" and one.until_s < run.window.end_at_s]
    assert starting
    for one in starting:
        assert one.until_s - one.from_s == pytest.approx(delays[one.model])
    for before, after in zip(run.stays, run.stays[1:], strict=False):
        if (before.node, before.model) == (after.node, after.model):
            assert before.until_s <= after.from_s + 1e-9
    assert max(one.until_s for one in run.stays) == run.window.end_at_s


def test_samples_count_who_is_where(run: Trace) -> None:
    """A row for each node and one for who is held; a column each half minute."""
    assert run.places[-1] == HELD
    assert len(run.present) == len(run.places) == 8
    assert {len(row) for row in run.present} == {len(run.sampled_at_s)} == {30}
    assert sum(map(sum, run.present)) > 0


def test_decisions_have_their_reasons(run: Trace) -> None:
    """In order of time, with the rule's code."""
    assert [one.at_s for one in run.decided] == sorted(one.at_s for one in run.decided)
    rules = {reason.rule for one in run.decided for reason in one.reasons}
    assert any(rule.startswith("rule2") for rule in rules)


class Tags(html.parser.HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def plotted(text: str) -> list[list[dict[str, Any]]]:
    """Return the traces of each plot of a page."""
    decoder = json.JSONDecoder()
    starts = [found.end() for found in re.finditer(r'Plotly\.newPlot\(\s*"[^"]+",\s*', text)]
    return [decoder.raw_decode(text, at)[0] for at in starts]


def test_the_page_needs_nothing_else_and_shows_the_figures(comparison: Comparison) -> None:
    """No address is loaded; the table has every figure with its interval, the plots every policy."""
    told: list[tuple[int, int]] = []
    text = page(comparison, traced(ORDER, lambda done, total: told.append((done, total))))
    assert told[-1] == (2, 2)
    tags = Tags()
    tags.feed(text)
    assert not [tag for tag, attributes in tags.found if {"src", "href"} & set(attributes)]
    mean = comparison.rows[1].interval("mean")
    assert mean is not None
    assert mean.low is not None
    assert f"{mean.value:.2f}<br><small>{mean.low:.2f} …" in text
    plots = plotted(text)
    assert [len(one) for one in plots[:4]] == [2, 2, 2, 2]
    assert plots[0][1]["name"] == "marginal-dpp@fresh"
    assert {one["type"] for one in plots[4]} == {"bar"}
    assert [one[0]["type"] for one in plots[-2:]] == ["heatmap", "heatmap"]
    assert "rule2-" in text


def test_what_somebody_named_cannot_become_markup() -> None:
    """A file's name is text."""
    order = Order((SHORT,), ("random-static",), 1, "reference")
    cells = order.cells()
    rows = compared(order, dict(zip(cells, swept(cells, 1, None, lambda done, total: None), strict=True))).rows
    runs = traced(order, lambda done, total: None)
    odd = ScenarioAt("<b>x</b>", 0.8, 300.0, 900.0)
    text = page(Comparison(Order((odd,), ("random-static",), 1), rows), runs)
    assert "<b>x</b>" not in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text
