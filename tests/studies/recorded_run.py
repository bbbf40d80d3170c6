"""Small recorded runs, whose course one can count by hand, as episodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import DecisionRecord, SlotDecision, SlotState
from fairlead.contracts.episodes import (
    AnswerLine,
    DecisionLine,
    EpisodeHeader,
    NodeReportLine,
    OutcomeLine,
    RequestLine,
    TimedLine,
)
from fairlead.contracts.plans import NodePlacement, Placement
from fairlead.contracts.readings import NodeReport, Outcome, PodReading
from fairlead.studies.episodes.files import writing
from fairlead.studies.episodes.imports import network_lines
from fairlead.twin.requests import at_once
from tests.policy.situations import slot_input

BEGINS_S = 5000.0
"""The demand's second 0."""


@dataclass(frozen=True, slots=True)
class Course:
    """One request: sent, had by its pod, ended at its node; what the client saw is 0.1 s later."""

    model: str
    node: str
    work_s: float
    sent_s: float
    had_s: float
    ended_s: float
    failed: bool = False
    propensity: float | None = 1.0
    attempts: int = 1
    queued_s: float | None = None
    """When it came to its node, where that is recorded."""

    def lines(self, name: str) -> tuple[TimedLine, ...]:
        """Return what is recorded of it."""
        request = RequestLine(at_s=self.sent_s, id=name, site="s1", model=self.model, work_s=self.work_s)
        answer = AnswerLine(
            at_s=self.ended_s + 0.1,
            id=name,
            end="failed" if self.failed else "finished",
            reason="http-502" if self.failed else "",
            first_byte_s=None if self.failed else self.ended_s,
            sends=1,
        )
        outcome = Outcome(
            request=name,
            attempts=self.attempts,
            model=self.model,
            site="s1",
            node=self.node,
            status="failed" if self.failed else "finished",
            reason="pod-lost" if self.failed else "",
            arrived_at_s=BEGINS_S + self.sent_s,
            ended_at_s=BEGINS_S + self.ended_s,
            wait_s=self.had_s - self.sent_s,
            service_s=self.ended_s - self.had_s,
            response_bytes=1,
            table_generation=1,
            propensity=self.propensity,
            queued_at_s=None if self.queued_s is None else BEGINS_S + self.queued_s,
        )
        return request, answer, OutcomeLine(at_s=self.ended_s, outcome=outcome)


def ordered(at_s: float, cluster: Cluster, awake: Sequence[Sequence[str]], number: int = 1) -> DecisionLine:
    """Return the decision that puts models on n1, n2, … ."""
    nodes = tuple(NodePlacement(node=f"n{k}", awake=tuple(m), stoppable=()) for k, m in enumerate(awake, start=1))
    placement = Placement(
        generation=number,
        plan_generation=0,
        slot=1,
        created_at_s=BEGINS_S + at_s,
        expires_at_s=BEGINS_S + at_s + 60.0,
        decision=f"slot-{number}",
        nodes=nodes,
    )
    state = SlotState(slot=1, rates=(), rotation=0)
    output = SlotDecision(placement=placement, table=None, state=state, steps=(), reasons=(), prices=())
    record = DecisionRecord(
        id=f"slot-{number}",
        agent="slot-agent",
        kind="slot",
        made_at_s=BEGINS_S + at_s,
        took_s=0.01,
        source="fallback",
        version="0",
        input=slot_input(cluster, ()),
        output=output,
    )
    return DecisionLine(at_s=at_s, record=record)


def reported(at_s: float, node: str, *pods: tuple[str, Literal["starting", "ready"], float]) -> NodeReportLine:
    """Return a report of a node with pods of (model, phase, since when)."""
    readings = tuple(
        PodReading(
            model=model,
            instance=f"{model}.1",
            phase=phase,
            since_at_s=BEGINS_S + since_s,
            stage="",
            ready_at_s=BEGINS_S + since_s if phase == "ready" else None,
            memory_bytes=1,
            crashes=0,
            backoff_until_s=None,
            reason="",
        )
        for model, phase, since_s in pods
    )
    report = NodeReport(
        node=node,
        instance="agent",
        sequence=1,
        observed_at_s=BEGINS_S + at_s,
        memory_bytes=10,
        memory_used_bytes=1,
        placement_generation=1,
        pods=readings,
        starts=0,
        stops=0,
        overruns=0,
        forced_losses=0,
    )
    return NodeReportLine(at_s=at_s, report=report)


def recorded(
    path: Path, cluster: Cluster, courses: Sequence[Course], others: Sequence[TimedLine] = (), run_s: float = 300.0
) -> Path:
    """Write a run of so many seconds."""
    distances, payloads = network_lines(cluster, at_once(cluster))
    header = EpisodeHeader(
        name="run",
        begins_at_s=BEGINS_S,
        window_start_s=0.0,
        window_end_s=run_s,
        cluster=cluster,
        distances=distances,
        payloads=payloads,
        seed=1,
    )
    lines = [line for at, course in enumerate(courses) for line in course.lines(f"r{at}")]
    with writing(path, header) as write:
        for line in sorted([*others, *lines], key=lambda one: one.at_s):
            write(line)
    return path
