"""Plans, placements, tables and the journal in memory."""

from collections.abc import Callable
from typing import TypeVar

from fairlead.adapters import store_rules as rules
from fairlead.adapters.memory_pages import newest_first, page
from fairlead.contracts.decisions import DecisionRecord, GenerationSeen
from fairlead.contracts.errors import Conflict, NotFound, foreign
from fairlead.contracts.events import EventKind
from fairlead.contracts.hindsight import PlanWorth
from fairlead.contracts.plans import EpochPlan, Placement, RoutingTable
from fairlead.contracts.ports import Page

Generated = TypeVar("Generated", EpochPlan, Placement, RoutingTable)

Tell = Callable[[EventKind, str, str, float], None]
"""Is told kind, id, text and instant of what was published."""


class Published:
    """What is in force and what was."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.plans: list[EpochPlan] = []
        """All that were ever in force, oldest first; so too the next two."""
        self.placements: list[Placement] = []
        self.tables: list[RoutingTable] = []
        self.worths: dict[str, PlanWorth] = {}
        """What plans turned out to be worth, by their decision."""
        self._decisions: dict[str, DecisionRecord] = {}

    def generations(self) -> GenerationSeen:
        """Return the generations in force."""
        return GenerationSeen(
            plan=self.plans[-1].generation if self.plans else 0,
            placement=self.placements[-1].generation if self.placements else 0,
            table=self.tables[-1].generation if self.tables else 0,
        )

    def publish_epoch(self, plan: EpochPlan | None, record: DecisionRecord | None) -> None:
        """Put a plan in force, if there is one, and journal the decision, if one of ours made it."""
        if plan is not None:
            rules.check_plan(plan, self.generations())
        if record is not None:
            self._journal(record)
        if plan is not None:
            self.plans.append(plan)
            self._tell("plan", str(plan.generation), plan.source, plan.created_at_s)

    def publish_slot(self, placement: Placement | None, table: RoutingTable | None, record: DecisionRecord) -> None:
        """Put both in force and journal the decision."""
        rules.check_slot(placement, table, self.generations())
        self._journal(record)
        if placement is not None:
            self.placements.append(placement)
            self._tell("placement", str(placement.generation), placement.decision, placement.created_at_s)
        if table is not None:
            self.tables.append(table)
            self._tell("table", str(table.generation), table.decision, table.created_at_s)

    def _journal(self, record: DecisionRecord) -> None:
        if record.id in self._decisions:
            raise Conflict(f"decision {record.id!r} is journaled already")
        self._decisions[record.id] = record
        self._tell("decision", record.id, record.source, record.made_at_s)

    def put_worth(self, worth: PlanWorth) -> None:
        """Keep what a plan turned out to be worth, where its decision is journaled."""
        if worth.decision in self._decisions:
            self.worths[worth.decision] = worth

    def decision(self, decision: str) -> DecisionRecord:
        """Return a line of the journal."""
        if decision not in self._decisions:
            raise NotFound(f"there is no decision {foreign(decision)!r}")
        return self._decisions[decision]

    def decisions(self, agent: str | None, limit: int, cursor: str | None) -> Page[DecisionRecord]:
        """Return lines of the journal, newest first."""
        rows = [record for record in self._decisions.values() if agent is None or record.agent == agent]
        return newest_first(rows, limit, cursor, lambda record: (record.made_at_s, record.id))


def listed(messages: list[Generated], limit: int, cursor: str | None) -> Page[Generated]:
    """Return what was published, newest first."""
    rows = messages[::-1]
    if cursor is not None:
        after = rules.key_of(cursor, int)
        rows = [one for one in rows if (one.generation,) < after]
    return page(rows, limit, lambda one: one, lambda one: (one.generation,))
