"""The fake of the store port: everything in this process, lost when it ends, the same laws as the real one."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from fairlead.adapters import store_rules as rules
from fairlead.adapters.budget_rules import Ledger, amount
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.memory_cases import Cases
from fairlead.adapters.memory_decisions import Published, listed
from fairlead.adapters.memory_pages import newest_first
from fairlead.adapters.memory_readings import Readings
from fairlead.adapters.memory_words import Words
from fairlead.contracts.agent_memory import AgentMemory
from fairlead.contracts.cases import Case, ModelTally
from fairlead.contracts.cluster import Cluster, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.decisions import DecisionRecord, DecisionSummary, GenerationSeen
from fairlead.contracts.dialogue import AgentStatus, BudgetLimits, BudgetSpent, Proposal, Refusal
from fairlead.contracts.errors import Conflict, NotFound, StoreUnavailable, foreign
from fairlead.contracts.events import Event, EventKind, Mode, TokenRecord, Wake
from fairlead.contracts.evidence import Evidence, Label
from fairlead.contracts.forecasts import Knowledge
from fairlead.contracts.hindsight import PlanWorth
from fairlead.contracts.notes import Goal, Note
from fairlead.contracts.plans import EpochPlan, Override, Placement, RoutingTable
from fairlead.contracts.ports import Clock, Page
from fairlead.contracts.readings import GatewayReport, NodeReport, Outcome
from fairlead.contracts.resources import RouteStates


class MemoryStore:
    """A store without a database; `unavailable` set makes every call raise `StoreUnavailable`, as a lost one would."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.unavailable = False
        """What a test sets to take the database away; open streams of changes end at the next change."""
        self._clock: Clock = ScaledClock() if clock is None else clock
        self._cluster = rules.EMPTY_CLUSTER
        self._readings = Readings(lambda reporter, kind, at_s: self._tell("report", reporter, kind, at_s))
        self._published = Published(self._tell)
        self._cases = Cases()
        self._ledger = Ledger()
        self._proposals: dict[str, Proposal] = {}
        self._statuses: dict[str, AgentStatus] = {}
        self._memories: dict[str, AgentMemory] = {}
        self._knowledge = Knowledge()
        self._routes = RouteStates()
        self._overrides: dict[str, Override] = {}
        self._words = Words(self._tell)
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

    async def append_node_report(self, report: NodeReport) -> bool:
        """Keep a report; False if it was kept before."""
        self._check()
        return self._readings.append_node_report(report)

    async def append_gateway_report(self, report: GatewayReport) -> bool:
        """Keep a report and its outcomes; False if it was kept before."""
        self._check()
        return self._readings.append_gateway_report(report)

    async def latest_node_reports(self) -> tuple[NodeReport, ...]:
        """Return the newest report of each node, sorted."""
        self._check()
        return self._readings.latest_node_reports()

    async def latest_gateway_reports(self) -> tuple[GatewayReport, ...]:
        """Return the newest report of each gateway, sorted."""
        self._check()
        return self._readings.latest_gateway_reports()

    async def arrived(self) -> dict[str, int]:
        """Return per model all requests that ever arrived."""
        self._check()
        return self._readings.arrived()

    async def pod_totals(self) -> tuple[int, int]:
        """Return all pods ever started and stopped."""
        self._check()
        return self._readings.pod_totals()

    async def outcomes(self, *, limit: int, cursor: str | None) -> Page[Outcome]:
        """Return outcomes, those that ended last first."""
        self._check()
        return self._readings.outcomes(limit=limit, cursor=cursor)

    async def tallies(self, since_at_s: float, until_at_s: float) -> tuple[ModelTally, ...]:
        """Return per model what became of the requests that arrived within the window, sorted."""
        self._check()
        return self._readings.tallies(self._cluster, since_at_s, until_at_s)

    # -- decisions -----------------------------------------------------------------------------------------------

    async def publish_plan(self, plan: EpochPlan) -> None:
        """Put a plan in force."""
        self._check()
        self._published.publish_epoch(plan, None)

    async def publish_slot(
        self, placement: Placement | None, table: RoutingTable | None, record: DecisionRecord
    ) -> None:
        """Put both in force and journal the decision."""
        self._check()
        self._published.publish_slot(placement, table, record)

    async def publish_epoch(self, plan: EpochPlan | None, record: DecisionRecord) -> None:
        """Put a plan in force, if there is one, and journal the decision."""
        self._check()
        self._published.publish_epoch(plan, record)

    async def current_plan(self) -> EpochPlan | None:
        """Return the plan in force."""
        self._check()
        return self._published.plans[-1] if self._published.plans else None

    async def current_placement(self) -> Placement | None:
        """Return the placement in force."""
        self._check()
        return self._published.placements[-1] if self._published.placements else None

    async def current_table(self) -> RoutingTable | None:
        """Return the table in force."""
        self._check()
        return self._published.tables[-1] if self._published.tables else None

    async def generations(self) -> GenerationSeen:
        """Return the generations in force."""
        self._check()
        return self._published.generations()

    async def plans(self, *, limit: int, cursor: str | None) -> Page[EpochPlan]:
        """Return plans, newest first."""
        self._check()
        return listed(self._published.plans, limit, cursor)

    async def tables(self, *, limit: int, cursor: str | None) -> Page[RoutingTable]:
        """Return tables, newest first."""
        self._check()
        return listed(self._published.tables, limit, cursor)

    async def decision(self, decision: str) -> DecisionRecord:
        """Return a line of the journal."""
        self._check()
        return self._published.decision(decision)

    async def decisions(self, *, agent: str | None, limit: int, cursor: str | None) -> Page[DecisionRecord]:
        """Return lines of the journal, newest first."""
        self._check()
        return self._published.decisions(agent, limit, cursor)

    async def decision_summaries(self, *, agent: str | None, limit: int, cursor: str | None) -> Page[DecisionSummary]:
        """Return what a listing shows, newest first."""
        page = await self.decisions(agent=agent, limit=limit, cursor=cursor)
        return Page(tuple(rules.summary_of(record) for record in page.items), page.cursor)

    # -- people --------------------------------------------------------------------------------------------------

    async def put_plan_worth(self, worth: PlanWorth) -> None:
        """Keep what a plan turned out to be worth beside its decision; passed over where that is not journaled."""
        self._check()
        self._published.put_worth(worth)

    async def plan_worth(self, decision: str) -> PlanWorth | None:
        """Return what the plan of a decision turned out to be worth; None where nothing was kept."""
        self._check()
        return self._published.worths.get(decision)

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

    async def notes(self) -> tuple[Note, ...]:
        """Return what operators have said, those that begin first first."""
        self._check()
        return self._words.notes()

    async def put_note(self, note: Note, *, if_revision: int | None) -> Note:
        """Create or change a note."""
        self._check()
        return self._words.put_note(note, if_revision)

    async def delete_note(self, note: str) -> None:
        """Forget a note."""
        self._check()
        self._words.delete_note(note)

    async def goals(self) -> tuple[Goal, ...]:
        """Return all goals that were ever set, the newest first."""
        self._check()
        return self._words.goals()

    async def lasting_goals(self, now_s: float) -> tuple[Goal, ...]:
        """Return the goals that are neither declined nor over, without what a model was asked."""
        self._check()
        return self._words.lasting(now_s)

    async def goal(self, goal: str) -> Goal:
        """Return a goal."""
        self._check()
        return self._words.goal(goal)

    async def put_goal(self, goal: Goal, *, if_revision: int | None) -> Goal:
        """Keep a goal, or a person's answer to it."""
        self._check()
        return self._words.put_goal(goal, if_revision)

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

    # -- agents --------------------------------------------------------------------------------------------------

    async def put_proposal(self, proposal: Proposal, *, if_revision: int | None) -> Proposal:
        """Leave a proposal for a person, or that person's approval."""
        self._check()
        new = rules.proposed(self._proposals.get(proposal.id), proposal, if_revision)
        self._proposals[new.id] = new
        self._tell("proposal", new.id, rules.answer_of(new), rules.answered_at_s(new))
        return new

    async def proposal(self, proposal: str) -> Proposal:
        """Return a proposal."""
        self._check()
        if proposal not in self._proposals:
            raise NotFound(f"there is no proposal {foreign(proposal)!r}")
        return self._proposals[proposal]

    async def proposals(self, *, limit: int, cursor: str | None) -> Page[Proposal]:
        """Return proposals, newest first."""
        self._check()
        return newest_first(tuple(self._proposals.values()), limit, cursor, lambda one: (one.created_at_s, one.id))

    async def put_agent_status(self, status: AgentStatus) -> None:
        """Keep what an agent says of itself, in place of what it said before."""
        self._check()
        self._statuses[status.agent] = status

    async def agent_statuses(self) -> tuple[AgentStatus, ...]:
        """Return what each agent said last, sorted."""
        self._check()
        return tuple(self._statuses[agent] for agent in sorted(self._statuses))

    async def put_agent_memory(self, memory: AgentMemory) -> None:
        """Keep what an agent goes on with after a restart, in place of what it kept before."""
        self._check()
        self._memories[memory.agent] = memory

    async def agent_memory(self, agent: str) -> AgentMemory | None:
        """Return what an agent has kept; None before it kept anything."""
        self._check()
        return self._memories.get(agent)

    async def put_knowledge(self, knowledge: Knowledge) -> None:
        """Keep what was learned of recurring demand, in place of what was learned before."""
        self._check()
        self._knowledge = knowledge

    async def knowledge(self) -> Knowledge:
        """Return what was learned of recurring demand; nothing before anything was."""
        self._check()
        return self._knowledge

    async def put_routes(self, routes: RouteStates) -> None:
        """Keep what became of the routes of the cluster's gateway, in place of what was kept before."""
        self._check()
        self._routes = routes

    async def routes(self) -> RouteStates:
        """Return what became of the routes of the cluster's gateway."""
        self._check()
        return self._routes

    async def reserve(self, ask: str, tokens: int, money: float, limits: BudgetLimits) -> Refusal | None:
        """Set tokens and money aside for a question; refuse what would exceed a limit."""
        self._check()
        after = self._ledger.reserve(ask, amount(tokens, money), limits, self._clock.wall_s())
        if isinstance(after, Refusal):
            return after
        self._ledger = after
        return None

    async def settle(self, ask: str, tokens: int, money: float) -> None:
        """Replace what was set aside for a question by what it took."""
        self._check()
        self._ledger = self._ledger.settle(ask, amount(tokens, money), self._clock.wall_s())

    async def spent(self) -> BudgetSpent:
        """Return what was spent or is set aside, by this process's wall clock."""
        self._check()
        return self._ledger.totals(self._clock.wall_s())

    async def add_case(self, case: Case, *, capacity: int) -> None:
        """Keep a case, and forget what is beyond `capacity` for its cluster."""
        self._check()
        self._cases.add(case, capacity)

    async def case(self, case: str) -> Case:
        """Return a case."""
        self._check()
        return self._cases.one(case)

    async def cases(self, *, cluster: str | None, limit: int, cursor: str | None) -> Page[Case]:
        """Return cases, those that began last first."""
        self._check()
        return self._cases.listed(cluster, limit, cursor)

    async def some_cases(self, cases: Sequence[str]) -> tuple[Case, ...]:
        """Return those of these that are there."""
        self._check()
        return self._cases.some(cases)

    async def case_stamps(self, cluster: str) -> dict[str, float]:
        """Return the ids of a cluster's cases, each with a number that differs after a change."""
        self._check()
        return self._cases.stamps(cluster)

    async def delete_case(self, case: str) -> None:
        """Forget a case."""
        self._check()
        self._cases.delete(case)

    async def cite_cases(self, cases: Sequence[str]) -> None:
        """Count that a reply has cited these."""
        self._check()
        self._cases.cite(cases)

    async def quarantine_cases(self, cases: Sequence[str], why: str) -> None:
        """Have no model shown these; an empty reason releases them."""
        self._check()
        self._cases.quarantine(cases, why)

    async def label_case(self, case: str, label: Label) -> Case:
        """Keep what the twin says of a case."""
        self._check()
        return self._cases.label(case, label)

    async def put_evidence(self, evidence: Evidence) -> None:
        """Keep what a case can be judged by again."""
        self._check()
        self._cases.put_evidence(evidence)

    async def evidence(self, case: str) -> Evidence:
        """Return what a case can be judged by."""
        self._check()
        return self._cases.evidence(case)

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
