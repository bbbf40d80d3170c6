"""A subject played by a policy, and what is measured of it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from pydantic import ValidationError

from fairlead.contracts.errors import InputError
from fairlead.contracts.forecasts import Knowledge
from fairlead.contracts.plans import NodePlacement
from fairlead.contracts.tuning import PolicyName, PolicySettings
from fairlead.policy.fairness import ModelStats, Readings, readings
from fairlead.policy.measuring import Latency, Window, after_changes, latencies, model_stats
from fairlead.twin.doubting import Doubt
from fairlead.twin.engine import Engine
from fairlead.twin.forging import IDLE, liar
from fairlead.twin.requests import Fate, Request
from fairlead.twin.setup import Setup, assembled
from fairlead.twin.subjects import Subject
from fairlead.twin.talking import Counsel, TalkFigures, talk_figures
from fairlead.twin.voices.speaking import VOICES, VoiceName

WORDS_S = 60.0
"""Seconds of the twin between two words on how far it is."""

AGENTS = "agents"
"""The name of `marginal-dpp` whose agents ask a language model (CONTROL §5)."""

FORGED = "forged"
"""The name of `marginal-dpp` where a node lies about itself; of agents in such a run the voice's."""

POLICY = re.compile(r"(?P<name>[a-z0-9:-]+)(?:\[(?P<changes>[^\[\]]*)\])?(?:@(?P<state>5s|fresh))?")


@dataclass(frozen=True, slots=True)
class PolicyAt:
    """A policy, how it learns of state, and settings in place of the defaults."""

    name: PolicyName
    fresh: bool
    changes: tuple[tuple[str, str], ...] = ()
    """Field of `PolicySettings` and its value as text, sorted."""
    asks: bool = False
    """Its agents ask a language model, or an agent by rule, which the game brings."""
    voice: VoiceName | None = None
    """The agent by rule; None where it is a language model, or nobody."""
    forged: bool = False
    """The fastest node says that it is faster still and that nobody waits there."""

    def __str__(self) -> str:
        """Return it as it is written: `marginal-dpp@fresh`, `marginal-dpp[eta=0]@5s`."""
        changes = ",".join(f"{name}={value}" for name, value in self.changes)
        plain = FORGED if self.forged else self.name
        name = plain if not self.asks else AGENTS if self.voice is None else f"{AGENTS}:{self.voice}"
        return f"{name}{f'[{changes}]' if changes else ''}@{'fresh' if self.fresh else '5s'}"

    def settings(self) -> PolicySettings:
        """Return the settings that it decides by; raises `InputError` where a change is not one of them."""
        try:
            return PolicySettings.model_validate(dict(self.changes), strict=False)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "?"
            raise InputError(f"policy {self}: setting {field[:64]!r}: {first['msg']}") from error


def policy_at(text: str) -> PolicyAt:
    """Return what `NAME`, `NAME@5s`, `NAME@fresh` or `NAME[setting=value,…]@fresh` means; no suffix is every 5 s.

    `agents:VOICE` are `agents` that ask an agent by rule in place of a language model; in `forged` and `agents:forged`
    a node lies. Raises `InputError` where there is no such policy, setting or suffix.
    """
    names: dict[str, PolicyName] = {name: name for name in get_args(PolicyName)}
    names |= {FORGED: "marginal-dpp", AGENTS: "marginal-dpp"}
    known: dict[str, tuple[PolicyName, VoiceName | None]] = {name: (one, None) for name, one in names.items()}
    known |= {f"{AGENTS}:{voice}": ("marginal-dpp", voice) for voice in VOICES}
    found = POLICY.fullmatch(text)
    for name, (one, voice) in known.items():
        if found is not None and found["name"] == name:
            parts = [part.partition("=") for part in (found["changes"] or "").split(",") if part.strip()]
            changes = tuple(sorted((field.strip(), value.strip()) for field, _, value in parts))
            asks, forged = name.startswith(AGENTS), FORGED in (name, voice)
            at = PolicyAt(one, found["state"] == "fresh", changes, asks, voice, forged)
            at.settings()
            return at
    raise InputError(
        f"policy {text[:64]!r} is none of {', '.join(known)}, each with @5s or @fresh behind it, "
        "and between them settings in brackets if any: marginal-dpp[eta=0]@fresh"
    )


@dataclass(frozen=True, slots=True)
class Game:
    """What is played, and by whom."""

    subject: Subject
    policy: PolicyAt
    seed: int
    """Of random placements and of what ingresses draw."""
    static: tuple[NodePlacement, ...] = ()
    """The placement of `sed-static`."""
    counsel: Counsel | None = None
    """The language model that `agents` ask."""
    knowledge: Knowledge | None = None
    """What was learned of recurring demand before."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A request as it is measured."""

    model: str
    sent_at_s: float
    ended_at_s: float | None
    fate: Fate | None
    """None while it is open."""

    @property
    def finished_at_s(self) -> float | None:
        """When its client had the full answer; None where it never did, or has not yet."""
        return self.ended_at_s if self.fate == "finished" else None


