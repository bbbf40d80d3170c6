"""The twin's gate: a proposal may act where it is surely no worse than the fallback (CONTROL §3, gate 5).

Every candidate and the fallback are played on the same demands; what counts is the mean of the paired differences in F.
Samples are spent on the close ones by successive halving (Karnin, Koren, Somekh, "Almost optimal exploration in
multi-armed bandits", ICML 2013): the better half of each round is played on. The last ones alone may be accepted, each
by an interval that is corrected for all candidates (Bonferroni), so that the best of many is not taken for its luck. A
plan that is still close then is played on many more demands, and looked at once more, for which it is corrected too.

A proposal that expects what would surprise the forecast is judged twice: on demand as it expects it must gain, on
demand as the forecast has it may cost a little.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.dialogue import Judge, Judgement, Trial
from fairlead.contracts.plans import Guide, PlanDraft
from fairlead.contracts.tuning import GateSettings
from fairlead.policy.epoch import NEUTRAL_PRIORITY, decide_epoch
from fairlead.policy.planner_gate import CLOSED
from fairlead.twin.branching import Branch, Candidate, Demand, Situation, objective_of, situation_of
from fairlead.twin.intervals import interval
from fairlead.twin.scenes import Outlook, believed, outlook, scene

FINALISTS = 2
"""So many candidates are played to the end."""

IDLE = "it changes nothing against the fallback"
"""Said of a plan that is not played."""

TEXT_CHARS = 256
"""Length of a judgement's words."""

SAMPLES_LEAST = 2
"""Demands of a round: of one alone there is no interval."""


@dataclass(frozen=True, slots=True)
class Score:
    """What came of one demand."""

    objective: float
    """F."""
    latency_s: float


@dataclass(slots=True)
class World:
    """Demand of one outlook, and what the fallback makes of it; nothing is drawn or played twice."""

    given: Outlook
    demands: list[Demand] = field(default_factory=list)
    fallback: list[Score] = field(default_factory=list)


@dataclass(slots=True)
class Contender:
    """A candidate, and what came of it on the demands that it was played on."""

    name: str
    candidate: Candidate
    world: World | None
    """What it expects, where the forecast would be surprised by that."""
    plain: list[Score] = field(default_factory=list)
    hoped: list[Score] = field(default_factory=list)
    """In its own world."""


@dataclass(frozen=True, slots=True)
class Court:
    """What all candidates are played in."""

    situation: Situation
    base: Candidate
    until_s: float
    branch: Branch
    plain: World

    def play(self, one: Contender, times: int) -> None:
        """Play a candidate on so many further demands, and the fallback where it was not yet."""
        self._play(one.candidate, self.plain, one.plain, times)
        if one.world is not None:
            self._play(one.candidate, one.world, one.hoped, times)

    def _play(self, candidate: Candidate, world: World, found: list[Score], times: int) -> None:
        for k in range(len(found), len(found) + times):
            if k == len(world.demands):
                # worlds of one situation differ in their rates alone, so that what chance there is they share
                world.demands.append(scene(world.given, self.situation.seed, int(self.situation.now_s), k))
                world.fallback.append(self._score(self.base, world.demands[k]))
            found.append(self._score(candidate, world.demands[k]))

    def _score(self, candidate: Candidate, demand: Demand) -> Score:
        found = self.branch(self.situation, candidate, demand, self.until_s)
        weights = self.situation.settings.weights
        return Score(objective_of(found, self.situation.cluster, weights).total, found.latency_s)


