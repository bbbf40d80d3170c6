"""What requests of a recorded run took at their nodes, with the sharing of the processor taken out.

A request is served from when its pod had it, or from the end before it where it waited for that pod, until its last
byte. Meanwhile its node is shared: k busy pods get 1/k each, the requests inside one pod share its part. The integral
of that share is what the request has attained, in seconds of its node: what one alone would have taken there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairlead.contracts.episodes import AnswerLine, EpisodeHeader, OutcomeLine, RequestLine
from fairlead.contracts.readings import Outcome
from fairlead.studies.episodes.files import checked, lines

QUEUED_S = 1.0
"""A pod that has someone waiting begins with them so soon after its last end, domain seconds; a longer gap means that
the ticket was not there yet. Live handovers took 0.02 to 0.2 s at speed 5."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as its client sent it, and what became of it; instants from the episode's second 0."""

    request: RequestLine
    answer: AnswerLine | None
    outcome: Outcome | None
    """From the ingress that ended it; None where none did."""

    @property
    def latency_s(self) -> float | None:
        """What its client waited; None unless the full answer came."""
        if self.answer is None or self.answer.end != "finished":
            return None
        return self.answer.at_s - self.request.at_s


@dataclass(frozen=True, slots=True)
class Service:
    """One request at its node; instants from the episode's second 0."""

    request: str
    model: str
    node: str
    finished: bool
    arrived_at_s: float
    """At the ingress that owned it last."""
    started_at_s: float
    ended_at_s: float
    attained_s: float
    """Seconds of its node."""
    idle: bool
    """Its pod had nobody as it came."""
    propensity: float | None
    """Probability with which its first node was chosen."""
    moved: bool
    """It was queued at more than one node, so that its propensity is not that of its node."""


@dataclass(frozen=True, slots=True)
class Log:
    """An episode of a recorded run as its requests."""

    header: EpisodeHeader
    requests: tuple[Asked, ...]
    """In order of sending."""


def read_log(path: Path) -> Log:
    """Return the requests of a recorded run; raises `TraceError` where the file is wrong."""
    header = checked(path).header
    sent: dict[str, RequestLine] = {}
    answers: dict[str, AnswerLine] = {}
    outcomes: dict[str, Outcome] = {}
    for line in lines(path, frozenset({"request", "answer", "outcome"})):
        match line:
            case RequestLine(id=str(name)):
                sent[name] = line
            case AnswerLine():
                answers[line.id] = line
            case OutcomeLine() if line.outcome.request not in outcomes or line.outcome.status == "finished":
                outcomes[line.outcome.request] = line.outcome
            case _:
                pass  # a request without a name cannot be told from others; what was finished goes before the rest
    return Log(header, tuple(Asked(one, answers.get(name), outcomes.get(name)) for name, one in sent.items()))


def services_of(header: EpisodeHeader, outcomes: Iterable[Outcome]) -> tuple[Service, ...]:
    """Return what each request that was served took, in order of their ends on each node, nodes by id."""
    concurrency = {model.id: model.concurrency for model in header.cluster.models}
    by_node: dict[str, list[Outcome]] = {node.id: [] for node in header.cluster.nodes}
    for one in outcomes:
        if one.service_s is not None and one.node in by_node:
            by_node[one.node].append(one)
    found: list[Service] = []
    for _, own in sorted(by_node.items()):
        found += _on_node(sorted(own, key=lambda one: one.ended_at_s), concurrency, header.begins_at_s)
    return tuple(found)


def _on_node(own: Sequence[Outcome], concurrency: dict[str, int], begins_s: float) -> list[Service]:
    begun: list[tuple[float, bool]] = []
    last_s: dict[str, float] = {}
    for one in own:
        started_s, before_s = one.arrived_at_s + one.wait_s, last_s.get(one.model, float("-inf"))
        idle = before_s <= one.arrived_at_s
        if not idle and concurrency[one.model] == 1 and abs(started_s - before_s) < QUEUED_S:
            started_s = before_s
        begun.append((min(started_s, one.ended_at_s), idle))
        last_s[one.model] = one.ended_at_s
    attained_s = _attained_s([(start, one.ended_at_s, one.model) for (start, _), one in zip(begun, own, strict=True)])
    return [
        Service(
            request=one.request,
            model=one.model,
            node=one.node or "",
            finished=one.status == "finished",
            arrived_at_s=one.arrived_at_s - begins_s,
            started_at_s=start - begins_s,
            ended_at_s=one.ended_at_s - begins_s,
            attained_s=attained,
            idle=idle,
            propensity=one.propensity,
            moved=one.attempts > 1,
        )
        for (start, idle), one, attained in zip(begun, own, attained_s, strict=True)
    ]


def _attained_s(spans: Sequence[tuple[float, float, str]]) -> list[float]:
    """Return for each span of a pod's service its part of the node's time, which busy pods share evenly."""
    turns = sorted(
        [(start, 1, at) for at, (start, _, _) in enumerate(spans)] + [(s[1], 0, at) for at, s in enumerate(spans)]
    )
    attained = [0.0] * len(spans)
    inside: dict[str, list[int]] = {}
    now_s = 0.0
    for at_s, begins, at in turns:
        for those in inside.values():
            for one in those:
                attained[one] += (at_s - now_s) / len(inside) / len(those)
        now_s = at_s
        model = spans[at][2]
        if begins:
            inside.setdefault(model, []).append(at)
        elif at in inside.get(model, ()):
            inside[model].remove(at)
            if not inside[model]:
                del inside[model]
    return attained
