"""The twin's gate: a proposal may act where it is surely no worse than the fallback (CONTROL §3, gate 5).

Every candidate and the fallback are played on the same demands; what counts is the mean of the paired differences in F.
Samples are spent on the close ones by successive halving (Karnin, Koren, Somekh, "Almost optimal exploration in
multi-armed bandits", ICML 2013): the better half of each round is played on. The last ones alone may be accepted, each
by an interval that is corrected for all candidates (Bonferroni), so that the best of many is not taken for its luck. A
plan that is still close then is played on many more demands, and looked at once more, for which it is corrected too.

A proposal that expects what would surprise the forecast is judged twice: on demand as it expects it must gain, on
demand as the forecast has it may cost a little.

It ends in its time, live by what branches are measured to take, else by `GateSettings.requests_most`: first fewer
candidates are played, then on fewer demands, then not so far ahead; where not even the least fits nothing is judged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.dialogue import Judge, Judgement, Trial
from fairlead.contracts.plans import Guide, PlanDraft
from fairlead.contracts.tuning import GateSettings
from fairlead.policy.epoch import NEUTRAL_PRIORITY, decide_epoch
from fairlead.policy.planner_gate import CLOSED
from fairlead.twin.branching import Candidate, situation_of
from fairlead.twin.court import USUAL_NODES, Contender, Court, Means, Score, World, weight
from fairlead.twin.intervals import interval
from fairlead.twin.scenes import Outlook, believed, outlook

FINALISTS = 2
"""So many candidates are played to the end."""

NO_SITES = "the cluster has no sites, so that there is no demand to play"
"""Said where nobody can send a request."""

IDLE = "it changes nothing against the fallback"
"""Said of a plan that is not played."""

TEXT_CHARS = 256
"""Length of a judgement's words."""

SAMPLES_LEAST = 2
"""Demands of a round: of one alone there is no interval."""

DEMANDS_LEAST = 4
"""Demands of a judgement: with three degrees of freedom the quantile of Student's t is 3.2, of two demands 12.7."""

SHARES = (1.0, 0.5, 0.25)
"""Of how far a proposal is played ahead: a quarter of an epoch is 75 s, the longest start takes 50 s (CONTROL §5)."""


def judged(asked: SlotInput | EpochInput, judge: Judge, settings: GateSettings, means: Means) -> Judgement:
    """Return what the twin says of a proposal and its variations, asked about at `asked.now_s`.

    Neither `took_s` nor `twin` is filled in: whoever asks knows them.
    """
    if not asked.cluster.sites:
        return Judgement(code="not-judged", text=NO_SITES)
    if isinstance(asked, EpochInput):
        settings = settings.model_copy(update={"margin_ratio": settings.plan_margin_ratio})
    entries = _entered(asked, judge, settings.candidates)
    whole = _case(asked, (), settings, 1.0)
    horizon_s = whole.until_s - asked.now_s
    if not entries:
        return Judgement(code="worse", text="it does not fit the cluster as it is", horizon_s=horizon_s)
    if _idle(entries[0].candidate):
        return Judgement(code="no-worse", text=IDLE, chosen=entries[0].name, horizon_s=horizon_s)
    court = _court(asked, whole, settings, means)
    moving = [one for one in entries if not _idle(one.candidate)]
    for share in SHARES:
        case = _case(asked, moving, settings, share)
        court.until_s, court.plain = case.until_s, case.world
        if _fits(court, case, min(DEMANDS_LEAST, settings.scenarios)):
            return _judgement(court, case, settings)
    return Judgement(code="no-time", text=_why_not(court, case, settings))


@dataclass(frozen=True, slots=True)
class Entry:
    """A candidate that fits the cluster."""

    name: str
    candidate: Candidate
    draft: PlanDraft | None
    """What its plan was made of; None where rows were proposed."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be judged, so far ahead."""

    share: float
    """Of how far a proposal is usually played."""
    until_s: float
    world: World
    contenders: tuple[Contender, ...]
    """The proposal first."""


def _case(asked: SlotInput | EpochInput, entries: Sequence[Entry], settings: GateSettings, share: float) -> Case:
    """Return what is to be judged, looking ahead by a share of what is usual."""
    from_s = _begins_at_s(asked)
    ahead_s = settings.horizon_s if isinstance(asked, EpochInput) else settings.guide_horizon_s
    until_s = from_s + share * ahead_s
    plain = outlook(asked, until_s)
    contenders = [Contender(one.name, one.candidate, _hope(one, plain, asked.cluster, from_s)) for one in entries]
    return Case(share, until_s, World(plain), tuple(contenders))


def _hope(one: Entry, plain: Outlook, cluster: Cluster, from_s: float) -> World | None:
    """Return the world of what a plan expects; None where that is no surprise."""
    if one.draft is None:
        return None
    hope = believed(plain, one.draft, cluster, from_s if one.draft.rates_at_s is None else one.draft.rates_at_s)
    return None if hope is None else World(hope)


def _court(asked: SlotInput | EpochInput, case: Case, settings: GateSettings, means: Means) -> Court:
    """Return where candidates are played, once it is known what that takes."""
    base = Candidate("fallback", plan=asked.plan if isinstance(asked, SlotInput) else None)
    situation = replace(situation_of(asked, means.network), fresh=means.fresh)
    most = settings.requests_most * USUAL_NODES / max(1, len(asked.cluster.nodes))
    court = Court(situation, base, case.until_s, means, case.world, most)
    court.measure()
    return court


