"""The live view of a local cluster in a terminal."""

from collections import deque
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fairlead.policy.fairness import ModelStats
from testbed.picture import NodePicture, Picture, PodPicture

STYLES = {
    "starting": "yellow",
    "ready": "green",
    "sleeping": "blue",
    "draining": "magenta",
    "stopping": "red",
    "off": "dim",
}
"""Of a pod, by phase."""

LINES = 5
"""Of what was told last, below the picture."""


class LiveView:
    """Draws pictures over one another; lines that are told scroll below them."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title = title
        self._console = console or Console(stderr=True)
        self._told: deque[str] = deque(maxlen=LINES)
        self._picture: Picture | None = None
        self._live = Live(self.drawn(), console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def tell(self, words: str) -> None:
        """Show a line."""
        self._told.append(words)
        self._live.update(self.drawn(), refresh=True)

    def show(self, picture: Picture) -> None:
        """Show a picture."""
        self._picture = picture
        self._live.update(self.drawn(), refresh=True)

    def drawn(self) -> RenderableType:
        """Return the drawing of the last picture."""
        told = Text("\n".join(self._told), style="dim")
        if self._picture is None:
            return Panel(told, title=self._title, title_align="left")
        picture = self._picture
        parts: list[RenderableType] = [_heading(picture), _nodes(picture), _models(picture), _decisions(picture)]
        if picture.agents:
            parts.append(_agents(picture))
        return Panel(Group(*parts, told), title=self._title, title_align="left")


def _heading(picture: Picture) -> Text:
    clients = picture.clients
    mean = "-" if clients.mean_s is None else f"{clients.mean_s:.1f} s"
    return Text.assemble(
        (f"{picture.at_s / 60:.1f} min simulated", "bold"),
        f" in {picture.wall_s:.0f} s, slot {picture.slot}   ",
        f"{clients.arrived} requests: {clients.finished} finished, {clients.open} open, ",
        (f"{clients.failed} failed", "bold red" if clients.failed else ""),
        f", {picture.held} held   last 10 min: mean latency ",
        (mean, "bold"),
        "   fairness J'(x1) ",
        (f"{clients.x1:.3f}", "bold"),
        f"   {picture.restarts} restarts" if picture.restarts else "",
    )


def _nodes(picture: Picture) -> Table:
    table = Table(expand=True, box=None, pad_edge=False, header_style="dim")
    for head in ("node", "role", "speed", "memory", "backlog", "pods: running+waiting"):
        table.add_column(head, no_wrap=head != "pods: running+waiting")
    for node in picture.nodes:
        backlog = f"{'█' * min(12, round(node.work_s / 5))} {node.work_s:.0f} s"
        table.add_row(
            _named(node), node.role, f"{node.speed:g}", f"{node.memory_used:4.0%}", Text(backlog), _pods(node.pods)
        )
    return table


def _named(node: NodePicture) -> Text:
    lost = node.age_s is None or node.age_s > 60.0
    return Text(node.node, style="bold red" if lost else "bold")


def _pods(pods: tuple[PodPicture, ...]) -> Text:
    words = Text()
    for pod in pods:
        queue = f" {pod.running}+{pod.waiting}" if pod.phase in ("ready", "draining", "starting") else ""
        state = "" if pod.phase == "ready" else f" ({pod.phase})"
        words.append(f"{pod.model}{queue}{state}   ", style=STYLES[pod.phase])
    return words


def _models(picture: Picture) -> Table:
    table = Table(expand=True, box=None, pad_edge=False, header_style="dim")
    for head in ("model, last 10 min", "arrived", "in time", "mean latency", "slowdown"):
        table.add_column(head)
    for stats in picture.clients.models:
        if stats.arrived:
            table.add_row(*_model(stats))
    return table


def _model(stats: ModelStats) -> tuple[str, ...]:
    mean_s = stats.latency_sum_s / stats.arrived
    timely = f"{stats.timely / stats.judged:.0%}" if stats.judged else "-"
    return stats.model, str(stats.arrived), timely, f"{mean_s:.1f} s", f"{mean_s / stats.unloaded_s:.1f} ×"


def _agents(picture: Picture) -> Table:
    table = Table(expand=True, box=None, pad_edge=False, header_style="dim")
    for head in ("agent", "mode", "last answer", "asked", "accepted", "fallback", "tokens", "acting"):
        table.add_column(head)
    for one in picture.agents:
        acting = one.acting if not one.why else f"{one.acting}: {one.why}"
        shares = (f"{part / one.dialogues:.0%}" if one.dialogues else "-" for part in (one.accepted, one.fallbacks))
        table.add_row(one.agent, one.mode, one.last, str(one.asks), *shares, str(one.tokens), Text(acting))
    return table


def _decisions(picture: Picture) -> Table:
    table = Table(expand=True, box=None, pad_edge=False, header_style="dim")
    for head in ("decision", "of", "by", "steps", "took"):
        table.add_column(head)
    for one in picture.decisions:
        steps = " → ".join(f"{step.name} {step.code}" for step in one.steps)
        table.add_row(one.id, f"{one.agent}, {one.kind} {one.number}", one.source, steps, f"{one.took_s * 1000:.0f} ms")
    return table
