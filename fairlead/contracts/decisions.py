"""What a decider is given and what it returns, and the journal's record of both: enough to decide again."""

from typing import Annotated, Literal

from pydantic import Field

from fairlead.contracts.base import Count, Generation, Id, Instant, Many, Message, Name, Positive, Seconds, Text
from fairlead.contracts.cases import Case
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.dialogue import AgentName, Approval, CaseShown, DialogueSettings, Exchange, Judgement, ModeName
from fairlead.contracts.forecasts import Forecast, SlotArrivals
from fairlead.contracts.notes import Goal, Note
from fairlead.contracts.plans import (
    EpochPlan,
    Guide,
    NodePlacement,
    Override,
    Placement,
    PlanDraft,
    Rate,
    Reason,
    RoutingTable,
    Source,
)
from fairlead.contracts.readings import Phase
from fairlead.contracts.tuning import PolicyName, PolicySettings


class PodView(Message):
    """A pod as the decision sees it: agent's and keeper's newest readings of it, joined."""

    model: Id
    phase: Phase
    since_at_s: Instant
    ready_in_s: Seconds
    work_s: Seconds
    """W, drained to the time of the snapshot."""
    count: Count
    """K."""
    running: Count
    used_at_s: Instant | None
    blocked: bool
    """In crash back-off: no start here now."""


class NodeView(Message):
    """A node as the decision sees it."""

    node: Id
    up: bool
    """False when its newest report is older than three report periods, or absent (DESIGN §8, invariant 10)."""
    observed_at_s: Instant | None
    """Of the older of the agent's and the keeper's reading; None if there never was one."""
    speed: Positive
    pods: Many[PodView]
    """All pods that are not off, and those in back-off; sorted by model."""
    troubles: Many[Text] = ()
    """What its agent says of pods that are not as ordered, model and reason: a crash, an image that cannot be had, an
    eviction by others. Nothing is decided by it; the journal tells by it why a pod was not there."""


class ModelView(Message):
    """Demand for a model, summed over the gateways."""

    model: Id
    arrived: Count
    """Since the last slot decision."""
    held: Count
    oldest_held_s: Seconds
    asked_at_s: Instant | None
    arrived_total: Count | None = None
    """All that ever arrived, from which the next decision counts on, also after a restart; None if not counted."""


class Snapshot(Message):
    """The fold of the newest readings that a decision is based on."""

    taken_at_s: Instant
    nodes: Many[NodeView]
    models: Many[ModelView]
    stale: Many[Name]
    """Reporters whose newest reading was too old to be used."""


class SlotState(Message):
    """What a slot decider remembers from one decision to the next."""

    slot: Count
    """The last slot whose arrivals are in the rates."""
    rates: Many[Rate]
    rotation: Count
    """How many slots policies that take turns have seen."""


StepName = Literal[
    "absent",
    "call",
    "parse",
    "schema",
    "feasibility",
    "trust",
    "twin",
    "watchdog",
    "repair",
    "approval",
    "mode",
    "fallback",
    "operator",
]


class Step(Message):
    """One rung of the ladder (DESIGN §4) and how it went."""

    name: StepName
    ok: bool
    code: Name
    """Stable reason code, such as `no-llm`, `ok`."""
    text: Text


class SlotInput(Message):
    """All that a slot decision depends on."""

    trigger: Literal["slot", "event", "advice"]
    """`slot`: rules 1 to 5; `event`: rule 1 and what follows from it; `advice`: a table alone, after a dialogue."""
    slot: Count
    now_s: Instant
    seed: Count
    policy: PolicyName
    settings: PolicySettings
    cluster: Cluster
    snapshot: Snapshot
    state: SlotState
    plan: EpochPlan | None
    placement: Placement | None
    """The one in force."""
    overrides: Many[Override]
    static: Many[NodePlacement]
    """The placement of policies that are given one (`sed-static`); empty otherwise."""
    next_placement: Annotated[int, Field(ge=1)]
    next_table: Annotated[int, Field(ge=1)]
    decision: Name
    guide: Guide | None = None
    """What a language model proposed for this slot and may act; each decision of the slot checks it anew."""
    ladder: Many[Step] = ()
    """How the dialogue went that this decision follows; empty where it follows none."""
    llm: Name = "no-llm"
    """Why no reply is in this decision: `no-llm`, `asked`, `busy`, `off`, `baseline`, `answered` (in an `advice`)."""
    recent: Many[SlotArrivals] = ()
    """Arrivals of the newest slots, oldest first: what demand of the twin's gate is drawn from."""
    forecast: Forecast | None = None


