"""The ports: what Fairlead asks of the world outside. Each has a real adapter and a fake that pass the same suite.

Every method that waits for the outside may raise `Unavailable`; callers give a time-out of their own.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from fairlead.contracts.agent_memory import AgentMemory
from fairlead.contracts.cases import Case, ModelTally
from fairlead.contracts.cluster import Cluster, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.decisions import DecisionRecord, DecisionSummary, EpochInput, GenerationSeen, SlotInput
from fairlead.contracts.dialogue import (
    AgentStatus,
    Answer,
    Ask,
    BudgetLimits,
    BudgetSpent,
    EndpointStatus,
    GateStatus,
    Judge,
    Judgement,
    Proposal,
    Refusal,
)
from fairlead.contracts.events import Event, EventKind, Mode, TokenRecord, Wake
from fairlead.contracts.evidence import Evidence, Label
from fairlead.contracts.forecasts import Knowledge
from fairlead.contracts.hindsight import PlanWorth
from fairlead.contracts.notes import Goal, Note
from fairlead.contracts.plans import EpochPlan, Override, Placement, RoutingTable
from fairlead.contracts.readings import GatewayReport, KeeperState, NodeReport, Outcome
from fairlead.contracts.resources import RouteStates
from fairlead.contracts.tickets import Failed, Head, Offer, PodSet, PodUses, Returned, Update, Withdrawal

Item = TypeVar("Item")


class Clock(Protocol):
    """Time of the domain, which `--speed` compresses, and of the wall."""

    @property
    def speed(self) -> float:
        """Domain seconds in a wall second."""

    def now_s(self) -> float:
        """Return the instant now, domain seconds since the Unix epoch; the same in all processes of a machine."""

    def wall_s(self) -> float:
        """Return a monotonic wall time, seconds; for time-outs and for what is not scaled."""

    async def sleep_until(self, at_s: float) -> None:
        """Return once `now_s() >= at_s`."""

    async def sleep_for(self, for_s: float) -> None:
        """Return after `for_s` domain seconds."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A page of a listing, newest first unless said otherwise."""

    items: tuple[Item, ...]
    cursor: str | None
    """Opaque; give it back for the next page; None on the last."""


