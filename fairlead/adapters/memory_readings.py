"""Readings in memory: reports, taken once each, outcomes, and what is counted from them."""

import math
from collections.abc import Callable

from fairlead.adapters import store_rules as rules
from fairlead.adapters.memory_pages import page
from fairlead.contracts.cases import ModelTally
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.ports import Page
from fairlead.contracts.readings import GatewayReport, NodeReport, Outcome

Tell = Callable[[str, str, float], None]
"""Is told reporter, kind of reporter and instant of each new report."""


class Readings:
    """Reports, outcomes and what is summed from them."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._seen: dict[tuple[str, str, str], rules.Seen] = {}
        self._node_reports: dict[tuple[str, str], NodeReport] = {}
        self._gateway_reports: dict[tuple[str, str], GatewayReport] = {}
        self._outcomes: list[Outcome] = []

    def _take(self, kind: str, reporter: str, instance: str, sequence: int) -> tuple[bool, bool]:
        """Return whether the report is a new one, and whether it is the newest of its instance."""
        before = self._seen.get((kind, reporter, instance), rules.Seen())
        after = before.take(sequence)
        if after is None:
            return False, False
        self._seen[kind, reporter, instance] = after
        return True, after.high > before.high

    def append_node_report(self, report: NodeReport) -> bool:
        """Keep a report; False if it was kept before."""
        new, newest = self._take("node", report.node, report.instance, report.sequence)
        if newest:
            self._node_reports[report.node, report.instance] = report
        if new:
            self._tell(report.node, "node", report.observed_at_s)
        return new

    def append_gateway_report(self, report: GatewayReport) -> bool:
        """Keep a report and its outcomes; False if it was kept before."""
        new, newest = self._take("gateway", report.gateway, report.instance, report.sequence)
        if newest:
            self._gateway_reports[report.gateway, report.instance] = report
        if new:
            self._outcomes.extend(report.outcomes)
            self._tell(report.gateway, "gateway", report.observed_at_s)
        return new

    def latest_node_reports(self) -> tuple[NodeReport, ...]:
        """Return the newest report of each node, sorted."""
        newest: dict[str, NodeReport] = {}
        for report in sorted(self._node_reports.values(), key=lambda r: (r.observed_at_s, r.instance)):
            newest[report.node] = report
        return tuple(newest[node] for node in sorted(newest))

    def latest_gateway_reports(self) -> tuple[GatewayReport, ...]:
        """Return the newest report of each gateway, sorted."""
        newest: dict[str, GatewayReport] = {}
        for report in sorted(self._gateway_reports.values(), key=lambda r: (r.observed_at_s, r.instance)):
            newest[report.gateway] = report
        return tuple(newest[gateway] for gateway in sorted(newest))

    def arrived(self) -> dict[str, int]:
        """Return per model all requests that ever arrived."""
        total: dict[str, int] = {}
        for report in self._gateway_reports.values():
            for count in report.models:
                total[count.model] = total.get(count.model, 0) + count.arrived
        return dict(sorted(total.items()))

    def pod_totals(self) -> tuple[int, int]:
        """Return all pods ever started and stopped."""
        reports = self._node_reports.values()
        return sum(r.starts for r in reports), sum(r.stops for r in reports)

    def outcomes(self, *, limit: int, cursor: str | None) -> Page[Outcome]:
        """Return outcomes, those that ended last first."""
        rows = sorted(enumerate(self._outcomes), key=lambda row: (row[1].ended_at_s, row[0]), reverse=True)
        if cursor is not None:
            after = rules.key_of(cursor, float, str)
            rows = [row for row in rows if (row[1].ended_at_s, f"{row[0]:012d}") < after]
        return page(rows, limit, lambda row: row[1], lambda row: (row[1].ended_at_s, f"{row[0]:012d}"))

    def tallies(self, cluster: Cluster, since_at_s: float, until_at_s: float) -> tuple[ModelTally, ...]:
        """Return per model what became of the requests that arrived from `since_at_s` until before `until_at_s`."""
        deadlines = rules.deadlines(cluster)
        by_model: dict[str, list[Outcome]] = {}
        for outcome in self._outcomes:
            if since_at_s <= outcome.arrived_at_s < until_at_s:
                by_model.setdefault(outcome.model, []).append(outcome)
        return tuple(
            _tally(model, by_model[model], deadlines.get(model, rules.DEADLINE_S), until_at_s)
            for model in sorted(by_model)
        )


def _tally(model: str, arrived: list[Outcome], deadline_s: float, until_at_s: float) -> ModelTally:
    kept = [one for one in arrived if one.status != "cancelled"]
    ended = [one for one in kept if one.ended_at_s <= until_at_s]
    finished = [one for one in ended if one.status == "finished"]
    judged = [one for one in kept if one.arrived_at_s + deadline_s <= until_at_s]
    timely = [one for one in judged if one.status == "finished" and one.ended_at_s <= one.arrived_at_s + deadline_s]
    done = {id(one) for one in finished}
    return ModelTally(
        model=model,
        finished=len(finished),
        timely=len(timely),
        judged=len(judged),
        ended=len(ended),
        latency_sum_s=math.fsum((one.ended_at_s if id(one) in done else until_at_s) - one.arrived_at_s for one in kept),
        counted=len(kept),
        cancelled=len(arrived) - len(kept),
    )
