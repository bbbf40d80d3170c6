"""Small valid messages for the tests of stores and of the control API."""

from typing import Any

from fairlead.contracts.cases import Case, CaseFeatures, ModelFeatures, Provenance, Realised
from fairlead.contracts.cluster import Cluster, Launch, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.decisions import (
    DecisionRecord,
    EpochDecision,
    EpochInput,
    SlotDecision,
    SlotInput,
    SlotState,
    Snapshot,
    Step,
)
from fairlead.contracts.dialogue import AgentStatus, Approval, EndpointStatus, Proposal
from fairlead.contracts.events import TokenRecord
from fairlead.contracts.plans import EpochPlan, NodePlacement, Override, Placement, RoutingTable, Row, Share
from fairlead.contracts.readings import Choice, GatewayReport, ModelCount, NodeReport, Outcome
from fairlead.contracts.resources import RouteBackend, RouteState
from fairlead.contracts.tuning import PolicySettings

GB = 10**9
EMPTY = Snapshot(taken_at_s=1.0, nodes=(), models=(), stale=())


def node(name: str = "node-1", memory_bytes: int = 8 * GB, **more: Any) -> NodeSpec:
    """Return a node."""
    return NodeSpec(id=name, memory_bytes=memory_bytes, speed=1.0, keeper_url="http://127.0.0.1:9001", **more)


def model(name: str = "text", memory_bytes: int = GB, **more: Any) -> ModelSpec:
    """Return a model of kind text."""
    launch = Launch(launcher="exec", command=("serve", "{port}"))
    return ModelSpec(
        id=name, kind="text", memory_bytes=memory_bytes, work_s=2.0, start_delay_s=10.0, launch=launch, **more
    )


def site(name: str = "site-1", node: str | None = None) -> SiteSpec:
    """Return a site."""
    return SiteSpec(id=name, node=node, url="http://127.0.0.1:9002")


def cluster() -> Cluster:
    """Return two nodes, two models and a site."""
    return Cluster(
        nodes=(node("node-1"), node("node-2", 4 * GB)), models=(model("image", 5 * GB), model()), sites=(site(),)
    )


def node_report(sequence: int = 1, name: str = "node-1", instance: str = "a", **more: Any) -> NodeReport:
    """Return what an agent says; started and stopped count with the sequence unless given."""
    values: dict[str, Any] = {
        "observed_at_s": 1000.0 + sequence,
        "starts": sequence,
        "stops": 0,
        "pods": (),
        **more,
    }
    return NodeReport(
        node=name,
        instance=instance,
        sequence=sequence,
        memory_bytes=8 * GB,
        memory_used_bytes=0,
        placement_generation=0,
        overruns=0,
        forced_losses=0,
        **values,
    )


def outcome(request: str = "r1", ended_at_s: float = 1001.0, **more: Any) -> Outcome:
    """Return a request that finished."""
    values: dict[str, Any] = {"model": "text", "status": "finished", "arrived_at_s": 1000.0, **more}
    return Outcome(
        request=request,
        attempts=1,
        site="site-1",
        node="node-1",
        reason="",
        ended_at_s=ended_at_s,
        wait_s=0.0,
        service_s=1.0,
        response_bytes=10,
        table_generation=1,
        propensity=1.0,
        **values,
    )


def gateway_report(
    sequence: int = 1,
    name: str = "site-1",
    instance: str = "a",
    arrived: int = 0,
    outcomes: tuple[Outcome, ...] = (),
    observed_at_s: float | None = None,
) -> GatewayReport:
    """Return what an ingress says."""
    count = ModelCount(model="text", arrived=arrived, held=0, oldest_held_s=0.0, asked_at_s=None)
    sample = Choice(
        request=f"s{sequence}",
        at_s=1.0,
        model="text",
        node="node-1",
        table_generation=1,
        propensity=1.0,
        explored=False,
        prices_s=(),
    )
    return GatewayReport(
        gateway=name,
        instance=instance,
        sequence=sequence,
        observed_at_s=1000.0 + sequence if observed_at_s is None else observed_at_s,
        site="site-1",
        models=(count,),
        choices=(),
        samples=(sample,),
        outcomes=outcomes,
        keeper=None,
        table_generation=0,
    )


def plan(generation: int = 1, parent: int | None = None) -> EpochPlan:
    """Return a neutral plan."""
    return EpochPlan(
        generation=generation,
        parent=generation - 1 if parent is None else parent,
        epoch=generation,
        created_at_s=1000.0,
        expires_at_s=1300.0,
        source="fallback",
        intents=(),
        priorities=(),
        warm=(),
        why="neutral",
    )


def placement(generation: int = 1, plan_generation: int = 0) -> Placement:
    """Return a placement of the text model."""
    return Placement(
        generation=generation,
        plan_generation=plan_generation,
        slot=generation,
        created_at_s=1000.0 + generation,
        expires_at_s=1060.0 + generation,
        decision=f"slot-{generation}",
        nodes=(NodePlacement(node="node-1", awake=("text",), stoppable=()),),
    )


def table(generation: int = 1, placement_generation: int | None = None) -> RoutingTable:
    """Return a table with one row."""
    row = Row(
        zone="*",
        model="text",
        rule="marginal",
        prior_weight_s=0.0,
        explore=0.0,
        shares=(Share(node="node-1", probability=1.0),),
    )
    return RoutingTable(
        generation=generation,
        placement_generation=generation if placement_generation is None else placement_generation,
        plan_generation=0,
        slot=generation,
        created_at_s=1000.0 + generation,
        expires_at_s=1060.0 + generation,
        decision=f"slot-{generation}",
        source="fallback",
        rows=(row,),
        work=(),
        speeds=(),
    )


