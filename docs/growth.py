"""The page on growth: tables and a log-log plot, drawn from docs/growth.json, which `bench.growth --write` measures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 320.0, 250.0, 52.0, 40.0, 26.0
"""Of one panel, pixels."""

COLOURS = ("#0b6e99", "#c4572c", "#4a7c3a")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot, both axes logarithmic."""

    title: str
    across: str
    lines: tuple[tuple[str, Points], ...]
    """Name and points, all above 0."""


def panels(found: dict[str, Any]) -> tuple[Panel, ...]:
    """Return what is drawn: decisions by nodes, requests by nodes, runs by requests."""
    decided = found["decisions"]
    steps = tuple(
        (f"{trigger}, ms", tuple((row["nodes"], 1e3 * row[f"{trigger}_s"]) for row in decided))
        for trigger in ("slot", "event")
    )
    costs = tuple(
        (
            engine,
            tuple(
                (row["nodes"], 1e6 * row[engine]["spent_s"] / row[engine]["requests"])
                for row in found["clusters"]
                if engine in row and not row["scenario"].startswith("catalogue")
            ),
        )
        for engine in ("compiled", "reference")
    )
    runs = tuple(
        (engine, tuple((row["requests"], row["spent_s"]) for row in found["lengths"] if row["engine"] == engine))
        for engine in ("compiled", "reference")
    )
    return (
        Panel("a decision, CPU ms", "nodes", steps),
        Panel("a simulated request, CPU µs", "nodes", costs),
        Panel("a run of city7, CPU s", "requests", runs),
    )


def drawing(found: dict[str, Any]) -> str:
    """Return the plots as one SVG."""
    shown = panels(found)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * len(shown):.0f}" height="{HEIGHT:.0f}" '
        'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
    ]
    for at, panel in enumerate(shown):
        parts.append(f'<g transform="translate({WIDTH * at:.0f} 0)">{_panel(panel)}</g>')
    return "\n".join((*parts, "</svg>")) + "\n"


def _panel(panel: Panel) -> str:
    points = [point for _, line in panel.lines for point in line]
    low_x, high_x = _decades([x for x, _ in points])
    low_y, high_y = _decades([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low_x) / (high_x - low_x)
        up = (math.log10(y) - low_y) / (high_y - low_y)
        return LEFT + across * (WIDTH - LEFT - 12.0), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP)

    parts = [f'<text x="{LEFT:.0f}" y="14" font-weight="bold">{panel.title}</text>']
    for power in range(low_x, high_x + 1):
        x, y = place(10.0**power, 10.0**low_y)
        parts.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{TOP:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 14:.1f}" text-anchor="middle">{_power(power)}</text>')
    for power in range(low_y, high_y + 1):
        x, y = place(10.0**low_x, 10.0**power)
        parts.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{WIDTH - 12:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 4:.1f}" y="{y + 4:.1f}" text-anchor="end">{_power(power)}</text>')
    middle = (LEFT + WIDTH) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 8:.0f}" text-anchor="middle">{panel.across}</text>')
    for at, (name, line) in enumerate(panel.lines):
        placed = [place(x, y) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[at]}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[at]}"/>' for x, y in placed]
        parts.append(f'<text x="{LEFT + 8:.0f}" y="{TOP + 14 + 14 * at:.0f}" fill="{COLOURS[at]}">{name}</text>')
    return "".join(parts)


def _power(power: int) -> str:
    """Return a power of ten as a label."""
    return f"{10.0**power:g}" if power < 4 else "10" + "⁰¹²³⁴⁵⁶⁷⁸⁹"[power]


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def growth_page(found: dict[str, Any]) -> str:
    """Return the page."""
    lines = [
        "# Growth with nodes, models and requests\n",
        f"Processor time of `{found['policy']}` on one core of a shared VM; `python -m bench.growth --write` measures "
        "anew. Both axes of each plot are logarithmic.\n",
        "![Decisions, requests and runs against their size](growth.svg)\n",
        "## A decision of the slot agent\n",
        "Half of the memory full of random pods, every model asked for: the dearest case; medians.\n",
        "| nodes | models | slot, ms | event, ms |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['nodes']} | {row['models']} | {1e3 * row['slot_s']:.2f} | {1e3 * row['event_s']:.2f} |"
        for row in found["decisions"]
    ]
    lines += [
        "\n## A request in the twin\n",
        "With all decisions, demand drawn before.\n",
        "| scenario | nodes | models | compiled, requests/s | × real time | reference, requests/s | × real time |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["clusters"]:
        cells = [_rates(row.get(engine)) for engine in ("compiled", "reference")]
        lines.append(f"| `{row['scenario']}` | {row['nodes']} | {row['models']} | {' | '.join(cells)} |")
    lines += [
        "\n## A run by its length\n",
        "`city7-stationary` at load 0.8.\n",
        "| engine | requests | CPU, s |",
        "|---|---|---|",
    ]
    lines += [f"| {row['engine']} | {row['requests']:,} | {row['spent_s']:.3f} |" for row in found["lengths"]]
    return "\n".join(lines) + "\n"


def _rates(row: dict[str, Any] | None) -> str:
    if row is None:
        return "– | –"
    return f"{row['requests'] / row['spent_s']:,.0f} | {row['times']:,.1f}"
