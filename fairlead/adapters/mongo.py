"""The store port on MongoDB 6 or later: any replica set by its URI, or the embedded one of `mongod`."""

from collections.abc import AsyncIterator, Sequence

from pymongo.errors import DuplicateKeyError

from fairlead.adapters import mongo_changes, mongo_schema, mongo_tallies
from fairlead.adapters import store_rules as rules
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.mongo_agents import Agents
from fairlead.adapters.mongo_budget import Budget
from fairlead.adapters.mongo_cases import Cases
from fairlead.adapters.mongo_cluster import ClusterRows
from fairlead.adapters.mongo_decisions import Published
from fairlead.adapters.mongo_driver import Driver, wall_now
from fairlead.adapters.mongo_reports import Readings
from fairlead.adapters.mongo_rows import RevisedRows, row_of
from fairlead.adapters.mongo_words import Words
from fairlead.contracts.agent_memory import AgentMemory
from fairlead.contracts.cases import Case, ModelTally
from fairlead.contracts.cluster import Cluster, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.decisions import DecisionRecord, DecisionSummary, GenerationSeen
from fairlead.contracts.dialogue import AgentStatus, BudgetLimits, BudgetSpent, Proposal, Refusal
from fairlead.contracts.errors import Conflict, NotFound, foreign
from fairlead.contracts.events import Event, EventKind, Mode, TokenRecord, Wake
from fairlead.contracts.evidence import Evidence, Label
from fairlead.contracts.forecasts import Knowledge
from fairlead.contracts.hindsight import PlanWorth
from fairlead.contracts.notes import Goal, Note
from fairlead.contracts.plans import EpochPlan, Override, Placement, RoutingTable
from fairlead.contracts.ports import Clock, Page
from fairlead.contracts.readings import GatewayReport, NodeReport, Outcome
from fairlead.contracts.resources import RouteStates
from fairlead.contracts.settings import MongoSettings


async def connect(settings: MongoSettings, clock: Clock | None = None) -> "MongoStore":
    """Return a store that is ready: reached, its collections and indexes made, its schema migrated.

    `clock` dates events that carry no time of their own. Raises `ConfigError`, `SchemaTooNew`, `StoreUnavailable`.
    """
    store = MongoStore(settings, clock)
    try:
        await store.prepare()
    except BaseException:
        await store.close()
        raise
    return store


