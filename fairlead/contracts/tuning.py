"""Settings of the controller: each with its unit, default and the source of the default."""

from typing import Annotated, Literal

from pydantic import Field

from fairlead.contracts.base import Message, Positive, Ratio, Seconds

PolicyName = Literal[
    "marginal-dpp",
    "random-static",
    "random-dynamic",
    "round-robin",
    "least-loaded-slot",
    "sed-static",
    "lru",
    "dpp",
    "bmw-dpp",
]


RouteName = Literal["marginal", "sed", "pair", "strict"]
"""Of the rules of a row (`contracts.plans.Rule`) those that `marginal-dpp` can be made to use."""


class Weights(Message):
    """Weights of the objective F (CONTROL §1)."""

    latency: Seconds = 0.5
    fairness: Seconds = 0.5
    churn: Seconds = 0.05
    service: Seconds = 0.5


class GateSettings(Message):
    """What the twin asks of a proposal before it may act (CONTROL §3); durations in domain seconds."""

    horizon_s: Positive = 300.0
    """A plan is played so far beyond its epoch's begin: an epoch."""
    guide_horizon_s: Positive = 120.0
    """Proposed rows are played so far: their slot and what it leaves behind, H of CONTROL §2 rule 2."""
    scenarios: Annotated[int, Field(ge=2, le=256)] = 8
    """Demands that a candidate is played on, the mean over the candidates: close ones get more, others fewer."""
    close_scenarios: Annotated[int, Field(ge=0, le=256)] = 56
    """So many more for a plan that is neither surely good nor surely bad after those: a gain of 3 to 10 % of F lies
    within the interval of eight demands (twin, `catalogue-roomy-cycle` at 0.6, 2026-11). Rows act for a slot alone,
    and get none."""
    requests_most: Annotated[int, Field(ge=1)] = 2_000_000
    """About so many requests are played for a judgement in a cluster of seven nodes, of n nodes 7/n of it, where no
    clock measures what playing takes: then fewer candidates are, on fewer demands, not so far ahead. What 9 s of a
    core play, those that a judgement has live, at 0.6 µs a request and node (`metro100`, 2026-11)."""
    candidates: Annotated[int, Field(ge=1, le=64)] = 16
    """More are not looked at."""
    variations: bool = True
    """Whether the code varies a proposal: without one of its parts, or milder."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of the interval of a gain, over all candidates together."""
    margin_ratio: Ratio = 0.01
    """Proposed rows are no worse where their gain is surely above this share of the fallback's F, sign turned."""
    plan_margin_ratio: Ratio = 0.0
    """The same of a plan. What it starts and stops is undone after its epoch, which the twin does not play: with 0.01
    random plans cost 3 % of F in starts alone, with 0 nothing (`city7-rotating` at 0.8, seeds 1 and 2, 2026-11)."""
    disbelief_ratio: Ratio = 0.02
    """The same of one that expects what the forecast does not, on demand as the forecast has it."""
    judging_s: Seconds = 1.0
    """What the twin takes to judge, where time is virtual; live it is measured."""


class WatchdogSettings(Message):
    """What an accepted proposal is watched by; durations in domain seconds."""

    slots: Annotated[int, Field(ge=1)] = 10
    """The fallback acts for so many slots after something was out of bounds: an epoch."""
    backlog_ratio: Annotated[float, Field(ge=1)] = 2.0
    """The work that waits may grow to so many times what it was,"""
    backlog_s: Positive = 30.0
    """and so many seconds more of what is up: a slot."""
    timely_drop: Annotated[float, Field(gt=0, le=1)] = 0.2
    """The share of timely requests may fall by this below what it was."""
    latency_ratio: Annotated[float, Field(ge=1)] = 2.0
    """The mean latency may be so many times what the twin predicted,"""
    latency_s: Positive = 5.0
    """and so much longer."""
    least_requests: Annotated[int, Field(ge=1)] = 20
    """Shares and means over fewer requests say nothing: half of 20 lies within 0.2 of the truth in 96 of 100."""
    error_ratio: Positive = 1.0
    """A twin whose predictions of the mean latency are further off on average, relative to them, is not believed, nor
    is one that plays an epoch again to an F further from the measured one, relative to the smaller of the two."""
    least_predictions: Annotated[int, Field(ge=1)] = 6
    """Over fewer predictions that came to be measured this is not known."""


