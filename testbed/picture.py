"""What a local cluster looks like at a moment: nodes with their pods and queues, demand, the last decisions."""

from dataclasses import dataclass

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import DecisionSummary
from fairlead.contracts.dialogue import AgentName, AgentStatus, ModeName
from fairlead.contracts.plans import EpochPlan
from fairlead.contracts.ports import Store
from fairlead.contracts.readings import GatewayReport, NodeReport, Phase
from testbed.client_tail import Lately

DECISIONS_SHOWN = 6

NO_LLM = "none"
"""What an agent says of its language model where it has none (`AgentStatus.llm`)."""


@dataclass(frozen=True, slots=True)
class PodPicture:
    """A pod."""

    model: str
    phase: Phase
    waiting: int
    running: int


@dataclass(frozen=True, slots=True)
class NodePicture:
    """A node."""

    node: str
    role: str
    """What the plan wants of it."""
    speed: float
    memory_used: float
    """Share of its memory that pods claim."""
    age_s: float | None
    """Of its agent's newest report, domain seconds; None if there is none."""
    work_s: float
    """Queued and running, in seconds of the node."""
    pods: tuple[PodPicture, ...]


@dataclass(frozen=True, slots=True)
class AgentPicture:
    """An agent that has a language model, and what came of asking it since its process began."""

    agent: AgentName
    mode: ModeName
    acting: str
    why: str
    """Why the fallback acts; empty while it does not."""
    last: str
    """How each endpoint that was asked answered last."""
    asks: int
    dialogues: int
    accepted: int
    fallbacks: int
    tokens: int
    """Of prompts and replies."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything at once."""

    at_s: float
    """Domain seconds since the demand began."""
    wall_s: float
    nodes: tuple[NodePicture, ...]
    held: int
    """Requests that no pod has."""
    clients: Lately
    decisions: tuple[DecisionSummary, ...]
    slot: int
    restarts: int
    agents: tuple[AgentPicture, ...] = ()
    """Empty where no language model is configured."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a picture is taken, and what only the run's own process knows."""

    now_s: float
    start_at_s: float
    wall_s: float
    slot: int
    restarts: int


async def take(store: Store, cluster: Cluster, clients: Lately, moment: Moment) -> Picture:
    """Return the picture of a moment."""
    nodes = {r.node: r for r in await store.latest_node_reports()}
    gateways = await store.latest_gateway_reports()
    decisions = await store.decision_summaries(agent=None, limit=DECISIONS_SHOWN, cursor=None)
    plan = await store.current_plan()
    return Picture(
        at_s=max(0.0, moment.now_s - moment.start_at_s),
        wall_s=moment.wall_s,
        nodes=tuple(_node(one.id, one.speed, nodes.get(one.id), gateways, plan, moment.now_s) for one in cluster.nodes),
        held=sum(model.held for report in gateways for model in report.models),
        clients=clients,
        decisions=decisions.items,
        slot=moment.slot,
        restarts=moment.restarts,
        agents=tuple([await _agent(store, status) for status in await store.agent_statuses() if status.llm != NO_LLM]),
    )


async def _agent(store: Store, status: AgentStatus) -> AgentPicture:
    """Return an agent in the mode of now, which may be another than that of its last dialogue."""
    return AgentPicture(
        agent=status.agent,
        mode=(await store.mode(status.agent)).mode,
        acting=status.acting,
        why=status.why,
        last=", ".join(one.last_code for one in status.endpoints if one.last_code is not None) or "-",
        asks=status.asks,
        dialogues=status.dialogues,
        accepted=status.accepted,
        fallbacks=status.fallbacks,
        tokens=status.prompt_tokens + status.reply_tokens,
    )


def _node(
    node: str,
    speed: float,
    report: NodeReport | None,
    gateways: tuple[GatewayReport, ...],
    plan: EpochPlan | None,
    now_s: float,
) -> NodePicture:
    keeper = next((r.keeper for r in gateways if r.keeper is not None and r.keeper.node == node), None)
    loads = {pod.model: pod for pod in keeper.pods} if keeper is not None else {}
    role = next((i.role for i in plan.intents if i.node == node), "-") if plan is not None else "-"
    if report is None:
        return NodePicture(node, role, speed, 0.0, None, 0.0, ())
    pods = []
    for pod in report.pods:
        if pod.phase == "off":
            continue
        load = loads.get(pod.model)
        running = load.running if load is not None else 0
        pods.append(PodPicture(pod.model, pod.phase, (load.count - running) if load is not None else 0, running))
    work_s = sum(load.work_s for load in loads.values()) / (keeper.speed if keeper is not None else 1.0)
    used = report.memory_used_bytes / report.memory_bytes if report.memory_bytes else 0.0
    return NodePicture(node, role, speed, used, max(0.0, now_s - report.observed_at_s), work_s, tuple(pods))


def line(picture: Picture) -> str:
    """Return a picture in one line, for a log."""
    clients = picture.clients
    mean = "-" if clients.mean_s is None else f"{clients.mean_s:.1f} s"
    pods = [pod for node in picture.nodes for pod in node.pods]
    ready = sum(pod.phase == "ready" for pod in pods)
    last = picture.decisions[0] if picture.decisions else None
    decided = f"{last.id} by {last.source}" if last is not None else "none"
    return (
        f"{picture.wall_s:.0f} s ({picture.at_s / 60:.1f} min simulated): {clients.arrived} arrived, "
        f"{clients.finished} finished, {clients.failed} failed, {clients.open} open, {picture.held} held; "
        f"last 10 min: mean {mean}, fairness {clients.x1:.3f}; {ready} of {len(pods)} pods ready; "
        f"last decision {decided}" + "".join(f"; {words_of(agent)}" for agent in picture.agents)
    )


def words_of(agent: AgentPicture) -> str:
    """Return an agent in a few words: mode, what came of its dialogues, tokens."""
    shares = f", {agent.accepted} accepted, {agent.fallbacks} on the fallback" if agent.dialogues else ""
    return f"{agent.agent} {agent.mode}: {agent.dialogues} dialogues{shares}, {agent.tokens} tokens"
