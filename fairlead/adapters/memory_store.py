"""The fake of the store port: everything in this process, lost when it ends, the same laws as the real one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from fairlead.adapters import store_rules as rules
from fairlead.adapters.clock import ScaledClock
from fairlead.contracts.cluster import Cluster, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.decisions import DecisionRecord, DecisionSummary, GenerationSeen
from fairlead.contracts.errors import Conflict, NotFound, StoreUnavailable, foreign
from fairlead.contracts.events import Event, EventKind, Mode, TokenRecord, Wake
from fairlead.contracts.plans import EpochPlan, Override, Placement, RoutingTable
from fairlead.contracts.ports import Clock, Page
from fairlead.contracts.readings import GatewayReport, NodeReport, Outcome

Item = TypeVar("Item")


class MemoryStore:
    """A store without a database; `unavailable` set makes every call raise `StoreUnavailable`, as a lost one would."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.unavailable = False
        """What a test sets to take the database away; open streams of changes end at the next change."""
        self._clock: Clock = ScaledClock() if clock is None else clock
        self._cluster = rules.EMPTY_CLUSTER
        self._seen: dict[tuple[str, str, str], rules.Seen] = {}
        self._node_reports: dict[tuple[str, str], NodeReport] = {}
        self._gateway_reports: dict[tuple[str, str], GatewayReport] = {}
        self._outcomes: list[Outcome] = []
        self._plans: list[EpochPlan] = []
        self._placements: list[Placement] = []
        self._tables: list[RoutingTable] = []
        self._decisions: dict[str, DecisionRecord] = {}
        self._overrides: dict[str, Override] = {}
        self._modes: dict[str, Mode] = {}
        self._tokens: dict[str, TokenRecord] = {}
        self._listeners: list[tuple[frozenset[EventKind], asyncio.Queue[tuple[EventKind, str, float, str]]]] = []

    def _check(self) -> None:
        if self.unavailable:
            raise StoreUnavailable("the store in memory was told to be unavailable")

    def _tell(self, kind: EventKind, name: str, text: str, at_s: float | None = None) -> None:
        for kinds, queue in self._listeners:
            if kind in kinds:
                queue.put_nowait((kind, name, self._clock.now_s() if at_s is None else at_s, text))

    # -- the cluster ---------------------------------------------------------------------------------------------

    async def cluster(self) -> Cluster:
        """Return nodes, models and sites."""
        self._check()
        return self._cluster

    async def replace_cluster(self, cluster: Cluster) -> None:
        """Put another cluster in place of the whole."""
        self._check()
        self._put(cluster)

    def _put(self, cluster: Cluster) -> None:
        before, self._cluster = self._cluster, cluster
        for kind, name, text in rules.differences(before, cluster):
            self._tell(kind, name, text)

    async def put_node(self, node: NodeSpec, *, if_revision: int | None) -> NodeSpec:
        """Create or change a node."""
        self._check()
        now = self._cluster
        new = rules.revised("node", rules.one(now.nodes, node.id), node, node.id, if_revision)
        self._put(rules.rebuilt(rules.placed(now.nodes, new), now.models, now.sites))
        return new

    async def put_model(self, model: ModelSpec, *, if_revision: int | None) -> ModelSpec:
        """Create or change a model."""
        self._check()
        now = self._cluster
        new = rules.revised("model", rules.one(now.models, model.id), model, model.id, if_revision)
        self._put(rules.rebuilt(now.nodes, rules.placed(now.models, new), now.sites))
        return new

    async def put_site(self, site: SiteSpec, *, if_revision: int | None) -> SiteSpec:
        """Create or change a site."""
        self._check()
        now = self._cluster
        new = rules.revised("site", rules.one(now.sites, site.id), site, site.id, if_revision)
        self._put(rules.rebuilt(now.nodes, now.models, rules.placed(now.sites, new)))
        return new

    async def delete_node(self, node: str, *, if_revision: int) -> None:
        """Take a node out."""
        self._check()
        now = self._cluster
        rules.check_revision("node", rules.one(now.nodes, node), node, if_revision)
        self._put(rules.rebuilt(rules.without(now.nodes, node), now.models, now.sites))

    async def delete_model(self, model: str, *, if_revision: int) -> None:
        """Take a model out."""
        self._check()
        now = self._cluster
        rules.check_revision("model", rules.one(now.models, model), model, if_revision)
        self._put(rules.rebuilt(now.nodes, rules.without(now.models, model), now.sites))

    async def delete_site(self, site: str, *, if_revision: int) -> None:
        """Take a site out."""
        self._check()
        now = self._cluster
        rules.check_revision("site", rules.one(now.sites, site), site, if_revision)
        self._put(rules.rebuilt(now.nodes, now.models, rules.without(now.sites, site)))

    # -- readings ------------------------------------------------------------------------------------------------

    def _take(self, kind: str, reporter: str, instance: str, sequence: int) -> tuple[bool, bool]:
        """Return whether the report is a new one, and whether it is the newest of its instance."""
        before = self._seen.get((kind, reporter, instance), rules.Seen())
        after = before.take(sequence)
        if after is None:
            return False, False
        self._seen[kind, reporter, instance] = after
        return True, after.high > before.high

    async def append_node_report(self, report: NodeReport) -> bool:
        """Keep a report; False if it was kept before."""
        self._check()
        new, newest = self._take("node", report.node, report.instance, report.sequence)
        if newest:
            self._node_reports[report.node, report.instance] = report
        if new:
            self._tell("report", report.node, "node", report.observed_at_s)
        return new

    async def append_gateway_report(self, report: GatewayReport) -> bool:
        """Keep a report and its outcomes; False if it was kept before."""
        self._check()
        new, newest = self._take("gateway", report.gateway, report.instance, report.sequence)
        if newest:
            self._gateway_reports[report.gateway, report.instance] = report
        if new:
            self._outcomes.extend(report.outcomes)
            self._tell("report", report.gateway, "gateway", report.observed_at_s)
        return new

    async def latest_node_reports(self) -> tuple[NodeReport, ...]:
        """Return the newest report of each node, sorted."""
        self._check()
        newest: dict[str, NodeReport] = {}
        for report in sorted(self._node_reports.values(), key=lambda r: (r.observed_at_s, r.instance)):
            newest[report.node] = report
        return tuple(newest[node] for node in sorted(newest))

    async def latest_gateway_reports(self) -> tuple[GatewayReport, ...]:
        """Return the newest report of each gateway, sorted."""
        self._check()
        newest: dict[str, GatewayReport] = {}
        for report in sorted(self._gateway_reports.values(), key=lambda r: (r.observed_at_s, r.instance)):
            newest[report.gateway] = report
        return tuple(newest[gateway] for gateway in sorted(newest))

    async def arrived(self) -> dict[str, int]:
        """Return per model all requests that ever arrived."""
        self._check()
        total: dict[str, int] = {}
        for report in self._gateway_reports.values():
            for count in report.models:
                total[count.model] = total.get(count.model, 0) + count.arrived
        return dict(sorted(total.items()))

    async def pod_totals(self) -> tuple[int, int]:
        """Return all pods ever started and stopped."""
        self._check()
        reports = self._node_reports.values()
        return sum(r.starts for r in reports), sum(r.stops for r in reports)

    async def outcomes(self, *, limit: int, cursor: str | None) -> Page[Outcome]:
        """Return outcomes, those that ended last first."""
        self._check()
        rows = sorted(enumerate(self._outcomes), key=lambda row: (row[1].ended_at_s, row[0]), reverse=True)
        if cursor is not None:
            after = rules.key_of(cursor, float, str)
            rows = [row for row in rows if (row[1].ended_at_s, f"{row[0]:012d}") < after]
        return _page(rows, limit, lambda row: row[1], lambda row: (row[1].ended_at_s, f"{row[0]:012d}"))

    # -- decisions -----------------------------------------------------------------------------------------------

    async def publish_plan(self, plan: EpochPlan) -> None:
        """Put a plan in force."""
        rules.check_plan(plan, await self.generations())
        self._plans.append(plan)
        self._tell("plan", str(plan.generation), plan.source, plan.created_at_s)

    async def publish_slot(
        self, placement: Placement | None, table: RoutingTable | None, record: DecisionRecord
    ) -> None:
        """Put both in force and journal the decision."""
        rules.check_slot(placement, table, await self.generations())
        self._journal(record)
        if placement is not None:
            self._placements.append(placement)
            self._tell("placement", str(placement.generation), placement.decision, placement.created_at_s)
        if table is not None:
            self._tables.append(table)
            self._tell("table", str(table.generation), table.decision, table.created_at_s)

    async def publish_epoch(self, plan: EpochPlan, record: DecisionRecord) -> None:
        """Put a plan in force and journal the decision."""
        rules.check_plan(plan, await self.generations())
        self._journal(record)
        await self.publish_plan(plan)

    def _journal(self, record: DecisionRecord) -> None:
        if record.id in self._decisions:
            raise Conflict(f"decision {record.id!r} is journaled already")
        self._decisions[record.id] = record
        self._tell("decision", record.id, record.source, record.made_at_s)

    async def current_plan(self) -> EpochPlan | None:
        """Return the plan in force."""
        self._check()
        return self._plans[-1] if self._plans else None

    async def current_placement(self) -> Placement | None:
        """Return the placement in force."""
        self._check()
        return self._placements[-1] if self._placements else None

    async def current_table(self) -> RoutingTable | None:
        """Return the table in force."""
        self._check()
        return self._tables[-1] if self._tables else None

    async def generations(self) -> GenerationSeen:
        """Return the generations in force."""
        self._check()
        return GenerationSeen(
            plan=self._plans[-1].generation if self._plans else 0,
            placement=self._placements[-1].generation if self._placements else 0,
            table=self._tables[-1].generation if self._tables else 0,
        )

    async def plans(self, *, limit: int, cursor: str | None) -> Page[EpochPlan]:
        """Return plans, newest first."""
        self._check()
        rows = self._plans[::-1]
        if cursor is not None:
            after = rules.key_of(cursor, int)
            rows = [plan for plan in rows if (plan.generation,) < after]
        return _page(rows, limit, lambda plan: plan, lambda plan: (plan.generation,))

    async def tables(self, *, limit: int, cursor: str | None) -> Page[RoutingTable]:
        """Return tables, newest first."""
        self._check()
        rows = self._tables[::-1]
        if cursor is not None:
            after = rules.key_of(cursor, int)
            rows = [table for table in rows if (table.generation,) < after]
        return _page(rows, limit, lambda table: table, lambda table: (table.generation,))

    async def decision(self, decision: str) -> DecisionRecord:
        """Return a line of the journal."""
        self._check()
        if decision not in self._decisions:
            raise NotFound(f"there is no decision {foreign(decision)!r}")
        return self._decisions[decision]

    async def decisions(self, *, agent: str | None, limit: int, cursor: str | None) -> Page[DecisionRecord]:
        """Return lines of the journal, newest first."""
        self._check()
        rows = [record for record in self._decisions.values() if agent is None or record.agent == agent]
        rows.sort(key=lambda record: (record.made_at_s, record.id), reverse=True)
        if cursor is not None:
            after = rules.key_of(cursor, float, str)
            rows = [record for record in rows if (record.made_at_s, record.id) < after]
        return _page(rows, limit, lambda record: record, lambda record: (record.made_at_s, record.id))

    async def decision_summaries(self, *, agent: str | None, limit: int, cursor: str | None) -> Page[DecisionSummary]:
        """Return what a listing shows, newest first."""
        page = await self.decisions(agent=agent, limit=limit, cursor=cursor)
        return Page(tuple(rules.summary_of(record) for record in page.items), page.cursor)

    # -- people --------------------------------------------------------------------------------------------------

    async def overrides(self) -> tuple[Override, ...]:
        """Return what operators have fixed, sorted by id."""
        self._check()
        return tuple(self._overrides[name] for name in sorted(self._overrides))

    async def put_override(self, override: Override, *, if_revision: int | None) -> Override:
        """Create or change an override."""
        self._check()
        new = rules.revised("override", self._overrides.get(override.id), override, override.id, if_revision)
        self._overrides[new.id] = new
        self._tell("override", new.id, new.action)
        return new

    async def delete_override(self, override: str) -> None:
        """Lift an override."""
        self._check()
        if self._overrides.pop(override, None) is None:
            raise NotFound(f"there is no override {foreign(override)!r}")
        self._tell("override", override, "deleted")

    async def mode(self, agent: str) -> Mode:
        """Return who may act for an agent."""
        self._check()
        return self._modes.get(agent, rules.default_mode(agent))

    async def put_mode(self, mode: Mode, *, if_revision: int | None) -> Mode:
        """Change who may act for an agent; before anybody has, the revision is 0."""
        self._check()
        found = self._modes.get(mode.agent)
        if if_revision is not None:
            found = found or rules.default_mode(mode.agent)
        new = rules.revised("mode", found, mode, mode.agent, if_revision)
        self._modes[new.agent] = new
        self._tell("mode", new.agent, new.mode, new.at_s)
        return new

    async def add_token(self, token: TokenRecord) -> None:
        """Keep a token's hash."""
        self._check()
        if token.id in self._tokens or any(token.sha256 == other.sha256 for other in self._tokens.values()):
            raise Conflict(f"token {token.id!r} exists already: choose another id")
        self._tokens[token.id] = token

    async def tokens(self) -> tuple[TokenRecord, ...]:
        """Return all tokens' hashes, sorted by id."""
        self._check()
        return tuple(self._tokens[name] for name in sorted(self._tokens))

    async def delete_token(self, token: str) -> None:
        """Forget a token."""
        self._check()
        if self._tokens.pop(token, None) is None:
            raise NotFound(f"there is no token {foreign(token)!r}")

    # -- events --------------------------------------------------------------------------------------------------

    async def wake(self, wake: Wake) -> None:
        """Tell the slot agent that a model is missed."""
        self._check()
        self._tell("wake", wake.model, wake.reason, wake.at_s)

    def changes(self, kinds: Sequence[EventKind]) -> AsyncIterator[Event]:
        """Yield what changes from this call on, in order."""
        queue: asyncio.Queue[tuple[EventKind, str, float, str]] = asyncio.Queue()
        listener = (frozenset(kinds), queue)
        self._listeners.append(listener)
        return self._events(listener)

    async def _events(
        self, listener: tuple[frozenset[EventKind], asyncio.Queue[tuple[EventKind, str, float, str]]]
    ) -> AsyncIterator[Event]:
        sequence = 0
        try:
            while True:
                kind, name, at_s, text = await listener[1].get()
                self._check()
                sequence += 1
                yield Event(sequence=sequence, kind=kind, id=name, at_s=at_s, text=text)
        finally:
            self._listeners.remove(listener)

    async def ping(self) -> None:
        """Return if the store answers."""
        self._check()

    async def close(self) -> None:
        """Do nothing: what is in memory goes with the process."""


def _page(
    rows: Sequence[Any],
    limit: int,
    item: Callable[[Any], Item],
    key: Callable[[Any], tuple[str | int | float, ...]],
) -> Page[Item]:
    """Return the first `limit` of `rows`, with the cursor of the last one if there are more."""
    taken = rows[:limit]
    return Page(tuple(item(row) for row in taken), rules.cursor_of(*key(taken[-1])) if len(rows) > limit else None)
