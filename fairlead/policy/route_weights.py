"""A row of a routing table as the integer weights of a cluster's own gateway, such as an `HTTPRoute` of Gateway API.

Such a gateway draws by weight alone: it knows no queue and holds no request. So a pod that is not ready yet weighs
nothing there, whatever the table gives it; our own gateway lets requests wait in its queue.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fairlead.contracts.plans import Share

WHOLE = 10_000
"""What the weights of a row sum to: a hundredth of a percent, well below the 1 % that is promised, and far below the
million that Gateway API lets one weight be (`HTTPBackendRef.weight`, v1)."""

BACKENDS_MOST = 16
"""Backends that Gateway API lets one rule of an `HTTPRoute` have (`HTTPRouteRule.backendRefs`, v1)."""

KEPT_ONE_IN = 200
"""The part of a row by which a node's share may have changed while the weights stay: half a percent, with the rounding
of `WHOLE` less than the 1 % that is promised. A slot that changes nothing much costs the API server nothing."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """A row as weights."""

    weights: Mapping[str, int]
    """Of each node, sorted; they sum to `WHOLE`. A node of the row that may have nothing now is there with 0."""
    left_out: float
    """Probability of the nodes for which there was no room, before the rest was scaled up."""


def weigh(shares: Sequence[Share], ready: Collection[str]) -> Weighed:
    """Return the weights of a row: none for pods that are not `ready`, unless none of the row is.

    The split among the others is the row's to within 1 / `WHOLE` (largest remainders, which is Hamilton's method of
    apportionment). What is 0 stays 0. Of more nodes than a rule can have those with the largest probability are kept.
    """
    open_ = {s.node: s.probability for s in shares if s.node in ready and s.probability > 0.0}
    if not open_:
        open_ = {s.node: s.probability for s in shares if s.probability > 0.0}
    kept = sorted(shares, key=lambda s: (-open_.get(s.node, 0.0), s.node))[:BACKENDS_MOST]
    total, asked = sum(open_.values()), sum(open_.get(s.node, 0.0) for s in kept)
    given = _apportioned({s.node: open_.get(s.node, 0.0) / asked for s in kept})
    return Weighed(dict(sorted(given.items())), max(0.0, 1.0 - asked / total))


def _apportioned(shares: dict[str, float]) -> dict[str, int]:
    """Return integers that sum to `WHOLE`, each less than 1 from its share of it, 0 for 0."""
    given = {node: int(share * WHOLE) for node, share in shares.items()}
    missing = WHOLE - sum(given.values())
    largest = sorted((n for n in shares if shares[n] > 0.0), key=lambda n: (given[n] - shares[n] * WHOLE, n))
    for node in largest[:missing]:
        given[node] += 1
    return given


def alike(old: Mapping[str, float], new: Mapping[str, float]) -> bool:
    """Return whether two splits by node are near enough to let the old one stand: same nodes, same zeros, same parts.

    Each may sum to whatever it likes: weights and probabilities are both splits.
    """
    before, after = sum(old.values()), sum(new.values())
    if before == 0 or after == 0 or old.keys() != new.keys():
        return False
    near = before * after * (1.0 + 1e-9) / KEPT_ONE_IN
    return all((old[n] == 0) == (new[n] == 0) and abs(old[n] * after - new[n] * before) <= near for n in old)