class MongoStore:
    """What the core side remembers, in MongoDB; before `prepare` it may find a database without indexes."""

    def __init__(self, settings: MongoSettings, clock: Clock | None = None) -> None:
        self._clock: Clock = ScaledClock() if clock is None else clock
        self._settings = settings
        self._driver = Driver(settings)
        self._cluster = ClusterRows(self._driver, self._clock)
        self._readings = Readings(self._driver)
        self._published = Published(self._driver)
        self._rows = RevisedRows(self._driver)
        self._agents = Agents(self._driver, self._rows)
        self._words = Words(self._driver, self._rows)
        self._budget = Budget(self._driver)
        self._cases = Cases(self._driver)

    async def prepare(self) -> None:
        """Make collections and indexes, and migrate an older schema. Raises `SchemaTooNew`, `StoreUnavailable`."""
        await mongo_schema.prepare(self._driver, self._settings.report_ttl_s)

    # -- the cluster ---------------------------------------------------------------------------------------------

    async def cluster(self) -> Cluster:
        """Return nodes, models and sites."""
        return await self._cluster.cluster()

    async def replace_cluster(self, cluster: Cluster) -> None:
        """Put another cluster in place of the whole."""
        await self._cluster.change(lambda before: (cluster, None))

    async def put_node(self, node: NodeSpec, *, if_revision: int | None) -> NodeSpec:
        """Create or change a node."""

        def change(now: Cluster) -> tuple[Cluster, NodeSpec]:
            new = rules.revised("node", rules.one(now.nodes, node.id), node, node.id, if_revision)
            return rules.rebuilt(rules.placed(now.nodes, new), now.models, now.sites), new

        return await self._cluster.change(change)

    async def put_model(self, model: ModelSpec, *, if_revision: int | None) -> ModelSpec:
        """Create or change a model."""

        def change(now: Cluster) -> tuple[Cluster, ModelSpec]:
            new = rules.revised("model", rules.one(now.models, model.id), model, model.id, if_revision)
            return rules.rebuilt(now.nodes, rules.placed(now.models, new), now.sites), new

        return await self._cluster.change(change)

    async def put_site(self, site: SiteSpec, *, if_revision: int | None) -> SiteSpec:
        """Create or change a site."""

        def change(now: Cluster) -> tuple[Cluster, SiteSpec]:
            new = rules.revised("site", rules.one(now.sites, site.id), site, site.id, if_revision)
            return rules.rebuilt(now.nodes, now.models, rules.placed(now.sites, new)), new

        return await self._cluster.change(change)

    async def delete_node(self, node: str, *, if_revision: int) -> None:
        """Take a node out."""

        def change(now: Cluster) -> tuple[Cluster, None]:
            rules.check_revision("node", rules.one(now.nodes, node), node, if_revision)
            return rules.rebuilt(rules.without(now.nodes, node), now.models, now.sites), None

        await self._cluster.change(change)

    async def delete_model(self, model: str, *, if_revision: int) -> None:
        """Take a model out."""

        def change(now: Cluster) -> tuple[Cluster, None]:
            rules.check_revision("model", rules.one(now.models, model), model, if_revision)
            return rules.rebuilt(now.nodes, rules.without(now.models, model), now.sites), None

        await self._cluster.change(change)

    async def delete_site(self, site: str, *, if_revision: int) -> None:
        """Take a site out."""

        def change(now: Cluster) -> tuple[Cluster, None]:
            rules.check_revision("site", rules.one(now.sites, site), site, if_revision)
            return rules.rebuilt(now.nodes, now.models, rules.without(now.sites, site)), None

        await self._cluster.change(change)

    # -- readings ------------------------------------------------------------------------------------------------

    async def append_node_report(self, report: NodeReport) -> bool:
        """Keep a report; False if it was kept before."""
        return await self._readings.append_node_report(report)

    async def append_gateway_report(self, report: GatewayReport) -> bool:
        """Keep a report and its outcomes; False if it was kept before."""
        return await self._readings.append_gateway_report(report)

    async def latest_node_reports(self) -> tuple[NodeReport, ...]:
        """Return the newest report of each node, sorted."""
        return await self._readings.latest_node_reports()

    async def latest_gateway_reports(self) -> tuple[GatewayReport, ...]:
        """Return the newest report of each gateway, sorted."""
        return await self._readings.latest_gateway_reports()

    async def arrived(self) -> dict[str, int]:
        """Return per model all requests that ever arrived."""
        return await self._readings.arrived()

    async def pod_totals(self) -> tuple[int, int]:
        """Return all pods ever started and stopped."""
        return await self._readings.pod_totals()

    async def outcomes(self, *, limit: int, cursor: str | None) -> Page[Outcome]:
        """Return outcomes, those that ended last first."""
        return await self._readings.outcomes(limit=limit, cursor=cursor)

    async def tallies(self, since_at_s: float, until_at_s: float) -> tuple[ModelTally, ...]:
        """Return per model what became of the requests that arrived within the window, sorted."""
        return await mongo_tallies.tallies(self._driver, await self._cluster.cluster(), since_at_s, until_at_s)

    # -- decisions -----------------------------------------------------------------------------------------------

    async def publish_plan(self, plan: EpochPlan) -> None:
        """Put a plan in force."""
        await self._published.publish_epoch(plan, None)

    async def publish_slot(
        self, placement: Placement | None, table: RoutingTable | None, record: DecisionRecord
    ) -> None:
        """Put both in force and journal the decision."""
        await self._published.publish_slot(placement, table, record)

    async def publish_epoch(self, plan: EpochPlan | None, record: DecisionRecord) -> None:
        """Put a plan in force, if there is one, and journal the decision."""
        await self._published.publish_epoch(plan, record)

    async def current_plan(self) -> EpochPlan | None:
        """Return the plan in force."""
        return await self._published.current("plans", EpochPlan)

    async def current_placement(self) -> Placement | None:
        """Return the placement in force."""
        return await self._published.current("placements", Placement)

    async def current_table(self) -> RoutingTable | None:
        """Return the table in force."""
        return await self._published.current("tables", RoutingTable)

    async def generations(self) -> GenerationSeen:
        """Return the generations in force."""
        return await self._published.generations()

    async def plans(self, *, limit: int, cursor: str | None) -> Page[EpochPlan]:
        """Return plans, newest first."""
        return await self._published.listed("plans", EpochPlan, limit=limit, cursor=cursor)

    async def tables(self, *, limit: int, cursor: str | None) -> Page[RoutingTable]:
        """Return tables, newest first."""
        return await self._published.listed("tables", RoutingTable, limit=limit, cursor=cursor)

    async def decision(self, decision: str) -> DecisionRecord:
        """Return a line of the journal."""
        return await self._published.decision(decision)

    async def decisions(self, *, agent: str | None, limit: int, cursor: str | None) -> Page[DecisionRecord]:
        """Return lines of the journal, newest first."""
        return await self._published.decisions(agent=agent, limit=limit, cursor=cursor)

    async def decision_summaries(self, *, agent: str | None, limit: int, cursor: str | None) -> Page[DecisionSummary]:
        """Return what a listing shows, newest first."""
        return await self._published.decision_summaries(agent=agent, limit=limit, cursor=cursor)

    # -- people --------------------------------------------------------------------------------------------------

    async def put_plan_worth(self, worth: PlanWorth) -> None:
        """Keep what a plan turned out to be worth beside its decision; passed over where that is not journaled."""
        await self._published.put_worth(worth)

    async def plan_worth(self, decision: str) -> PlanWorth | None:
        """Return what the plan of a decision turned out to be worth; None where nothing was kept."""
        return await self._published.worth(decision)

    async def overrides(self) -> tuple[Override, ...]:
        """Return what operators have fixed, sorted by id."""
        async with self._driver.asking("read the overrides"):
            rows = await self._driver.collection("overrides").find({}, {"json": 1}).sort("_id", 1).to_list()
        return tuple(Override.from_json(row["json"]) for row in rows)

    async def put_override(self, override: Override, *, if_revision: int | None) -> Override:
        """Create or change an override."""
        found = await self._rows.one("overrides", override.id, Override)
        new = rules.revised("override", found, override, override.id, if_revision)
        await self._rows.replace("overrides", found, row_of(new.id, new, new.action, self._clock.now_s()))
        return new

    async def delete_override(self, override: str) -> None:
        """Lift an override."""
        async with self._driver.asking("lift an override"):
            result = await self._driver.collection("overrides").delete_one({"_id": override})
        if result.deleted_count == 0:
            raise NotFound(f"there is no override {foreign(override)!r}")

    async def notes(self) -> tuple[Note, ...]:
        """Return what operators have said, those that begin first first."""
        return await self._words.notes()

    async def put_note(self, note: Note, *, if_revision: int | None) -> Note:
        """Create or change a note."""
        return await self._words.put_note(note, if_revision=if_revision)

    async def delete_note(self, note: str) -> None:
        """Forget a note."""
        await self._words.delete_note(note)

    async def goals(self) -> tuple[Goal, ...]:
        """Return all goals that were ever set, the newest first."""
        return await self._words.goals()

    async def lasting_goals(self, now_s: float) -> tuple[Goal, ...]:
        """Return the goals that are neither declined nor over, without what a model was asked."""
        return await self._words.lasting(now_s)

    async def goal(self, goal: str) -> Goal:
        """Return a goal."""
        return await self._words.goal(goal)

    async def put_goal(self, goal: Goal, *, if_revision: int | None) -> Goal:
        """Keep a goal, or a person's answer to it."""
        return await self._words.put_goal(goal, if_revision=if_revision)

    async def mode(self, agent: str) -> Mode:
        """Return who may act for an agent."""
        return await self._agents.mode(agent)

    async def put_mode(self, mode: Mode, *, if_revision: int | None) -> Mode:
        """Change who may act for an agent; before anybody has, the revision is 0."""
        return await self._agents.put_mode(mode, if_revision=if_revision)

    async def add_token(self, token: TokenRecord) -> None:
        """Keep a token's hash."""
        row = {"_id": token.id, "sha256": token.sha256, "json": token.to_json()}
        async with self._driver.asking("add a token"):
            try:
                await self._driver.collection("tokens").insert_one(row)
            except DuplicateKeyError as error:
                raise Conflict(f"token {token.id!r} exists already: choose another id") from error

    async def tokens(self) -> tuple[TokenRecord, ...]:
        """Return all tokens' hashes, sorted by id."""
        async with self._driver.asking("read the tokens"):
            rows = await self._driver.collection("tokens").find({}, {"json": 1}).sort("_id", 1).to_list()
        return tuple(TokenRecord.from_json(row["json"]) for row in rows)

    async def delete_token(self, token: str) -> None:
        """Forget a token."""
        async with self._driver.asking("delete a token"):
            result = await self._driver.collection("tokens").delete_one({"_id": token})
        if result.deleted_count == 0:
            raise NotFound(f"there is no token {foreign(token)!r}")

    # -- agents --------------------------------------------------------------------------------------------------

    async def put_proposal(self, proposal: Proposal, *, if_revision: int | None) -> Proposal:
        """Leave a proposal for a person, or that person's approval."""
        return await self._agents.put_proposal(proposal, if_revision=if_revision)

    async def proposal(self, proposal: str) -> Proposal:
        """Return a proposal."""
        return await self._agents.proposal(proposal)

    async def proposals(self, *, limit: int, cursor: str | None) -> Page[Proposal]:
        """Return proposals, newest first."""
        return await self._agents.proposals(limit=limit, cursor=cursor)

    async def put_agent_status(self, status: AgentStatus) -> None:
        """Keep what an agent says of itself, in place of what it said before."""
        await self._agents.put_status(status)

    async def agent_statuses(self) -> tuple[AgentStatus, ...]:
        """Return what each agent said last, sorted."""
        return await self._agents.statuses()

    async def put_agent_memory(self, memory: AgentMemory) -> None:
        """Keep what an agent goes on with after a restart, in place of what it kept before."""
        await self._agents.put_memory(memory)

    async def agent_memory(self, agent: str) -> AgentMemory | None:
        """Return what an agent has kept; None before it kept anything."""
        return await self._agents.memory(agent)

    async def put_knowledge(self, knowledge: Knowledge) -> None:
        """Keep what was learned of recurring demand, in place of what was learned before."""
        await self._agents.put_knowledge(knowledge)

    async def knowledge(self) -> Knowledge:
        """Return what was learned of recurring demand; nothing before anything was."""
        return await self._agents.knowledge()

    async def put_routes(self, routes: RouteStates) -> None:
        """Keep what became of the routes of the cluster's gateway, in place of what was kept before."""
        await self._cluster.put_routes(routes)

    async def routes(self) -> RouteStates:
        """Return what became of the routes of the cluster's gateway."""
        return await self._cluster.routes()

    async def reserve(self, ask: str, tokens: int, money: float, limits: BudgetLimits) -> Refusal | None:
        """Set tokens and money aside for a question; refuse what would exceed a limit."""
        return await self._budget.reserve(ask, tokens, money, limits)

    async def settle(self, ask: str, tokens: int, money: float) -> None:
        """Replace what was set aside for a question by what it took."""
        await self._budget.settle(ask, tokens, money)

    async def spent(self) -> BudgetSpent:
        """Return what was spent or is set aside, by the database's clock."""
        return await self._budget.spent()

    async def add_case(self, case: Case, *, capacity: int) -> None:
        """Keep a case, and forget what is beyond `capacity` for its cluster."""
        await self._cases.add(case, capacity)

    async def case(self, case: str) -> Case:
        """Return a case."""
        return await self._cases.one(case)

    async def cases(self, *, cluster: str | None, limit: int, cursor: str | None) -> Page[Case]:
        """Return cases, those that began last first."""
        return await self._cases.listed(cluster, limit, cursor)

    async def some_cases(self, cases: Sequence[str]) -> tuple[Case, ...]:
        """Return those of these that are there."""
        return await self._cases.some(cases)

    async def case_stamps(self, cluster: str) -> dict[str, float]:
        """Return the ids of a cluster's cases, each with a number that differs after a change."""
        return await self._cases.stamps(cluster)

    async def delete_case(self, case: str) -> None:
        """Forget a case."""
        await self._cases.delete(case)

    async def cite_cases(self, cases: Sequence[str]) -> None:
        """Count that a reply has cited these."""
        await self._cases.cite(cases)

    async def quarantine_cases(self, cases: Sequence[str], why: str) -> None:
        """Have no model shown these; an empty reason releases them."""
        await self._cases.quarantine(cases, why)

    async def label_case(self, case: str, label: Label) -> Case:
        """Keep what the twin says of a case."""
        return await self._cases.label(case, label)

    async def put_evidence(self, evidence: Evidence) -> None:
        """Keep what a case can be judged by again."""
        await self._cases.put_evidence(evidence)

    async def evidence(self, case: str) -> Evidence:
        """Return what a case can be judged by."""
        return await self._cases.evidence(case)

    # -- events --------------------------------------------------------------------------------------------------

    async def wake(self, wake: Wake) -> None:
        """Tell the slot agent that a model is missed."""
        row = {
            "model": wake.model,
            "text": wake.reason,
            "at_s": wake.at_s,
            "kept_at": wall_now(),
            "json": wake.to_json(),
        }
        async with self._driver.asking("tell of a wake"):
            await self._driver.collection("wakes").insert_one(row)

    def changes(self, kinds: Sequence[EventKind]) -> AsyncIterator[Event]:
        """Yield what changes from the first time that this is waited for, in order."""
        return mongo_changes.changes(self._driver, self._clock, kinds)

    async def ping(self) -> None:
        """Return if the database takes commands."""
        async with self._driver.asking("answer a ping"):
            await self._driver.client.admin.command("ping")

    async def close(self) -> None:
        """Write what waits and let go of the database."""
        await self._readings.close()
        await self._driver.close()
