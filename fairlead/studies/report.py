"""A comparison as one page that needs nothing else: the table with paired intervals, and plots of a run of each policy.

The page carries the library that draws it, so that it can be opened years later and without a network.
"""

import html
from collections.abc import Iterator, Sequence

import plotly.graph_objects as go
from plotly import io
from plotly.offline import get_plotlyjs

from fairlead.studies import report_plots as plots
from fairlead.studies import statistics
from fairlead.studies.replay import Comparison, Row
from fairlead.studies.report_runs import Decided, Trace
from fairlead.studies.statistics import Interval

REASONS = 1500
"""Lines on decisions that a policy gets: a run of city7 has a third of it, a browser scrolls it at once."""

COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("mean s", "mean", 2),
    ("p95 s", "p95", 1),
    ("p99 s", "p99", 1),
    ("x1", "x1", 4),
    ("x3", "x3", 3),
    ("service", "service_ratio", 4),
    ("objective F", "objective", 4),
    ("starts/h", "starts_per_hour", 1),
)
"""Head, figure and digits."""

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1320px; padding: 1rem; color: #1a1a1a; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } h3 { font-size: 1rem; margin-bottom: .2rem; }
table { border-collapse: collapse; font-size: 12.5px; width: 100%; }
th, td { text-align: left; padding: .3rem .4rem; border-bottom: 1px solid #ddd; white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } td small { color: #666; }
.wide { overflow-x: auto; } .log { max-height: 24rem; overflow: auto; border: 1px solid #ddd; }
p.note { color: #555; }
"""


def page(comparison: Comparison, traces: Sequence[Trace]) -> str:
    """Return the page of a comparison, with plots of the runs that were looked into."""
    order = comparison.order
    shown = [row for row in comparison.rows if row.source == order.sources[0]]
    title = f"{order.sources[0].name}: {', '.join(order.policies)}"
    first = traces[0]
    about = f"Runs of seed {first.seed} at load {order.sources[0].load:g}; the reference engine played them again."
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        _note(_method(order.seeds)),
        _table(comparison),
        "<h2>Latency over time</h2>",
        _note(about + " What is unfinished counts with its age at the window's end."),
        _plot(plots.over_time(traces)),
        "<h2>Distribution of latency</h2>",
        _plot(plots.distribution(traces)),
        "<h2>Fairness by model</h2>",
        _note(f"Seeds 1 to {order.seeds} at load {order.sources[0].load:g}. Share served within the deadline:"),
        _plot(plots.timely(shown)),
        _note("Mean latency over that of a request that finds everything idle:"),
        _plot(plots.slowdown(shown)),
        *_per_policy(traces),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<script>{get_plotlyjs()}</script></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _per_policy(traces: Sequence[Trace]) -> Iterator[str]:
    yield "<h2>Placement</h2>"
    yield _note(f"Pods by node and model; at most {plots.GANTT_ROWS} of a policy, those that changed most.")
    for trace in traces:
        yield _heading(trace)
        yield _plot(plots.gantt(trace))
    yield "<h2>Requests at each node</h2>"
    yield _note("Waiting and running; held: at an ingress, for no pod can serve them. The same colours for all.")
    most = plots.fullest(traces)
    for trace in traces:
        yield _heading(trace)
        yield _plot(plots.heat(trace, most))
    yield "<h2>Decisions and reasons</h2>"
    for trace in traces:
        reasons = sum(len(one.reasons) for one in trace.decided)
        head = f"{trace.policy}: {len(trace.decided)} decisions, {reasons} reasons"
        more = f", the first {REASONS} shown" if reasons > REASONS else ""
        yield f"<details><summary>{html.escape(head + more)}</summary>{_log(trace.decided)}</details>"


def _table(comparison: Comparison) -> str:
    heads = "".join(f'<th class="n">{head}</th>' for head, _, _ in COLUMNS)
    lines = "".join(_line(row, comparison.first(row)) for row in comparison.rows)
    return (
        f'<div class="wide"><table><tr><th>policy</th><th class="n">load</th>{heads}'
        f'<th class="n">ratio of means</th><th class="n">F − first</th><th>engine</th></tr>{lines}</table></div>'
    )


def _line(row: Row, first: Row) -> str:
    cells = "".join(_figure(row.interval(figure), digits) for _, figure, digits in COLUMNS)
    if row is first:
        paired = '<td class="n">1</td><td class="n">0</td>'
    else:
        paired = _figure(row.ratio("mean", first), 3) + _figure(row.difference("objective", first), 4)
    engine = "+".join(sorted({one.engine for one in row.results}))
    return (
        f'<tr><td>{html.escape(row.policy)}</td><td class="n">{row.source.load:g}</td>{cells}{paired}'
        f"<td>{html.escape(engine)}</td></tr>"
    )


def _figure(found: Interval | None, digits: int) -> str:
    if found is None:
        return '<td class="n">–</td>'
    if found.low is None or found.high is None:
        return f'<td class="n">{found.value:.{digits}f}</td>'
    between = f"{found.low:.{digits}f} … {found.high:.{digits}f}"
    return f'<td class="n">{found.value:.{digits}f}<br><small>{between}</small></td>'


def _method(seeds: int) -> str:
    how = {
        "none": "one seed: there are no intervals",
        "student-t": "intervals of 95 % by Student's t over seeds",
        "bootstrap-bca": "intervals of 95 % by the bootstrap (BCa) over seeds",
    }[statistics.method(seeds)]
    return (
        f"Figures are means over seeds, {how}. Ratios are of means and, as differences, paired by seed with the first "
        "policy at the same load. Percentiles are means of each seed's."
    )


def _log(decided: Sequence[Decided]) -> str:
    lines = [(one.at_s, reason) for one in decided for reason in one.reasons][:REASONS]
    rows = "".join(
        f'<tr><td class="n">{at_s:.1f}</td><td>{html.escape(reason.rule)}</td><td>{html.escape(reason.node or "")}</td>'
        f"<td>{html.escape(reason.model or '')}</td>"
        f'<td class="n">{"" if reason.value_s is None else f"{reason.value_s:.2f}"}</td>'
        f"<td>{html.escape(reason.text)}</td></tr>"
        for at_s, reason in lines
    )
    heads = "<th>at, s</th><th>rule</th><th>node</th><th>model</th><th>value, s</th><th>why</th>"
    return f'<div class="log"><table><tr>{heads}</tr>{rows}</table></div>'


def _heading(trace: Trace) -> str:
    return f"<h3>{html.escape(trace.policy)}</h3>"


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>'


def _plot(figure: go.Figure) -> str:
    found: str = io.to_html(figure, full_html=False, include_plotlyjs=False, config={"displaylogo": False})
    return found