def judged(asked: SlotInput | EpochInput, judge: Judge, settings: GateSettings, branch: Branch) -> Judgement:
    """Return what the twin says of a proposal and its variations, asked about at `asked.now_s`.

    Neither `took_s` nor `twin` is filled in: whoever asks knows them.
    """
    from_s = _begins_at_s(asked)
    until_s = from_s + (settings.horizon_s if isinstance(asked, EpochInput) else settings.guide_horizon_s)
    if isinstance(asked, EpochInput):
        settings = settings.model_copy(update={"margin_ratio": settings.plan_margin_ratio})
    world = World(outlook(asked, until_s))
    fitting = _contenders(asked, judge, world.given, settings.candidates)
    horizon_s = until_s - asked.now_s
    if not fitting:
        return Judgement(code="worse", text="it does not fit the cluster as it is", horizon_s=horizon_s)
    contenders = [one for one in fitting if not _idle(one.candidate)]
    if not contenders or fitting[0] is not contenders[0]:
        return Judgement(code="no-worse", text=IDLE, chosen=fitting[0].name, horizon_s=horizon_s)
    wanted, usual = len(contenders), settings.scenarios
    contenders, settings = afforded(contenders, world.given, settings)
    fewer = (len(contenders), settings.scenarios) < (wanted, usual)
    scope = f"for its size {len(contenders)} of {wanted} on {settings.scenarios} demands; " if fewer else ""
    base = Candidate("fallback", plan=asked.plan if isinstance(asked, SlotInput) else None)
    court = Court(situation_of(asked), base, until_s, branch, world)
    finalists = halved(court, contenders, settings)
    more = settings.close_scenarios if isinstance(asked, EpochInput) else 0
    looks = 2 if more else 1
    miss = (1.0 - settings.confidence) / (looks * len(contenders))
    if more and _close([_trials(one, court.plain, miss) for one in finalists], settings):
        for one in finalists:
            court.play(one, more)
    trials = {one.name: _trials(one, court.plain, miss) for one in contenders}
    good = [one for one in finalists if acceptable(trials[one.name], settings)]
    best = max(good or finalists, key=lambda one: _rank(one, court.plain, settings))
    order = sorted(contenders, key=lambda one: (one is not best, -trials[one.name][-1].gain, one.name))
    return Judgement(
        code="no-worse" if good else "worse",
        text=f"{scope}{_words(best.name, trials[best.name], settings)}"[:TEXT_CHARS],
        chosen=best.name,
        trials=tuple(trial for one in order for trial in trials[one.name]),
        horizon_s=horizon_s,
    )