class Store(Protocol):
    """What the core side remembers. Writes are durable when they return."""

    async def cluster(self) -> Cluster: ...
    async def replace_cluster(self, cluster: Cluster) -> None: ...

    async def put_node(self, node: NodeSpec, *, if_revision: int | None) -> NodeSpec:
        """Create or change a node; `if_revision` None creates only. Raises `Conflict`, `RevisionMismatch`."""

    async def put_model(self, model: ModelSpec, *, if_revision: int | None) -> ModelSpec: ...
    async def put_site(self, site: SiteSpec, *, if_revision: int | None) -> SiteSpec: ...
    async def delete_node(self, node: str, *, if_revision: int) -> None: ...
    async def delete_model(self, model: str, *, if_revision: int) -> None: ...
    async def delete_site(self, site: str, *, if_revision: int) -> None: ...

    async def append_node_report(self, report: NodeReport) -> bool:
        """Keep a report; False if this instance's sequence was seen before. An older one never replaces a newer."""

    async def append_gateway_report(self, report: GatewayReport) -> bool: ...
    async def latest_node_reports(self) -> tuple[NodeReport, ...]: ...
    async def latest_gateway_reports(self) -> tuple[GatewayReport, ...]: ...

    async def arrived(self) -> dict[str, int]:
        """Return per model all requests that ever arrived, over restarts of gateways."""

    async def pod_totals(self) -> tuple[int, int]:
        """Return all pods ever started and stopped, over restarts of node agents."""

    async def outcomes(self, *, limit: int, cursor: str | None) -> Page[Outcome]: ...

    async def publish_plan(self, plan: EpochPlan) -> None:
        """Put a plan in force. Raises `StaleGeneration` unless it follows the one in force."""

    async def publish_slot(
        self, placement: Placement | None, table: RoutingTable | None, record: DecisionRecord
    ) -> None:
        """Put both in force and journal the decision. Raises `StaleGeneration`."""

    async def publish_epoch(self, plan: EpochPlan | None, record: DecisionRecord) -> None:
        """Put a plan in force, if there is one, and journal the decision. Raises `StaleGeneration`."""

    async def current_plan(self) -> EpochPlan | None: ...
    async def current_placement(self) -> Placement | None: ...
    async def current_table(self) -> RoutingTable | None: ...
    async def generations(self) -> GenerationSeen: ...
    async def plans(self, *, limit: int, cursor: str | None) -> Page[EpochPlan]: ...
    async def tables(self, *, limit: int, cursor: str | None) -> Page[RoutingTable]: ...

    async def decision(self, decision: str) -> DecisionRecord:
        """Return a line of the journal; raises `NotFound`."""

    async def decisions(self, *, agent: str | None, limit: int, cursor: str | None) -> Page[DecisionRecord]: ...

    async def decision_summaries(self, *, agent: str | None, limit: int, cursor: str | None) -> Page[DecisionSummary]:
        """Return what a listing shows; a record can be 200 KB, its summary is less than one."""

    async def put_plan_worth(self, worth: PlanWorth) -> None:
        """Keep what a plan turned out to be worth beside its decision; passed over where that is not journaled."""

    async def plan_worth(self, decision: str) -> PlanWorth | None:
        """Return what the plan of a decision turned out to be worth; None where nothing was kept."""

    async def overrides(self) -> tuple[Override, ...]: ...
    async def put_override(self, override: Override, *, if_revision: int | None) -> Override: ...
    async def delete_override(self, override: str) -> None: ...

    async def notes(self) -> tuple[Note, ...]:
        """Return what operators have said, those that begin first first."""

    async def put_note(self, note: Note, *, if_revision: int | None) -> Note: ...
    async def delete_note(self, note: str) -> None: ...

    async def goals(self) -> tuple[Goal, ...]:
        """Return all goals in words that were ever set, the newest first."""

    async def lasting_goals(self, now_s: float) -> tuple[Goal, ...]:
        """Return the goals that are neither declined nor over, the newest first, without what a model was asked."""

    async def goal(self, goal: str) -> Goal: ...

    async def put_goal(self, goal: Goal, *, if_revision: int | None) -> Goal:
        """Keep a goal, or a person's answer to it. Raises `Conflict`, `RevisionMismatch`."""

    async def mode(self, agent: str) -> Mode: ...
    async def put_mode(self, mode: Mode, *, if_revision: int | None) -> Mode: ...

    async def put_proposal(self, proposal: Proposal, *, if_revision: int | None) -> Proposal:
        """Leave a proposal for a person, or that person's approval. Raises `Conflict`, `RevisionMismatch`."""

    async def proposal(self, proposal: str) -> Proposal: ...
    async def proposals(self, *, limit: int, cursor: str | None) -> Page[Proposal]: ...
    async def put_agent_status(self, status: AgentStatus) -> None: ...
    async def agent_statuses(self) -> tuple[AgentStatus, ...]: ...
    async def put_agent_memory(self, memory: AgentMemory) -> None:
        """Keep what an agent goes on with after a restart, in place of what it kept before."""

    async def agent_memory(self, agent: str) -> AgentMemory | None:
        """Return what an agent has kept; None before it kept anything.

        Raises `pydantic.ValidationError` where another Fairlead has kept what this one cannot read.
        """

    async def put_knowledge(self, knowledge: Knowledge) -> None:
        """Keep what was learned of recurring demand, in place of what was learned before."""

    async def knowledge(self) -> Knowledge:
        """Return what was learned of recurring demand; nothing before anything was."""

    async def put_routes(self, routes: RouteStates) -> None:
        """Keep what became of the routes of the cluster's gateway, in place of what was kept before."""

    async def routes(self) -> RouteStates:
        """Return what became of the routes of the cluster's gateway."""

    async def reserve(self, ask: str, tokens: int, money: float, limits: BudgetLimits) -> Refusal | None:
        """Set tokens and money aside for a question, over all agents; refuse what would exceed a limit."""

    async def settle(self, ask: str, tokens: int, money: float) -> None:
        """Replace what was set aside for a question by what it took; what is never settled stays spent."""

    async def spent(self) -> BudgetSpent: ...

    async def add_case(self, case: Case, *, capacity: int) -> None:
        """Keep a case, in place of one of its id, and forget what is beyond `capacity` for its cluster."""

    async def case(self, case: str) -> Case: ...
    async def cases(self, *, cluster: str | None, limit: int, cursor: str | None) -> Page[Case]:
        """Return cases, those that began last first; of one cluster's digest or of all."""

    async def some_cases(self, cases: Sequence[str]) -> tuple[Case, ...]:
        """Return those of these that are there, in this order, by one question."""

    async def case_stamps(self, cluster: str) -> dict[str, float]:
        """Return the ids of a cluster's cases, those that began last first, each with a number.

        The number differs after a case was written, quarantined or released, not after it was cited.
        """

    async def delete_case(self, case: str) -> None: ...
    async def cite_cases(self, cases: Sequence[str]) -> None:
        """Count that a reply has cited these; unknown ones are passed over."""

    async def quarantine_cases(self, cases: Sequence[str], why: str) -> None:
        """Have no model shown these, for a reason; an empty one releases them. Unknown ones are passed over."""

    async def label_case(self, case: str, label: Label) -> Case:
        """Keep what the twin says of a case, nothing else of it changes; return it. Raises `NotFound` without it."""

    async def put_evidence(self, evidence: Evidence) -> None:
        """Keep what a case can be judged by again, as long as the case. Raises `NotFound` without the case."""

    async def evidence(self, case: str) -> Evidence: ...

    async def tallies(self, since_at_s: float, until_at_s: float) -> tuple[ModelTally, ...]:
        """Return per model what became of the requests that arrived within the window, sorted."""

    async def add_token(self, token: TokenRecord) -> None: ...
    async def tokens(self) -> tuple[TokenRecord, ...]: ...
    async def delete_token(self, token: str) -> None: ...

    async def wake(self, wake: Wake) -> None:
        """Tell the slot agent that a model is missed."""

    def changes(self, kinds: Sequence[EventKind]) -> AsyncIterator[Event]:
        """Yield what changes from now on, in order; ends only by cancellation or `StoreUnavailable`."""

    async def ping(self) -> None: ...
    async def close(self) -> None: ...


