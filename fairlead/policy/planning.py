"""When plans are due, and when a language model is asked about the next one."""

from dataclasses import dataclass
from math import ceil

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.dialogue import ModeName
from fairlead.contracts.plans import EpochPlan
from fairlead.contracts.settings import Settings
from fairlead.policy.periods import Periods

DEADLINE_MOST = 0.9
"""Share of an epoch that a dialogue about it may take, however long the planner's deadline is: the same bound as that
of a slot's (`llm.slot_deadline_ratio`)."""


@dataclass(frozen=True, slots=True)
class Agenda:
    """Epochs, and inside them the instants at which the planner's question stands behind the slot agent's."""

    epochs: Periods
    slots: Periods
    share: float
    """Of a slot, after which the slot agent's question of that slot is answered."""
    deadline_slots: float
    """How long the answers of a dialogue may take together."""
    gate_slots: float = 0.0
    """How long the twin may take to judge, after that."""

    @property
    def deadline_for_s(self) -> float:
        """Return how long a dialogue may take, domain seconds."""
        return self.deadline_slots * self.slots.length_s

    def ahead_at_s(self, epoch: int) -> float:
        """Return when to ask about an epoch: after a slot's question, and judged not later than its begin."""
        first = round((self.epochs.begins_at_s(epoch) - self.slots.origin_s) / self.slots.length_s)
        slot = first - ceil(self.share + self.deadline_slots + self.gate_slots)
        return self.slots.begins_at_s(slot) + self.share * self.slots.length_s

    def beside_at_s(self, now_s: float) -> float:
        """Return when to ask about the running epoch, now or later: after the question of the slot that is now."""
        return max(now_s, self.slots.begins_at_s(self.slots.at(now_s)) + self.share * self.slots.length_s)

    def fits(self, asked_at_s: float, until_s: float) -> bool:
        """Tell whether a dialogue that begins then has all its time until `until_s`."""
        return asked_at_s + self.deadline_for_s + self.gate_slots * self.slots.length_s <= until_s


def agenda(settings: Settings) -> Agenda:
    """Return the planner's times by the settings."""
    controller, llm = settings.controller, settings.llm
    return Agenda(
        epochs=Periods(settings.clock_origin_s, controller.epoch_slots * controller.slot_s),
        slots=Periods(settings.clock_origin_s, controller.slot_s),
        share=llm.slot_deadline_ratio,
        deadline_slots=min(llm.planner_deadline_slots, DEADLINE_MOST * controller.epoch_slots),
        gate_slots=llm.gate_deadline_slots,
    )


def due_at(plan: EpochPlan | None, cluster: Cluster, now_s: float, epochs: Periods, mode: ModeName) -> float:
    """Return when a plan has to be made, with `plan` in force: `now_s` if at once.

    At once also if `plan` is not about the nodes that there are now, or a language model's that may no longer act; but
    an operator's stays until it expires. A plan for an epoch that has not come yet was made with another origin of the
    clock, and does not count.
    """
    epoch = epochs.at(now_s)
    if plan is None or plan.expires_at_s <= now_s or plan.epoch > epoch:
        return now_s
    if plan.source == "operator":
        return plan.expires_at_s
    if plan.epoch < epoch or {i.node for i in plan.intents} != {n.id for n in cluster.nodes}:
        return now_s
    if plan.source == "llm" and mode not in ("auto", "assist"):
        return now_s
    return epochs.begins_at_s(epoch + 1)
