"""Case memory, what a case is judged by: requests as they came, and which cases the twin is still to judge."""

from collections.abc import Sequence

from fairlead.contracts.cases import Case
from fairlead.contracts.evidence import Call
from fairlead.contracts.readings import Outcome
from fairlead.policy.cases import SlotSeen
from fairlead.policy.cases_kernel import decision_marks


def calls_of(
    outcomes: Sequence[Outcome], slots: Sequence[SlotSeen], sites: Sequence[str], slot_s: float, until_s: float
) -> tuple[Call, ...]:
    """Return the requests that arrived before `until_s`, in order of time, but for those that were cancelled.

    `slots` counted what arrived since the slot before. Where that is more than there are outcomes, requests are still
    open: they are spread evenly over the slot and in turn over the sites.
    """
    calls = [Call(at_s=o.arrived_at_s, site=o.site, model=o.model) for o in outcomes if o.status != "cancelled"]
    for seen in slots:
        since_s, length_s = seen.taken_at_s - seen.spans * slot_s, seen.spans * slot_s
        ended = [o.model for o in outcomes if since_s <= o.arrived_at_s < seen.taken_at_s]
        for model, counted in sorted(seen.arrived.items()) if seen.spans and sites else ():
            left = counted - ended.count(model)
            calls += [
                Call(at_s=since_s + length_s * (k + 0.5) / left, site=sites[k % len(sites)], model=model)
                for k in range(left)
            ]
    return tuple(sorted((c for c in calls if c.at_s < until_s), key=lambda c: (c.at_s, c.site, c.model)))


def says_something(case: Case) -> bool:
    """Tell whether a case's plan is any other than the neutral one: only then has it an advantage to be known."""
    return len(decision_marks(case)) > 0


def owed(case: Case, version: str) -> bool:
    """Tell whether the twin of this version is still to judge a case; what was imported it cannot."""
    if case.provenance.imported or not says_something(case):
        return False
    return case.advantage is None or not case.advantage.twin.endswith(f" {version}")