class Lease(Protocol):
    """The right to act, which one of several equal processes has; a lost one costs nothing but a new decision."""

    async def acquire(self) -> None:
        """Return once it is ours; an API that is away is waited for."""

    async def keep(self) -> None:
        """Renew it; return once it may be another's."""

    async def release(self) -> None:
        """Let another have it at once; nothing if it is not ours, or cannot be reached."""


class Llm(Protocol):
    """A language model as an agent sees it: one question, one answer; a failure is an answer too."""

    async def ask(self, ask: Ask, *, id: str, deadline_s: float) -> Answer:
        """Return what comes of a question within `deadline_s` wall seconds; raises nothing but cancellation."""

    def statuses(self) -> tuple[EndpointStatus, ...]: ...
    async def close(self) -> None: ...


class Judging(Protocol):
    """The twin as an agent sees it: one proposal, one judgement; that there is none is a judgement too."""

    def wanted(self) -> None:
        """Say that something will be judged soon: what takes long to be ready may begin now."""

    async def judge(self, asked: SlotInput | EpochInput, judge: Judge, *, deadline_s: float) -> Judgement:
        """Return what the twin says within `deadline_s` wall seconds; raises nothing but cancellation."""

    def status(self) -> GateStatus: ...

    async def run(self) -> None:
        """Keep whatever judges, until cancelled."""


