"""Case memory in memory: remembered epochs, forgotten beyond their capacity."""

from collections.abc import Sequence

from fairlead.adapters import store_rules as rules
from fairlead.adapters.memory_pages import newest_first
from fairlead.contracts.cases import Case
from fairlead.contracts.errors import NotFound, foreign
from fairlead.contracts.evidence import Evidence, Label
from fairlead.contracts.ports import Page


class Cases:
    """Remembered epochs by id."""

    def __init__(self) -> None:
        self._cases: dict[str, Case] = {}
        self._evidence: dict[str, Evidence] = {}
        self._changes = 0
        self._stamps: dict[str, float] = {}
        """How many changes there had been when each was written, quarantined or released last."""

    def add(self, case: Case, capacity: int) -> None:
        """Keep a case, in place of one of its id, and forget what is beyond `capacity` for its cluster."""
        self._put(rules.kept(self._cases.get(case.id), case))
        cluster = case.provenance.cluster
        marks = [rules.mark_of(one) for one in self._cases.values() if one.provenance.cluster == cluster]
        for name in rules.forgettable(marks, capacity):
            self.delete(name)

    def _put(self, case: Case) -> None:
        self._cases[case.id] = case
        self._changes += 1
        self._stamps[case.id] = self._changes

    def one(self, case: str) -> Case:
        """Return a case; raises `NotFound`."""
        if case not in self._cases:
            raise NotFound(f"there is no case {foreign(case)!r}")
        return self._cases[case]

    def listed(self, cluster: str | None, limit: int, cursor: str | None) -> Page[Case]:
        """Return cases, those that began last first."""
        rows = [one for one in self._cases.values() if cluster is None or one.provenance.cluster == cluster]
        return newest_first(rows, limit, cursor, lambda one: (one.began_at_s, one.id))

    def some(self, cases: Sequence[str]) -> tuple[Case, ...]:
        """Return those of these that are there, in this order."""
        return tuple(self._cases[name] for name in cases if name in self._cases)

    def stamps(self, cluster: str) -> dict[str, float]:
        """Return the ids of a cluster's cases, those that began last first, each with what differs after a change."""
        ours = [one for one in self._cases.values() if one.provenance.cluster == cluster]
        newest = sorted(ours, key=lambda one: (one.began_at_s, one.id), reverse=True)
        return {one.id: self._stamps[one.id] for one in newest}

    def delete(self, case: str) -> None:
        """Forget a case; raises `NotFound`."""
        del self._cases[self.one(case).id], self._stamps[case]
        self._evidence.pop(case, None)

    def quarantine(self, cases: Sequence[str], why: str) -> None:
        """Have no model shown these, for a reason; an empty one releases them."""
        for name in set(cases) & self._cases.keys():
            update = {"quarantined": bool(why), "quarantine": why}
            self._put(self._cases[name].model_copy(update=update))

    def label(self, case: str, label: Label) -> Case:
        """Keep what the twin says of a case, and return it; raises `NotFound`."""
        self._put(rules.labelled(self.one(case), label))
        return self._cases[case]

    def put_evidence(self, evidence: Evidence) -> None:
        """Keep what a case can be judged by again; raises `NotFound`."""
        self._evidence[self.one(evidence.case).id] = evidence

    def evidence(self, case: str) -> Evidence:
        """Return what a case can be judged by; raises `NotFound`."""
        if self.one(case).id not in self._evidence:
            raise NotFound(f"nothing is kept by which case {foreign(case)!r} could be judged again")
        return self._evidence[case]

    def cite(self, cases: Sequence[str]) -> None:
        """Count that a reply has cited these."""
        for name in sorted(set(cases) & self._cases.keys()):
            case = self._cases[name]
            self._cases[name] = case.model_copy(update={"cited": case.cited + 1})