def afforded(
    contenders: Sequence[Contender], given: Outlook, settings: GateSettings
) -> tuple[list[Contender], GateSettings]:
    """Return the candidates that are played and on how many demands, so that no more requests are than are allowed.

    Candidates are given up first, the last ones before the proposal; the fallback is played beside them.
    """
    branches = int(settings.requests_most / max(1.0, float(given.expected.sum())))
    kept = contenders[: max(1, branches // settings.scenarios - 1)]
    scenarios = min(settings.scenarios, max(SAMPLES_LEAST, branches // (len(kept) + 1)))
    close = min(settings.close_scenarios, max(0, branches // (FINALISTS + 1) - scenarios))
    return list(kept), settings.model_copy(update={"scenarios": scenarios, "close_scenarios": close})


def halved(court: Court, contenders: Sequence[Contender], settings: GateSettings) -> tuple[Contender, ...]:
    """Play in rounds, the better half of each in the next; return those that were played to the end, at least one.

    Each round takes the same number of branches. Who would surely be refused stays behind before, unless all would.
    """
    rounds = max(1, math.ceil(math.log2(len(contenders))))
    each = settings.scenarios * len(contenders) / rounds
    left = tuple(contenders)
    for number in range(rounds):
        if number:
            left = _better(left, court.plain, settings)
        for one in left:
            court.play(one, max(SAMPLES_LEAST, int(each / len(left))))
    return left


def _close(trials: Sequence[tuple[Trial, ...]], settings: GateSettings) -> bool:
    """Tell whether nobody is surely good, and somebody is not surely bad."""
    nobody = not any(acceptable(one, settings) for one in trials)
    return nobody and any(_hopeful(one, settings) for one in trials)


def _better(left: Sequence[Contender], plain: World, settings: GateSettings) -> tuple[Contender, ...]:
    """Return the better half, not fewer than are played to the end; of these whoever could still be accepted."""
    order = sorted(left, key=lambda one: _rank(one, plain, settings), reverse=True)
    half = order[: max(FINALISTS, math.ceil(len(order) / 2))]
    hopeful = [one for one in half if _hopeful(_trials(one, plain, 1.0 - settings.confidence), settings)]
    return tuple(hopeful or half[:1])


def _rank(one: Contender, plain: World, settings: GateSettings) -> tuple[bool, float]:
    """Return what orders candidates: whether what it costs is bearable, then its gain where it comes true."""
    gain = fmean(_gains(one.plain, plain))
    if one.world is None:
        return True, gain
    fallback = fmean(score.objective for score in plain.fallback[: len(one.plain)])
    return gain >= -settings.disbelief_ratio * fallback, fmean(_gains(one.hoped, one.world))


def _gains(found: Sequence[Score], world: World) -> list[float]:
    return [fallback.objective - own.objective for fallback, own in zip(world.fallback, found, strict=False)]


def _trials(one: Contender, plain: World, miss: float) -> tuple[Trial, ...]:
    """Return what is known of a candidate: on demand as the forecast has it, then as it expects it itself, if apart."""
    first = _trial(one.name, one.plain, plain, miss, hoped=False)
    return (first,) if one.world is None else (first, _trial(one.name, one.hoped, one.world, miss, hoped=True))


def _trial(name: str, found: Sequence[Score], world: World, miss: float, *, hoped: bool) -> Trial:
    gains, fallback = interval(_gains(found, world), miss), world.fallback[: len(found)]
    return Trial(
        name=name,
        believed=hoped,
        scenarios=len(found),
        objective=fmean(score.objective for score in found),
        fallback=fmean(score.objective for score in fallback),
        gain=gains.mean,
        low=gains.low,
        high=gains.high,
        latency_s=fmean(score.latency_s for score in found),
        fallback_latency_s=fmean(score.latency_s for score in fallback),
    )


def least_gain(trial: Trial, trials: Sequence[Trial], settings: GateSettings) -> float:
    """Return what the lower bound of a trial's gain must reach; where it comes true, a proposal must gain."""
    if trial.believed:
        return 0.0
    return -(settings.margin_ratio if len(trials) == 1 else settings.disbelief_ratio) * trial.fallback


def acceptable(trials: Sequence[Trial], settings: GateSettings) -> bool:
    """Tell whether a candidate is surely no worse than the fallback, and better where what it expects comes true."""
    return all(
        trial.low > 0.0 if trial.believed else trial.low >= least_gain(trial, trials, settings) for trial in trials
    )


def _hopeful(trials: Sequence[Trial], settings: GateSettings) -> bool:
    """Tell whether a candidate is not surely refused."""
    return all(trial.high >= least_gain(trial, trials, settings) for trial in trials)


def _words(name: str, trials: Sequence[Trial], settings: GateSettings) -> str:
    said = [
        f"{'if it comes true: ' if trial.believed else ''}gain {trial.gain:.4f} ({trial.low:.4f} to {trial.high:.4f}) "
        f"of F {trial.fallback:.4f}, at least {least_gain(trial, trials, settings):.4f}, {trial.scenarios} demands"
        for trial in trials
    ]
    return f"{name}: {'; '.join(said)}"


def _begins_at_s(asked: SlotInput | EpochInput) -> float:
    """Return when what is proposed would begin to act."""
    if isinstance(asked, SlotInput) or asked.begins_at_s is None:
        return asked.now_s
    return max(asked.now_s, asked.begins_at_s)


def _contenders(asked: SlotInput | EpochInput, judge: Judge, plain: Outlook, most: int) -> tuple[Contender, ...]:
    """Return the candidates that fit, at most so many, the proposal first."""
    found = []
    for k, text in enumerate((judge.proposal, *judge.others)[:most]):
        name = f"other-{k}" if k else "proposal"
        if isinstance(asked, SlotInput):
            found.append(Contender(name, Candidate(name, asked.plan, Guide.from_json(text)), None))
            continue
        draft, from_s = PlanDraft.from_json(text), _begins_at_s(asked)
        given = asked.model_copy(update={"draft": draft, "now_s": from_s, "ladder": (), "llm": "answered"})
        plan = decide_epoch(given).plan
        if plan is not None and plan.source == "llm":
            hope = believed(plain, draft, asked.cluster, from_s if draft.rates_at_s is None else draft.rates_at_s)
            candidate = Candidate(name, plan, None, from_s if from_s > asked.now_s else None)
            found.append(Contender(name, candidate, None if hope is None else World(hope)))
    return tuple(found)


def _idle(candidate: Candidate) -> bool:
    """Tell whether a plan tilts, closes and warms nothing; rows always tilt."""
    plan = candidate.plan
    if plan is None or candidate.guide is not None or plan.warm or plan.rates:
        return False
    tilts = any(i.role in CLOSED or (i.bias and (i.prefer or i.avoid)) for i in plan.intents)
    return not tilts and all(p.priority == NEUTRAL_PRIORITY for p in plan.priorities)