class Control(Protocol):
    """What the edge side asks of the control API."""

    async def cluster(self) -> Cluster: ...

    async def placement(self, *, newer_than: int, wait_s: float) -> Placement | None:
        """Return the placement in force once it is newer than `newer_than`; None after `wait_s` wall seconds."""

    async def table(self, *, newer_than: int, wait_s: float) -> RoutingTable | None: ...
    async def plan(self, *, newer_than: int, wait_s: float) -> EpochPlan | None: ...
    async def report_node(self, report: NodeReport) -> None: ...
    async def report_gateway(self, report: GatewayReport) -> None: ...
    async def wake(self, wake: Wake) -> None: ...

    async def keepers(self, nodes: Sequence[str]) -> tuple[KeeperState, ...]:
        """Return what the newest reports say of the queues of these nodes, sorted; nothing of those never heard."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class PodOrder:
    """What is to be started."""

    node: str
    model: ModelSpec
    instance: str


@dataclass(frozen=True, slots=True)
class PodStatus:
    """A pod as its runtime sees it: a child process, a Kubernetes pod."""

    model: str
    instance: str
    state: str
    """`starting`, `ready`, `stopping`, `gone`."""
    stage: str
    """What a start is doing: `spawn`, `load`, `probe`."""
    url: str | None
    since_at_s: float
    memory_bytes: int
    reason: str
    """Why it is gone or does not become ready; empty otherwise."""


class Runtime(Protocol):
    """Starts, watches and stops pods on one node; orders return at once, effects come as statuses."""

    async def adopt(self) -> tuple[PodStatus, ...]:
        """Return pods that a former agent left; those that cannot be taken over are removed first."""

    async def start(self, order: PodOrder) -> None:
        """Begin to start a pod. Raises `PodFault` if that cannot even begin."""

    async def stop(self, model: str, *, grace_s: float) -> None:
        """Ask a drained pod to end, and end it after `grace_s` wall seconds."""

    def watch(self) -> AsyncIterator[PodStatus]:
        """Yield each change of a pod's status, first the present one of each."""

    async def close(self) -> None:
        """Let go of the pods without stopping them."""


class ImagePort(Protocol):
    """Fetches what a start would wait for, before it is ordered."""

    async def expect(self, models: Sequence[ModelSpec]) -> None:
        """Have the images of these models be on the node; returns once they are, or cannot be."""


class PodExchange(Protocol):
    """One request that a pod is given, and its answer."""

    def answer(self) -> AsyncGenerator[Head | bytes | Failed | Returned, None]:
        """Yield the head, then the bytes; `Failed` ends a broken answer, `Returned` one that never began."""

    def abort(self) -> None:
        """Break it off: what waits for the answer gets `Failed` at once."""


class PodPort(Protocol):
    """The pods of a node as their keeper sees them."""

    def ask(self, url: str, path: str, body: bytes, request: str) -> PodExchange:
        """Return the exchange that posts `body` to a pod once its answer is read; `request` is the request's id."""

    async def close(self) -> None: ...


class KeeperPort(Protocol):
    """A keeper as an ingress sees it, in the same process or over HTTP."""

    def offer(self, offer: Offer, body: bytes) -> AsyncGenerator[Update | bytes, None]:
        """Yield what becomes of an offer, ended by `Refused`, `Done`, `Failed` or `Returned`.

        Closing the iterator gives the ticket up. Raises `KeeperUnavailable`.
        """

    async def withdraw(self, offer: Offer) -> Withdrawal: ...


class KeeperControl(Protocol):
    """A keeper as the node agent beside it sees it."""

    async def declare(self, pods: PodSet) -> PodUses: ...