class PolicySettings(Message):
    """Constants of CONTROL §2; durations in domain seconds."""

    slot_s: Positive = 30.0
    """T, the control period."""
    epoch_slots: Annotated[int, Field(ge=1)] = 10
    """E: an epoch is 5 min."""
    refresh_s: Positive = 5.0
    """How often held requests are looked at again inside a slot."""
    report_s: Positive = 5.0
    """How often nodes and gateways report; three of them is the allowed age of a reading."""
    coalesce_s: Positive = 0.1
    """A keeper pushes its state at most this often."""
    hold_timeout_s: Positive = 600.0
    """A request waits at most this long in all (CONTROL §1)."""
    rate_half_life_slots: Positive = 4.0
    """Half-life of the EWMA of arrivals."""
    rate_start_per_s: Positive = 0.001
    """Start value of λ, and the rate above which a model counts as having demand."""
    event_horizon_s: Positive = 60.0
    """H of rule 1."""
    slot_horizon_s: Positive = 120.0
    """H of rule 2."""
    active_window_s: Positive = 600.0
    """Rule 2 looks at models with an arrival within it."""
    fit_ratio: Ratio = 0.8
    """Rule 2 acts only where these models fit in this share of the memory that is up."""
    nodes_per_start: Annotated[int, Field(ge=1)] = 7
    """Rule 2 starts one pod a slot for each so many nodes."""
    eta: Seconds = 1.0
    """η: hysteresis against the victims' regret."""
    least_worth_s: Seconds = 1.0
    """Request-seconds that rule 2's best pair must be worth."""
    wait_starts: Seconds = 0.5
    """Rule 1: a wait is long from so many start delays on."""
    route: RouteName = "marginal"
    """How `marginal-dpp` lets ingresses pick inside a row; the others are there to measure what that is worth."""
    busy_share: Seconds = 0.7
    """Rule 1 expects each busy pod on a node to slow the first request by this share."""
    patience_starts: Positive = 8.0
    """After so many start delays a held request may take busy pods."""
    drain_s_per_gb: Seconds = 5.0
    """Added to rule 1's cost for a busy victim, seconds a GB."""
    moving: bool = True
    """Whether waiting tickets move by price (CONTROL §2 rule 7)."""
    move_saves_s: Seconds = 0.5
    """A waiting ticket moves where it saves more than this (CONTROL §2 rule 7)."""
    start_weight: Seconds = 0.01
    """V of `dpp`: what a second of starting weighs against requests² of drift; so small that one request that is held
    pays for the longest start of CONTROL §5's clusters (50 s)."""
    yielding: bool = True
    """Whether a request that is late already lets those pass, at its pod, who can still be on time."""
    uniform_share: Ratio = 0.02
    """Share of the uniform distribution in each row."""
    explore: Ratio = 0.0
    """Probability with which a gateway draws from P instead of picking the least price."""
    speed_gain: Ratio = 0.15
    """Exponent of the update of v by a completion."""
    speed_clip_low: Positive = 0.4
    speed_clip_high: Positive = 2.5
    weights: Weights = Weights()
    table_slots: Annotated[int, Field(ge=1)] = 2
    """A table expires after so many slots; it steers for three more."""
    guide_prior_weight_s: Seconds = 1.0
    """Weight of log(max P/P) against d + e in the rows that a language model proposed (CONTROL §2 rule 6)."""
    trust_tv: Ratio = 0.3
    """Total variation between a proposed row and the fallback's that is still trusted (CONTROL §3, gate 4)."""
    row_tolerance: Ratio = 0.05
    """How far a proposed row may be from 1 and still be normalised: models round to two digits."""
    placement_slots: Annotated[int, Field(ge=1)] = 2
    """A placement expires after so many slots; then nothing is stopped."""
    forecast: bool = False
    """Whether rules 1 and 2 take the rates that are forecast in place of those learned, where the forecast's measured
    error is less."""
    wake_cool_down_s: Seconds = 120.0
    """A change wakes the planner early, but not again so soon: four slots, of which its answers take two."""
    gate: GateSettings = GateSettings()
