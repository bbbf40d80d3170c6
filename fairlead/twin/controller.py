"""The slot agent in virtual time: it folds readings, decides by `policy.registry`, and remembers what it must."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import SlotDecision, SlotInput, SlotState, Snapshot
from fairlead.contracts.events import Wake
from fairlead.contracts.forecasts import Forecast, SlotArrivals
from fairlead.contracts.plans import EpochPlan, Guide, NodePlacement, Override, Placement
from fairlead.contracts.readings import GatewayReport, KeeperState, ModelCount, NodeReport, Phase, PodLoad
from fairlead.contracts.tuning import PolicyName, PolicySettings
from fairlead.policy.foreseeing import Foreseeing
from fairlead.policy.periods import Periods
from fairlead.policy.reconcile import reading_of
from fairlead.policy.registry import decide_slot
from fairlead.policy.snapshot import Shape, allowed_age_s, fold, shape_of, totals, with_wakes
from fairlead.policy.wakes import Wakes
from fairlead.twin.node import Reading
from fairlead.twin.site import SiteReading
from fairlead.twin.talking import Known, SnapshotSince, Talks

Sight = tuple[tuple[str, bool, tuple[tuple[str, Phase], ...]], ...]

Trigger = Literal["slot", "event", "advice"]

INSTANCE = "twin"
"""Of every reporter: none restarts without losing everything."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is decided by."""

    cluster: Cluster
    policy: PolicyName
    settings: PolicySettings
    seed: int
    static: tuple[NodePlacement, ...] = ()
    """The placement of policies that are given one."""
    overrides: tuple[Override, ...] = ()
    """What operators order, each from its `created_at_s` on."""
    origin_s: float = 0.0
    """Of the clock that slots are counted from."""