def _fits(court: Court, case: Case, least: int) -> bool:
    """Tell whether the first candidate can be played on so many demands, by what the fallback's first one took."""
    first = case.contenders[:1]
    if court.times(first) < least:
        return False
    court.begin()
    return court.times(first) >= least - 1


def _judgement(court: Court, case: Case, settings: GateSettings) -> Judgement:
    """Return what comes of playing as many candidates on as many demands as there is time for."""
    contenders = case.contenders
    kept, scenarios = afforded(court, contenders, settings)
    finalists = halved(court, kept, settings, scenarios)
    is_plan = kept[0].candidate.guide is None
    more = settings.close_scenarios if is_plan and court.times(finalists) >= 1.0 else 0
    miss = (1.0 - settings.confidence) / ((2 if more else 1) * len(kept))
    if more and _close([_trials(one, court.plain, miss) for one in finalists], settings):
        court.play_on(finalists, more, 0)
    trials = {one.name: _trials(one, court.plain, miss) for one in kept}
    good = [one for one in finalists if acceptable(trials[one.name], settings)]
    best = max(good or finalists, key=lambda one: _rank(one, court.plain, settings))
    order = sorted(kept, key=lambda one: (one is not best, -trials[one.name][-1].gain, one.name))
    horizon_s = court.until_s - court.situation.now_s
    fewer = court.cut_short or (case.share, len(kept), scenarios) < (1.0, len(contenders), settings.scenarios)
    scope = f"in its time {len(kept)} of {len(contenders)}, {horizon_s:.0f} s ahead; " if fewer else ""
    return Judgement(
        code="no-worse" if good else "worse",
        text=f"{scope}{_words(best.name, trials[best.name], settings)}"[:TEXT_CHARS],
        chosen=best.name,
        trials=tuple(trial for one in order for trial in trials[one.name]),
        horizon_s=horizon_s,
    )


def afforded(
    court: Court, contenders: Sequence[Contender], settings: GateSettings
) -> tuple[tuple[Contender, ...], int]:
    """Return the candidates that there is time for, and on how many demands each is played, on average.

    Candidates are given up first, the last ones before the proposal.
    """
    count = len(contenders)
    while count > 1 and court.times(contenders[:count]) < settings.scenarios:
        count -= 1
    scenarios = min(settings.scenarios, max(SAMPLES_LEAST, int(court.times(contenders[:count]))))
    return tuple(contenders[:count]), scenarios


def _why_not(court: Court, case: Case, settings: GateSettings) -> str:
    """Return why nothing is judged."""
    least = min(DEMANDS_LEAST, settings.scenarios) * (1 + weight(case.contenders[0]))
    can = court.times(()) * court.requests()
    return (
        f"even the least takes too long: {least} branches of some {court.requests():.0f} requests, "
        f"{court.until_s - court.situation.now_s:.0f} s ahead; in the time there is {max(0.0, can):.0f} can be played"
    )


def halved(
    court: Court, contenders: Sequence[Contender], settings: GateSettings, scenarios: int
) -> tuple[Contender, ...]:
    """Play in rounds, the better half of each in the next; return those that were played to the end, at least one.

    Each round takes the same number of branches, unless there is no time for them any more. Who would surely be refused
    stays behind before, unless all would.
    """
    rounds = max(1, math.ceil(math.log2(len(contenders))))
    each = scenarios * len(contenders) / rounds
    left = tuple(contenders)
    for number in range(rounds):
        if number:
            left = _better(left, court.plain, settings)
        if not court.play_on(left, max(SAMPLES_LEAST, int(each / len(left))), 0 if number else SAMPLES_LEAST):
            break
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


def _entered(asked: SlotInput | EpochInput, judge: Judge, most: int) -> tuple[Entry, ...]:
    """Return the candidates that fit, at most so many, the proposal first."""
    found = []
    for k, text in enumerate((judge.proposal, *judge.others)[:most]):
        name = f"other-{k}" if k else "proposal"
        if isinstance(asked, SlotInput):
            found.append(Entry(name, Candidate(name, asked.plan, Guide.from_json(text)), None))
            continue
        draft, from_s = PlanDraft.from_json(text), _begins_at_s(asked)
        given = asked.model_copy(update={"draft": draft, "now_s": from_s, "ladder": (), "llm": "answered"})
        plan = decide_epoch(given).plan
        if plan is not None and plan.source == "llm":
            found.append(Entry(name, Candidate(name, plan, None, from_s if from_s > asked.now_s else None), draft))
    return tuple(found)


def _idle(candidate: Candidate) -> bool:
    """Tell whether a plan tilts, closes and warms nothing; rows always tilt."""
    plan = candidate.plan
    if plan is None or candidate.guide is not None or plan.warm or plan.rates:
        return False
    tilts = any(i.role in CLOSED or (i.bias and (i.prefer or i.avoid)) for i in plan.intents)
    return not tilts and all(p.priority == NEUTRAL_PRIORITY for p in plan.priorities)