STEPS = (
    Step(name="absent", ok=False, code="no-llm", text="no language model is configured"),
    Step(name="fallback", ok=True, code="ok", text=""),
)


def slot_record(number: int = 1, *, published: bool = True) -> DecisionRecord:
    """Return a line of the journal for the slot of that number."""
    state = SlotState(slot=number, rates=(), rotation=0)
    given = SlotInput(
        trigger="slot",
        slot=number,
        now_s=1000.0 + number,
        seed=7,
        policy="marginal-dpp",
        settings=PolicySettings(),
        cluster=cluster(),
        snapshot=EMPTY,
        state=state,
        plan=None,
        placement=None,
        overrides=(),
        static=(),
        next_placement=number,
        next_table=number,
        decision=f"slot-{number}",
    )
    output = SlotDecision(
        placement=placement(number) if published else None,
        table=table(number) if published else None,
        state=state,
        steps=STEPS,
        reasons=(),
        prices=(),
    )
    return DecisionRecord(
        id=f"slot-{number}",
        agent="slot-agent",
        kind="slot",
        made_at_s=1000.0 + number,
        took_s=0.01,
        source="fallback",
        version="0",
        input=given,
        output=output,
    )


def epoch_record(number: int = 1, *, published: bool = True) -> DecisionRecord:
    """Return a line of the journal for the plan of that generation."""
    given = EpochInput(
        epoch=number,
        now_s=1000.0,
        seed=7,
        settings=PolicySettings(),
        cluster=cluster(),
        snapshot=EMPTY,
        parent=None,
        next_plan=number,
        decision=f"epoch-{number}",
    )
    return DecisionRecord(
        id=f"epoch-{number}",
        agent="planner",
        kind="epoch",
        made_at_s=1000.0 + number,
        took_s=0.01,
        source="fallback",
        version="0",
        input=given,
        output=EpochDecision(plan=plan(number) if published else None, steps=STEPS, reasons=()),
    )


def override(name: str = "o1") -> Override:
    """Return a pin."""
    return Override(
        id=name,
        node="node-1",
        model="text",
        action="pin",
        created_at_s=1000.0,
        expires_at_s=None,
        by="ann",
        why="demo",
    )


def token(name: str = "t1", digit: str = "a") -> TokenRecord:
    """Return a token's record."""
    return TokenRecord(id=name, role="viewer", sha256=digit * 64, note="", created_at_s=1000.0)


def proposal(name: str = "p1", created_at_s: float = 1000.0, **more: Any) -> Proposal:
    """Return a proposal for a slot that ends 30 s later."""
    return Proposal(
        id=name,
        agent="slot-agent",
        created_at_s=created_at_s,
        expires_at_s=created_at_s + 30.0,
        content='{"rows":[]}',
        why="less waiting on node-2",
        changes=("text: node-1 0.5 → 0.7",),
        **more,
    )


def approval(answer: Any = "approved", at_s: float = 1010.0) -> Approval:
    """Return what Ann says of a proposal."""
    return Approval(answer=answer, by="ann", at_s=at_s)


def status(agent: Any = "planner", at_s: float = 1000.0) -> AgentStatus:
    """Return what an agent with one endpoint says of itself."""
    endpoint = EndpointStatus(
        url="http://127.0.0.1:9003/v1", model="small", style="schema", breaker="closed", last_code="ok"
    )
    return AgentStatus(
        agent=agent,
        mode="auto",
        at_s=at_s,
        llm="http://127.0.0.1:9003/v1",
        endpoints=(endpoint,),
        asks=3,
        dialogues=2,
        accepted=1,
        fallbacks=1,
        prompt_tokens=900,
        reply_tokens=120,
        money=0.25,
        seconds=1.5,
        acting="fallback",
        why="late",
    )


def route_state(left_out: float = 0.0) -> RouteState:
    """Return a route that the cluster's gateway has rejected."""
    return RouteState(
        route="fairlead-text",
        model="text",
        zone="*",
        table_generation=7,
        backends=(RouteBackend(node="node-1", weight=2500), RouteBackend(node="node-2", weight=7500)),
        left_out=left_out,
        stage="rejected",
        reason="NotAllowed",
        since_at_s=12.5,
    )


def case(
    name: str = "c1",
    began_at_s: float = 1000.0,
    objective: float = 0.5,
    cluster: str = "d1",
    busiest: tuple[str, ...] = ("text", "image"),
    **more: Any,
) -> Case:
    """Return a remembered epoch of a neutral plan; the first of `busiest` had most requests."""
    models = tuple(
        ModelFeatures(
            model=model, log_rate=-float(n), trend=0.0, dispersion=1.0, backlog_s=0.0, price_s=0.0, slowdown=1.0
        )
        for n, model in enumerate(busiest)
    )
    realised = Realised(
        objective=objective, latency_s=4.0, fairness=0.99, service=1.0, churn=2, arrived=300, finished=300
    )
    return Case(
        id=name,
        epoch=int(began_at_s),
        began_at_s=began_at_s,
        ended_at_s=began_at_s + 300.0,
        features=CaseFeatures(models=models, nodes=(), failures=0, day_ratio=0.5),
        plan_generation=1,
        intents=(),
        priorities=(),
        warm=(),
        rates=(),
        realised=realised,
        provenance=Provenance(
            cluster=cluster, source="fallback", policy="marginal-dpp", llm="", decision="epoch-1", version="0", seed=7
        ),
        **more,
    )