class Controller:
    """Makes the decisions of a run, one at a time."""

    def __init__(self, case: Case, talks: Talks | None = None, foreseeing: Foreseeing | None = None) -> None:
        """Begin at instant 0 with nothing in force; `talks` are those with a language model, if one is asked.

        Without `foreseeing` nothing is forecast.
        """
        self.placement: Placement | None = None
        self.decisions = 0
        self.decision: SlotDecision | None = None
        """The last that put something in force."""
        self.talks = talks
        self.plan: EpochPlan | None = None
        """In force where nobody talks with a language model; so too the guide."""
        self.guide: Guide | None = None
        self._foreseeing = foreseeing
        self._case = case
        self._wakes = Wakes(case.settings)
        self._slots = Periods(case.origin_s, case.settings.slot_s)
        self._state = SlotState(slot=0, rates=(), rotation=0)
        self._arrived: Mapping[str, int] = {}
        self._table = 0
        self._shape: Shape | None = None
        self._saw: Sight | None = None

    def told(self, wake: Wake, now_s: float) -> bool:
        """Take a wake; True if it asks for a decision now."""
        return self._wakes.add(wake, now_s)

    def decide(
        self,
        trigger: Trigger,
        now_s: float,
        nodes: Sequence[Reading],
        sites: Sequence[SiteReading],
        *,
        forced: bool = True,
    ) -> SlotDecision | None:
        """Return what is put in force now; None where nothing changes.

        An event that is not `forced` is decided only where a request is held, a model is missed, or a node or a pod is
        not as it was at the last decision.
        """
        if trigger == "event" and not forced:
            self._look(now_s, sites)
        sight = self._sight(now_s, nodes)
        if not (forced or trigger != "event" or self._asks(sites)) and sight == self._saw:
            return None  # as below, without the fold: what it would show is what it showed
        self._saw = sight
        gateways = _gateway_reports(nodes, sites)
        wakes = self._wakes.pending(now_s, gateways)
        since = self._folding(now_s, nodes, sites)
        snapshot = since(self._arrived)
        shape = shape_of(snapshot)
        if not (forced or wakes or trigger != "event" or shape != self._shape or any(m.held for m in snapshot.models)):
            return None
        self._shape = shape
        if self._foreseeing is not None:
            self._foreseeing.seen(snapshot)
            if trigger == "slot":
                self._foreseeing.slot_begins(self._slots.at(now_s), gateways)
        if trigger == "slot" and self.talks is not None:
            self.talks.slot_begins(now_s, self._known(now_s, since))
        given = self._given(trigger, now_s, with_wakes(snapshot, wakes))
        decision = decide_slot(given)
        if trigger == "slot":
            self._arrived = totals(snapshot, counted=True)
        self._keep(decision)
        if trigger == "slot" and self.talks is not None:
            self.talks.slot_decided(given, decision)
        self._wake(now_s)
        return decision

    def _look(self, now_s: float, sites: Sequence[SiteReading]) -> None:
        """Look whether demand has changed inside a slot."""
        if self._foreseeing is not None:
            self._foreseeing.look(now_s, _gateway_reports((), sites))
            self._wake(now_s)

    def _wake(self, now_s: float) -> None:
        """Have the planner asked early where something has changed."""
        if self._foreseeing is not None and self.talks is not None and self._foreseeing.cause(now_s) is not None:
            self.talks.wake(now_s)

    def attend(self, now_s: float, nodes: Sequence[Reading], sites: Sequence[SiteReading]) -> SlotDecision | None:
        """Do what is due in the talks with a language model; return what is put in force by that."""
        if self.talks is None:
            return None
        trigger = self.talks.attend(now_s, self._known(now_s, self._folding(now_s, nodes, sites)))
        return None if trigger is None else self.decide(trigger, now_s, nodes, sites)

    def _known(self, now_s: float, since: SnapshotSince) -> Known:
        return Known(since, self.placement, self._overrides(now_s))

    def _overrides(self, now_s: float) -> tuple[Override, ...]:
        return tuple(one for one in self._case.overrides if one.created_at_s <= now_s)

    def _folding(self, now_s: float, nodes: Sequence[Reading], sites: Sequence[SiteReading]) -> SnapshotSince:
        """Return how to see what is reported now, with the arrivals since some totals."""
        reports, gateways = tuple(_node_report(one) for one in nodes), _gateway_reports(nodes, sites)
        arrived, case = _arrived(sites), self._case

        def since(before: Mapping[str, int]) -> Snapshot:
            return fold(now_s, case.cluster, reports, gateways, arrived, before, case.settings)

        return since

    def _asks(self, sites: Sequence[SiteReading]) -> bool:
        """Tell whether a request is held or a model is missed."""
        return not self._wakes.silent or any(one.held for site in sites for one in site.models.values())

    def _sight(self, now_s: float, nodes: Sequence[Reading]) -> Sight:
        """Return what an event decision looks at, read off the reports: which nodes are heard, their pods' phases."""
        limit_s = allowed_age_s(self._case.settings)
        return tuple((one.node.id, now_s - one.at_s <= limit_s, one.phases()) for one in nodes)

    def _given(self, trigger: Trigger, now_s: float, snapshot: Snapshot) -> SlotInput:
        case = self._case
        number = 1 if self.placement is None else self.placement.generation + 1
        talks = self.talks
        recent, forecast = self._foreseen(trigger, now_s)
        return SlotInput(
            trigger=trigger,
            slot=self._slots.at(now_s),
            now_s=now_s,
            seed=case.seed,
            policy=case.policy,
            settings=case.settings,
            cluster=case.cluster,
            snapshot=snapshot,
            state=self._state,
            plan=self.plan if talks is None else talks.plan,
            placement=self.placement,
            overrides=self._overrides(now_s),
            static=case.static,
            next_placement=number,
            next_table=self._table + 1,
            decision=f"slot-{number}",
            guide=self.guide if talks is None else talks.guide,
            ladder=talks.ladder if talks is not None and trigger == "advice" else (),
            llm="no-llm" if talks is None else talks.llm,
            recent=recent,
            forecast=forecast,
        )

    def _foreseen(self, trigger: Trigger, now_s: float) -> tuple[tuple[SlotArrivals, ...], Forecast | None]:
        """Return the newest arrivals and the forecast, to a slot; to others the forecast, if they decide by it."""
        if self._foreseeing is None:
            return (), None
        if trigger == "slot":
            return self._foreseeing.recent, self._foreseeing.forecast(now_s)
        return (), self._foreseeing.forecast(now_s) if self._case.settings.forecast else None

    def imposed(self, nodes: tuple[NodePlacement, ...], now_s: float) -> Placement:
        """Take a placement that somebody else decided for the one in force, and return it."""
        number = 1 if self.placement is None else self.placement.generation + 1
        settings = self._case.settings
        self.placement = Placement(
            generation=number,
            plan_generation=0,
            slot=self._slots.at(now_s),
            created_at_s=now_s,
            expires_at_s=now_s + settings.placement_slots * settings.slot_s,
            decision=f"imposed-{number}",
            nodes=nodes,
        )
        return self.placement

    def asked(self, now_s: float, nodes: Sequence[Reading], sites: Sequence[SiteReading]) -> SlotInput:
        """Return what an event's decision would be asked now; nothing is changed by that."""
        return self._given("event", now_s, self._folding(now_s, nodes, sites)(self._arrived))

    def resume(self, state: SlotState, placement: Placement | None, arrived: Mapping[str, int]) -> None:
        """Begin with what was learned, what is in force, and all that had arrived when the rates were learned."""
        self._state, self.placement, self._arrived = state, placement, arrived

    def anew(
        self, trigger: Literal["slot", "event"], now_s: float, nodes: Sequence[Reading], sites: Sequence[SiteReading]
    ) -> SlotDecision:
        """Decide with a placement and a table in any case: those in force, where an event changes nothing."""
        decision = self.decide(trigger, now_s, nodes, sites)
        if decision is None or decision.table is not None or self.placement is None:
            assert decision is not None
            return decision
        advised = self.decide("advice", now_s, nodes, sites)
        assert advised is not None
        return advised.model_copy(update={"placement": self.imposed(self.placement.nodes, now_s)})

    def _keep(self, decision: SlotDecision) -> None:
        self._state = decision.state
        if decision.placement is not None:
            self.placement = decision.placement
        if decision.table is not None:
            self._table = decision.table.generation
        if decision.placement is not None or decision.table is not None:
            self.decisions += 1
            self.decision = decision


