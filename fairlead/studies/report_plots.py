"""The plots of a report, each a plotly figure."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from fairlead.contracts.readings import Phase
from fairlead.studies.replay import Row
from fairlead.studies.report_runs import Stay, Trace

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito's, which people tell apart whatever colours they see."""

PHASES: dict[Phase, str] = {
    "starting": "#E69F00",
    "ready": "#009E73",
    "sleeping": "#56B4E9",
    "draining": "#CC79A7",
    "stopping": "#D55E00",
}

BIN_S = 120.0
"""Of latency over time: a hundred requests of city7 at load 0.8."""

QUANTILES = 400
"""Points of a distribution."""

GANTT_ROWS = 60
"""Pods that are shown, those that changed most: more cannot be read."""

MINUTE_S = 60.0


def over_time(traces: Sequence[Trace]) -> go.Figure:
    """Return the mean latency of what was sent in each two minutes."""
    figure = go.Figure()
    for at, trace in enumerate(traces):
        bins: dict[int, list[float]] = {}
        for one in trace.asked:
            bins.setdefault(int(one.sent_at_s // BIN_S), []).append(one.latency_s)
        figure.add_scatter(
            x=[(number + 0.5) * BIN_S / MINUTE_S for number in sorted(bins)],
            y=[float(np.mean(bins[number])) for number in sorted(bins)],
            name=trace.policy,
            mode="lines",
            line_color=_colour(at),
        )
    figure.add_vrect(x0=0, x1=traces[0].window.start_at_s / MINUTE_S, fillcolor="#888", opacity=0.12, line_width=0)
    return _laid_out(figure, "minute in which it was sent (grey: warm-up)", "mean latency, s")


def distribution(traces: Sequence[Trace]) -> go.Figure:
    """Return the share of requests of the window that took at most so long."""
    figure = go.Figure()
    shares = np.linspace(0.0, 1.0, QUANTILES)
    for at, trace in enumerate(traces):
        values = [one.latency_s for one in trace.asked if one.sent_at_s >= trace.window.start_at_s]
        if values:
            figure.add_scatter(
                x=[float(one) for one in np.quantile(values, shares)],
                y=[float(one) for one in shares],
                name=trace.policy,
                mode="lines",
                line_color=_colour(at),
            )
    figure.update_xaxes(type="log")
    return _laid_out(figure, "latency, s", "share of requests")


def timely(rows: Sequence[Row]) -> go.Figure:
    """Return the share of each model's requests that finished within the deadline, all seeds together."""
    return _by_model(rows, "timely, of those judged", ("timely", "judged"))


def slowdown(rows: Sequence[Row]) -> go.Figure:
    """Return mean latency over that of a request that finds everything idle, by model, all seeds together."""
    return _by_model(rows, "mean latency / unloaded latency", ("latency_sum_s", "arrived"), by="unloaded_s")


def gantt(trace: Trace) -> go.Figure:
    """Return which pod was in which phase when."""
    changes: dict[str, int] = {}
    for one in trace.stays:
        changes[_pod(one)] = changes.get(_pod(one), 0) + 1
    shown = set(sorted(changes, key=lambda name: (-changes[name], name))[:GANTT_ROWS])
    figure = go.Figure()
    for phase, colour in PHASES.items():
        stays = [one for one in trace.stays if one.phase == phase and _pod(one) in shown]
        if stays:
            figure.add_bar(
                y=[_pod(one) for one in stays],
                x=[(one.until_s - one.from_s) / MINUTE_S for one in stays],
                base=[one.from_s / MINUTE_S for one in stays],
                orientation="h",
                name=phase,
                showlegend=True,
                marker={"color": colour, "line_width": 0},
                hovertemplate="%{y}<br>from %{base:.2f} for %{x:.2f} min",
            )
    figure.update_layout(barmode="overlay", height=160 + 18 * len(shown), bargap=0.15)
    figure.update_yaxes(categoryorder="array", categoryarray=sorted(shown, reverse=True))
    return _laid_out(figure, "minute", "")


def heat(trace: Trace, most: int) -> go.Figure:
    """Return how many requests were at each node over time; colours end at `most`, the same for all policies."""
    figure = go.Figure(
        go.Heatmap(
            x=[at_s / MINUTE_S for at_s in trace.sampled_at_s],
            y=trace.places,
            z=trace.present,
            zmin=0,
            zmax=max(1, most),
            colorscale="Viridis",
            colorbar={"title": "requests"},
            hovertemplate="%{y}, minute %{x:.1f}: %{z}<extra></extra>",
        )
    )
    figure.update_layout(height=140 + 22 * min(len(trace.places), 40))
    figure.update_yaxes(autorange="reversed")
    return _laid_out(figure, "minute", "")


def fullest(traces: Sequence[Trace]) -> int:
    """Return where the colours of heat maps end: 99 of 100 samples of all policies are below."""
    values = [count for trace in traces for row in trace.present for count in row]
    return int(np.ceil(np.quantile(values, 0.99))) if values else 0


def _by_model(rows: Sequence[Row], label: str, share: tuple[str, str], by: str | None = None) -> go.Figure:
    """Return bars of the ratio of two sums over seeds for each model, divided by another field if one is named."""
    figure = go.Figure()
    for at, row in enumerate(rows):
        names, values = [], []
        for number, model in enumerate(row.results[0].models):
            own = [one.models[number] for one in row.results]
            over, under = (float(sum(getattr(one, name) for one in own)) for name in share)
            if under > 0.0:
                names.append(model.model)
                values.append(over / under / (1.0 if by is None else getattr(model, by)))
        figure.add_bar(x=names, y=values, name=row.policy, marker_color=_colour(at))
    return _laid_out(figure, "", label)


def _laid_out(figure: go.Figure, x: str, y: str) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        margin={"l": 70, "r": 20, "t": 20, "b": 50},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        xaxis_title=x,
        yaxis_title=y,
    )
    return figure


def _pod(one: Stay) -> str:
    return f"{one.node} · {one.model}"


def _colour(at: int) -> str:
    return COLOURS[at % len(COLOURS)]