class ShadowPrice(Message):
    """What one more pod of a model would be worth (CONTROL §2 rule 3)."""

    model: Id
    node: Id | None
    """Where its best start would be; None if nowhere."""
    worth_s: float
    """Request-seconds over the horizon."""


class SlotDecision(Message):
    """What a slot decider returns."""

    placement: Placement | None
    """None leaves the one in force."""
    table: RoutingTable | None
    state: SlotState
    steps: Many[Step]
    reasons: Many[Reason]
    prices: Many[ShadowPrice]


class EpochInput(Message):
    """All that an epoch decision depends on."""

    epoch: Count
    now_s: Instant
    seed: Count
    settings: PolicySettings
    cluster: Cluster
    snapshot: Snapshot
    parent: EpochPlan | None
    next_plan: Annotated[int, Field(ge=1)]
    decision: Name
    rates: Many[Rate] = ()
    """λ as the newest slot decision has learned it."""
    prices: Many[ShadowPrice] = ()
    """Of the newest slot decision."""
    draft: PlanDraft | None = None
    """What a language model proposed for this epoch and may act."""
    ladder: Many[Step] = ()
    llm: Name = "no-llm"
    """As in `SlotInput`; `no-time` where what was left of the epoch was too short to ask."""
    publish: bool = True
    """False where a plan for the epoch is in force already and the fallback would only repeat it."""
    begins_at_s: Instant | None = None
    """Begin of the epoch, before or after `now_s`: what times of `warm` count from. None counts from `now_s`."""
    placement: Placement | None = None
    """The one in force."""
    overrides: Many[Override] = ()
    recent: Many[SlotArrivals] = ()
    """As in `SlotInput`."""
    forecast: Forecast | None = None
    notes: Many[Note] = ()
    """Of operators, for a time that touches the epoch's."""
    goal: Goal | None = None
    """The one in force; its weights stand in `settings`."""


class EpochDecision(Message):
    """What a planner returns."""

    plan: EpochPlan | None
    """None leaves the one in force."""
    steps: Many[Step]
    reasons: Many[Reason]


class Dialogue(Message):
    """All of a dialogue that is needed to hold it again: what was known, asked and answered."""

    id: Name
    """`<agent>-<slot or epoch>-<number>`."""
    asked: SlotInput | EpochInput
    """What was known when it was asked."""
    settings: DialogueSettings
    prompt: Name
    """Id and version of the prompt's text."""
    cases: Many[Case]
    """Retrieved cases in full, as the prompt showed them; empty for the slot agent."""
    shown: Many[CaseShown]
    exchanges: Many[Exchange]
    judgements: Many[Judgement]
    mode: ModeName
    """As it stood when the proposal was ready."""
    approval: Approval | None
    in_time: bool
    held_back: Text = ""
    """Why the watchdog lets nothing act now; empty where it does not hold."""
    unused: PlanDraft | Guide | None = None
    """What passed all gates and does not act: by its mode, a person or their plan, the watchdog or the time; None where
    there is none. What is to act and then fits the cluster no more stands in the decision's input alone."""


DecisionKind = Literal["epoch", "slot", "event", "advice"]


class DecisionRecord(Message):
    """A line of the journal."""

    id: Name
    """`epoch-<plan generation>`, `slot-<placement generation>`, `slot-table-<table generation>`, `epoch-advice-<…>`."""
    agent: AgentName
    kind: DecisionKind
    made_at_s: Instant
    took_s: Seconds
    """Wall time; not part of what is compared at a replay."""
    source: Source
    version: Text
    """Of Fairlead."""
    input: SlotInput | EpochInput
    output: SlotDecision | EpochDecision
    dialogue: Dialogue | None = None
    """Where a language model was asked for this decision."""


class DecisionSummary(Message):
    """A line of the journal without its input and output: what listings carry."""

    id: Name
    agent: AgentName
    kind: DecisionKind
    number: Count
    """Of the slot or epoch, counted from the clock's origin."""
    made_at_s: Instant
    took_s: Seconds
    source: Source
    version: Text
    plan: Generation
    """Generation that the decision published; 0 if it published none. So too the next two."""
    placement: Generation
    table: Generation
    steps: Many[Step]
    asks: Count = 0
    """Questions to a language model for it."""
    about: Count | None = None
    """Slot or epoch that these were about: with one that was late the one before; None without a dialogue."""


class Replayed(Message):
    """What came of executing a journaled decision again."""

    id: Name
    identical: bool
    difference: Annotated[str, Field(max_length=4096)]
    """The first line that differs, recorded then replayed; empty when identical."""


class GenerationSeen(Message):
    """Generations in force."""

    plan: Generation
    placement: Generation
    table: Generation
