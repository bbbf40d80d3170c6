"""What befalls the nodes in a scenario of CONTROL §5, and what operators order because they know of it."""

from collections.abc import Callable
from dataclasses import dataclass

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.plans import Override
from fairlead.twin.calendar import Mishap, NodeBack, NodeLost, SpeedTurned
from fairlead.twin.streams import stream

LOST_AFTER_S, LOST_FOR_S = 1200.0, 900.0
"""`node-loss`: a random node dies 20 min after warm-up and is back, empty, 15 min later (CONTROL §5)."""

SLOW_AFTER_S, SLOW_UNTIL_S, SLOW_SHARE = 1200.0, 3000.0, 0.5
"""`slow-node`: half speed from minute 20 to 50 after warm-up, of a random node (CONTROL §5)."""

LEAVES_AFTER_S, LEAVES_FOR_S = 1200.0, 900.0
"""`maintenance`: own choice, the instants of `node-loss`, so that the two show what knowing is worth."""

NOTICE_S = 120.0
"""`maintenance`: so long before, operators ban all models from the node. Own choice: the longest start and a drain."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong in a run."""

    mishaps: tuple[tuple[float, Mishap], ...] = ()
    """Instant and what befalls a node then; whoever decides is not told."""
    overrides: tuple[Override, ...] = ()
    """What operators order, each from `created_at_s` on."""


Troubles = Callable[[Cluster, int, float], Trouble]
"""Cluster, seed, and when the warm-up ends; equal ones give equal trouble."""


def none(shape: Cluster, seed: int, warm_up_s: float) -> Trouble:
    """Return that nothing goes wrong."""
    return Trouble()


def node_loss(shape: Cluster, seed: int, warm_up_s: float) -> Trouble:
    """Return that a node dies and comes back empty."""
    node, at_s = _drawn(shape, seed, "node-loss"), warm_up_s + LOST_AFTER_S
    return Trouble(((at_s, NodeLost(node)), (at_s + LOST_FOR_S, NodeBack(node))))


def slow_node(shape: Cluster, seed: int, warm_up_s: float) -> Trouble:
    """Return that a node is slow for a while."""
    node = _drawn(shape, seed, "slow-node")
    speed = next(one.speed for one in shape.nodes if one.id == node)
    slow, whole = SpeedTurned(node, SLOW_SHARE * speed), SpeedTurned(node, speed)
    return Trouble(((warm_up_s + SLOW_AFTER_S, slow), (warm_up_s + SLOW_UNTIL_S, whole)))


def maintenance(shape: Cluster, seed: int, warm_up_s: float) -> Trouble:
    """Return that a node leaves and comes back, and that operators keep it free from shortly before until then."""
    node, at_s = _drawn(shape, seed, "node-loss"), warm_up_s + LEAVES_AFTER_S
    back_s = at_s + LEAVES_FOR_S
    bans = tuple(
        Override(
            id=f"maintenance-{model.id}",
            node=node,
            model=model.id,
            action="ban",
            created_at_s=at_s - NOTICE_S,
            expires_at_s=back_s,
            by="scenario",
            why="the node leaves",
        )
        for model in shape.models
    )
    return Trouble(((at_s, NodeLost(node)), (back_s, NodeBack(node))), bans)


def _drawn(shape: Cluster, seed: int, purpose: str) -> str:
    return shape.nodes[int(stream(seed, purpose).integers(len(shape.nodes)))].id
