"""The simplest decider that has the shape of a policy: what is held is started, what is awake stays."""

from fairlead.contracts.decisions import SlotDecision, SlotInput, SlotState, Step
from fairlead.contracts.plans import NodePlacement, Placement, RoutingTable, Row, Share


def keep_and_start(given: SlotInput) -> SlotDecision:
    """Start each model that is held or missing on the first node that is up and has room."""
    size = {m.id: m.memory_bytes for m in given.cluster.models}
    room = {n.id: n.memory_bytes for n in given.cluster.nodes}
    before = {n.node: set(n.awake) for n in given.placement.nodes} if given.placement is not None else {}
    awake = {
        n.node: {p.model for p in n.pods} | (before.get(n.node, set()) if n.up else set()) for n in given.snapshot.nodes
    }
    for model in given.snapshot.models:
        if model.held and not any(model.model in models for models in awake.values()):
            for node in given.snapshot.nodes:
                used = sum(size[m] for m in awake[node.node])
                if node.up and used + size[model.model] <= room[node.node]:
                    awake[node.node].add(model.model)
                    break
    slot = given.trigger == "slot"
    state = _counted(given) if slot else given.state
    if not slot and awake == {n: before.get(n, set()) for n in awake}:
        return SlotDecision(placement=None, table=None, state=state, steps=(), reasons=(), prices=())
    placement = Placement(
        generation=given.next_placement,
        plan_generation=given.plan.generation if given.plan is not None else 0,
        slot=given.slot,
        created_at_s=given.now_s,
        expires_at_s=given.now_s + 60.0,
        decision=given.decision,
        nodes=tuple(NodePlacement(node=n, awake=tuple(sorted(m)), stoppable=()) for n, m in sorted(awake.items())),
    )
    steps = (
        Step(name="absent", ok=False, code="no-llm", text=""),
        Step(name="fallback", ok=True, code="ok", text=""),
    )
    return SlotDecision(
        placement=placement,
        table=table_of(given, placement.generation),
        state=state,
        steps=steps,
        reasons=(),
        prices=(),
    )


def _counted(given: SlotInput) -> SlotState:
    return SlotState(slot=given.slot, rates=given.state.rates, rotation=given.state.rotation + 1)


def table_of(given: SlotInput, placement: int) -> RoutingTable:
    """Return a table with a row for each model that has pods, all shares equal."""
    rows = []
    for model in given.cluster.models:
        holders = [n.node for n in given.snapshot.nodes for p in n.pods if p.model == model.id]
        if holders:
            shares = tuple(Share(node=h, probability=1.0 / len(holders)) for h in holders)
            rows.append(Row(zone="*", model=model.id, rule="marginal", prior_weight_s=0.0, explore=0.0, shares=shares))
    return RoutingTable(
        generation=given.next_table,
        placement_generation=placement,
        plan_generation=given.plan.generation if given.plan is not None else 0,
        slot=given.slot,
        created_at_s=given.now_s,
        expires_at_s=given.now_s + 60.0,
        decision=given.decision,
        source="fallback",
        rows=tuple(rows),
        work=(),
        speeds=(),
    )