def _arrived(sites: Sequence[SiteReading]) -> dict[str, int]:
    """Return all that ever arrived, per model."""
    found: dict[str, int] = {}
    for site in sites:
        for model, counted in site.models.items():
            found[model] = found.get(model, 0) + counted.arrived
    return found


def _node_report(one: Reading) -> NodeReport:
    return NodeReport(
        node=one.node.id,
        instance=INSTANCE,
        sequence=1,
        observed_at_s=one.at_s,
        memory_bytes=one.node.memory_bytes,
        memory_used_bytes=sum(p.memory_bytes for p in one.pods),
        placement_generation=one.placement,
        pods=tuple(reading_of(p) for p in one.pods),
        starts=one.starts,
        stops=one.stops,
        overruns=0,
        forced_losses=0,
    )


def _gateway_reports(nodes: Sequence[Reading], sites: Sequence[SiteReading]) -> tuple[GatewayReport, ...]:
    """Return what keepers and ingresses say, each as a gateway of its own."""
    keepers = [_report(one.node.id, one.at_s, None, (), _keeper_state(one)) for one in nodes]
    return (*keepers, *(_report(one.site, one.at_s, one.site, _counts(one), None) for one in sites))


def _report(
    name: str, at_s: float, site: str | None, models: tuple[ModelCount, ...], keeper: KeeperState | None
) -> GatewayReport:
    return GatewayReport(
        gateway=name,
        instance=INSTANCE,
        sequence=1,
        observed_at_s=at_s,
        site=site,
        models=models,
        choices=(),
        samples=(),
        outcomes=(),
        keeper=keeper,
        table_generation=0,
    )


def _counts(site: SiteReading) -> tuple[ModelCount, ...]:
    return tuple(
        ModelCount(
            model=model,
            arrived=one.arrived,
            held=one.held,
            oldest_held_s=site.at_s - one.oldest_at_s,
            asked_at_s=one.asked_at_s,
        )
        for model, one in site.models.items()
    )


def _keeper_state(one: Reading) -> KeeperState:
    return KeeperState(
        node=one.node.id,
        instance=INSTANCE,
        sequence=1,
        observed_at_s=one.at_s,
        speed=one.load.speed,
        pods=tuple(
            PodLoad(
                model=p.model,
                phase=p.phase,
                ready_in_s=p.ready_in_s,
                work_s=p.work_s,
                count=p.count,
                running=one.running[p.model],
                used_at_s=one.used_at_s[p.model],
            )
            for p in one.load.pods
        ),
    )
