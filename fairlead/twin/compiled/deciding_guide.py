"""Rows that a language model proposed, compiled: `policy.guiding`, of rows that hold for all zones."""

from fairlead.contracts.plans import ROW_TOLERANCE
from fairlead.twin.compiled.board import MARGINAL_DPP
from fairlead.twin.compiled.desk import desk, models, pods
from fairlead.twin.compiled.native import native


@native
def follow_guide(b: int) -> None:
    """Put the rows that were proposed for this slot in place of the policy's, where they still fit and are near."""
    if desk(b).policy != MARGINAL_DPP or desk(b).guided_slot != desk(b).slot:
        return
    for m in range(desk(b).model):
        if models(b, m).guided and fits(b, m) and far(b, m) <= desk(b).trust_tv + ROW_TOLERANCE:
            models(b, m).prior_s = desk(b).guide_prior_weight_s
            for n in range(desk(b).node):
                if pods(b, n, m).named:
                    pods(b, n, m).chance = pods(b, n, m).fitted


@native
def fits(b: int, m: int) -> bool:
    """Make the proposed row one over the pods of the policy's; False if it names none of them.

    A pod that it does not know joins with its smallest P.
    """
    total, some = 0.0, False
    for n in range(desk(b).node):
        pod = pods(b, n, m)
        if pod.named:
            some = some or pod.proposed > 0.0
            pod.fitted = pod.proposed if pod.proposed >= 0.0 else models(b, m).joins
            total += pod.fitted
    for n in range(desk(b).node):
        if some and pods(b, n, m).named:
            pods(b, n, m).fitted = min(1.0, pods(b, n, m).fitted / total)
    return some


@native
def far(b: int, m: int) -> float:
    """Return the total variation between the row that was made to fit and the policy's."""
    found = 0.0
    for n in range(desk(b).node):
        if pods(b, n, m).named:
            found += abs(pods(b, n, m).fitted - pods(b, n, m).chance)
    return found / 2.0