@dataclass(frozen=True, slots=True)
class Figures:
    """What is said of the window of a run."""

    arrived: int
    finished: int
    failed: int
    refused: int
    open: int
    """Not ended at the window's end."""
    latency_s: Latency
    after_change_s: float | None
    """Mean latency of what was sent within five minutes after demand changed; None where it did not."""
    fairness: Readings
    service_ratio: float | None
    """Finished of arrived; None without any."""
    starts_per_hour: float
    stops_per_hour: float
    models: tuple[ModelStats, ...]


@dataclass(frozen=True, slots=True)
class Played:
    """A run that is over."""

    figures: Figures
    requests: int
    """All that were simulated, the warm-up's too."""
    decisions: int
    """Placements and tables that were put in force."""
    engine: Literal["reference", "compiled"]
    """Which engine served."""
    talks: TalkFigures | None = None
    """What was said with a language model; None where nobody asks one."""


def play(game: Game, tell: Callable[[float], None]) -> Played:
    """Play a game in the reference engine; `tell` is told the share that is done."""
    subject = game.subject
    engine = engine_of(game)
    end_s = subject.window.end_at_s
    while engine.now_s < end_s:
        engine.run(min(engine.now_s + WORDS_S, end_s))
        tell(engine.now_s / end_s)
    figures = figures_of(outcomes_of(engine), engine.starts, engine.stops, subject)
    talks = talk_figures(engine.spoken) if game.counsel is not None else None
    return Played(figures, engine.books.arrived, engine.decisions, "reference", talks)


def engine_of(game: Game) -> Engine:
    """Return the run of a game before its demand begins; raises `InputError` where nobody can be asked."""
    subject = game.subject
    if game.policy.asks != (game.counsel is not None):
        raise InputError(
            f"policy {game.policy}: a language model is asked by {AGENTS} and nobody else: give --llm to it"
        )
    counsel = game.counsel

    def met(from_s: float, until_s: float) -> tuple[int, float]:
        ended = [(one.ended_at_s, one.arrival.at_s) for one in engine.ended if one.fate == "finished"]
        took_s = [end_s - at_s for end_s, at_s in ended if end_s is not None and from_s <= at_s < until_s]
        return len(took_s), sum(took_s)

    if counsel is not None:
        counsel = replace(counsel, arbiter=Doubt(counsel.arbiter, met))
    engine = assembled(setup_of(replace(game, counsel=counsel)), subject.demand())
    for at_s, mishap in subject.mishaps:
        engine.happen(at_s, mishap)
    if game.policy.forged:
        engine.nodes[liar(subject.cluster)].tale = IDLE
    return engine


def setup_of(game: Game) -> Setup:
    """Return all that a game depends on but its demand and its mishaps."""
    subject = game.subject
    return Setup(
        cluster=subject.cluster,
        policy=game.policy.name,
        fresh=game.policy.fresh,
        seed=game.seed,
        network=subject.network,
        settings=game.policy.settings(),
        static=game.static,
        overrides=subject.overrides,
        notes=subject.notes,
        counsel=game.counsel,
        knowledge=game.knowledge,
    )


def outcomes_of(engine: Engine) -> list[Outcome]:
    """Return what has become of each request, in order of the demand."""
    everything = sorted((*engine.ended, *engine.books.open.values()), key=_number)
    return [Outcome(one.arrival.model, one.arrival.at_s, one.ended_at_s, one.fate) for one in everything]


def figures_of(
    outcomes: Sequence[Outcome], starts: Sequence[float], stops: Sequence[float], subject: Subject
) -> Figures:
    """Return what is measured of the requests that were sent inside the subject's window, which ends now.

    `starts` and `stops` are the instants at which pods were started and stopped.
    """
    window = subject.window
    inside = [one for one in outcomes if window.start_at_s <= one.sent_at_s < window.end_at_s]
    stats = model_stats(inside, subject.cluster, window)
    finished = _count(inside, "finished")
    hours = (window.end_at_s - window.start_at_s) / 3600.0
    return Figures(
        arrived=len(inside),
        finished=finished,
        failed=_count(inside, "failed"),
        refused=_count(inside, "refused"),
        open=_count(inside, None),
        latency_s=latencies(inside, window),
        after_change_s=after_changes(inside, subject.changes_at_s, window),
        fairness=readings(stats),
        service_ratio=finished / len(inside) if inside else None,
        starts_per_hour=_inside(starts, window) / hours,
        stops_per_hour=_inside(stops, window) / hours,
        models=stats,
    )


def _inside(instants: Sequence[float], window: Window) -> int:
    return sum(window.start_at_s <= at_s < window.end_at_s for at_s in instants)


def _number(request: Request) -> int:
    return request.number


def _count(outcomes: Sequence[Outcome], fate: Fate | None) -> int:
    return sum(one.fate == fate for one in outcomes)
