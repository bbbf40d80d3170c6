"""The catalogue of metrics, read off the places that declare them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "planner",
    "slot_agent",
    "node_agent",
    "gateway",
    "control_api",
    "kube_sync",
    "fairlead",
    "testbed",
    "fairlead_cli",
)
KINDS = {"Counter": "counter", "Gauge": "gauge", "Histogram": "histogram", "Summary": "summary"}
"""Constructors that declare a metric: name, help and labels are their first three arguments. A table does, too."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as it is declared."""

    process: str
    kind: str
    name: str
    """As it is exposed: a counter ends in `_total`."""
    labels: tuple[str, ...]
    text: str


def metrics() -> tuple[Metric, ...]:
    """Return every metric that the code declares, by process and name."""
    found = [
        metric
        for package in PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
        for metric in _declared(package, ast.parse(file.read_text("utf-8")))
    ]
    return tuple(sorted(set(found), key=lambda one: (PACKAGES.index(one.process), one.name)))


def _declared(process: str, tree: ast.AST) -> Iterator[Metric]:
    """Yield the metrics declared in a module: calls of a constructor with a literal name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            yield from _tabled(process, node)
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        texts = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if called not in KINDS or len(texts) < 2 or not texts[0].startswith("fairlead_"):
            continue
        labels = next((one for one in node.args[2:3] if isinstance(one, (ast.List, ast.Tuple))), None)
        names = tuple(str(ast.literal_eval(one)) for one in labels.elts) if labels else ()
        yield _metric(process, KINDS[called], texts[0], texts[1], names)


def _tabled(process: str, table: ast.Dict) -> Iterator[Metric]:
    """Yield the metrics of a table of the form name: (kind, help, labels)."""
    for key, value in zip(table.keys, table.values, strict=True):
        if not (
            isinstance(key, ast.Constant) and str(key.value).startswith("fairlead_") and isinstance(value, ast.Tuple)
        ):
            continue
        kind, text, labels = ast.literal_eval(value)
        yield _metric(process, kind, str(key.value), text, labels)


def _metric(process: str, kind: str, name: str, text: str, labels: tuple[str, ...]) -> Metric:
    exposed = f"{name}_total" if kind == "counter" and not name.endswith("_total") else name
    return Metric(process, kind, exposed, labels, text.rstrip("."))


def metrics_page() -> str:
    """Return the catalogue as a page."""
    lines = [
        "# Metrics\n",
        "Prometheus text, prefix `fairlead_`, base units, labels from closed sets. The control API serves its own at "
        "`/metrics` on its port, gateways at `/metrics` of theirs; planner and slot agent open a port of their own "
        "where one is set (see [configuration](configuration.md)).\n",
    ]
    process = ""
    for metric in metrics():
        if metric.process != process:
            process = metric.process
            lines.append(f"\n## {process}\n\n| name | kind | labels | what it counts |\n|---|---|---|---|")
        labels = ", ".join(f"`{one}`" for one in metric.labels) or "–"
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.text} |")
    return "\n".join(lines) + "\n"
