"""Planner and slot agent that ask a language model in virtual time: what it takes to answer passes on the twin's clock.

As live (DESIGN §4) the fallback decides first and nobody waits: a dialogue about a slot ends in a decision of its own,
one about an epoch is begun ahead so that the epoch begins with its plan.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from fairlead.contracts.cases import Case
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import EpochInput, SlotDecision, SlotInput, Snapshot, Step
from fairlead.contracts.dialogue import (
    AgentName,
    Answer,
    Ask,
    DialogueSettings,
    Judge,
    Judgement,
    PromptText,
    Sampling,
)
from fairlead.contracts.notes import Note
from fairlead.contracts.plans import EpochPlan, Guide, Override, Placement, PlanDraft
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.dialogue import Briefing, Conversation, Held, advise, settled
from fairlead.policy.epoch import decide_epoch
from fairlead.policy.foreseeing import Foreseeing
from fairlead.policy.note_watch import NoteWatch
from fairlead.policy.note_words import touching
from fairlead.policy.periods import Periods
from fairlead.policy.planning import Agenda
from fairlead.policy.snapshot import totals

Asker = Callable[[Ask, str, float], Answer]
"""Question, its id, and the seconds in which an answer is of use; never raises, `Answer.took_s` counts in the twin."""

Arbiter = Callable[[SlotInput | EpochInput, Judge, bool], Judgement]
"""The twin's judgement of a proposal for what was asked, and whether state is known on change (`Surroundings.fresh`);
it takes `GateSettings.judging_s` of virtual time."""

SnapshotSince = Callable[[Mapping[str, int]], Snapshot]
"""The state of now, with the arrivals since these totals."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the slot agent knows at an instant."""

    since: SnapshotSince
    placement: Placement | None
    """In force."""
    overrides: tuple[Override, ...]


@dataclass(frozen=True, slots=True)
class Counsel:
    """Whom the agents of a run ask, and how."""

    ask: Asker
    prompts: Mapping[AgentName, PromptText]
    sampling: Mapping[AgentName, Sampling]
    deadline_slots: Mapping[AgentName, float]
    """How long all answers of a dialogue may take together, slots."""
    mode: Literal["auto", "shadow"]
    llm: str
    """What is asked, for the journal."""
    arbiter: Arbiter
    """Who judges what passes the other gates."""
    proposals: int = 1
    """That the planner's model is asked for."""
    agents: tuple[AgentName, ...] = ("planner", "slot-agent")
    """Who asks; of the others the fallback acts, and nobody waits."""
    cases: tuple[Case, ...] = ()
    """What the planner is shown of remembered epochs, the most useful first; none is remembered in a run."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A dialogue of a run, and what came of it."""

    agent: AgentName
    asked_at_s: float
    took_s: float
    held: Held
    steps: tuple[Step, ...]
    acts: bool
    """What was proposed may act; rows that no longer fit fall back one by one all the same."""


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done at an instant: a plan to ask for, or a dialogue that has ended."""

    what: Literal["ask", "plan", "slot"]
    number: int
    """The epoch or slot that it is about."""
    proposal: Guide | PlanDraft | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run's dialogues are about."""

    cluster: Cluster
    settings: PolicySettings
    seed: int
    notes: tuple[Note, ...] = ()
    """What operators say in it."""
    fresh: bool = True
    """State on change; else every few seconds."""


class Talks:
    """All dialogues of a run, and what of them is in force."""

    def __init__(self, counsel: Counsel, run: Surroundings, foreseeing: Foreseeing | None = None) -> None:
        """Begin at instant 0 with no plan; the first epoch is asked about while it runs."""
        self.plan: EpochPlan | None = None
        self.guide: Guide | None = None
        self.ladder: tuple[Step, ...] = ()
        """Of the dialogue that ended last."""
        self.llm = "asked"
        """What became of this slot's question, as `SlotInput.llm` says it."""
        self.spoken: list[Spoken] = []
        self._appointments: list[float] = []
        self._counsel = counsel
        self._foreseeing = foreseeing
        self._run, settings = run, run.settings
        self._watch = NoteWatch(run.cluster, settings.slot_s)
        self._agenda = Agenda(
            epochs=Periods(0.0, settings.slot_s * settings.epoch_slots),
            slots=Periods(0.0, settings.slot_s),
            share=counsel.deadline_slots["slot-agent"],
            deadline_slots=counsel.deadline_slots["planner"],
        )
        self._due: list[tuple[float, int, Due]] = []
        self._entered = 0
        self._ahead: Due | None = None
        """The dialogue about the epoch that comes, once it has ended."""
        self._epoch = -1
        self._arrived: Mapping[str, int] = {}
        self._learned: SlotDecision | None = None

    def appointments(self) -> list[float]:
        """Return the instants at which something will be due that were not returned before."""
        taken, self._appointments = self._appointments, []
        return taken

    def slot_begins(self, now_s: float, known: Known) -> None:
        """Have a plan for the epoch that `now_s` is in, before its first slot is decided."""
        self.guide, self.ladder, self.llm = None, (), "asked"
        self._look_out(now_s)
        epoch = self._agenda.epochs.at(now_s)
        if epoch == self._epoch:
            return
        first, self._epoch = self._epoch < 0, epoch
        answered = self._ahead if self._ahead is not None and self._ahead.number == epoch else None
        self._ahead = None
        self._decide(self._asked(epoch, now_s, known), answered, publish=True)
        if first:
            self._enter(self._agenda.beside_at_s(now_s), Due("ask", epoch))
        self._enter(self._agenda.ahead_at_s(epoch + 1), Due("ask", epoch + 1))

    def slot_decided(self, given: SlotInput, decision: SlotDecision) -> None:
        """Ask about a slot that has just been decided."""
        self._learned = decision
        if "slot-agent" not in self._counsel.agents:
            return
        deadline_s = self._counsel.deadline_slots["slot-agent"] * self._agenda.slots.length_s
        self._hold("slot-agent", given, Due("slot", given.slot), deadline_s)

    def wake(self, now_s: float) -> None:
        """Ask about the running epoch at once, if the answer comes before the question about the next."""
        epoch = self._agenda.epochs.at(now_s)
        if self._agenda.fits(now_s, self._agenda.ahead_at_s(epoch + 1)):
            self._enter(now_s, Due("ask", epoch))

    def attend(self, now_s: float, known: Known) -> Literal["event", "advice"] | None:
        """Do the first thing that is due; return what the slot agent has to decide now, if anything."""
        if not self._due or self._due[0][0] > now_s:
            return None
        due = heapq.heappop(self._due)[2]
        match due.what:
            case "ask":
                self._ask_plan(due.number, now_s, known)
                return None
            case "plan":
                return "event" if self._plan_answered(due, now_s, known) else None
            case "slot":
                return "advice" if self._slot_answered(due, now_s) else None
            case _:
                assert_never(due.what)

    def _ask_plan(self, epoch: int, now_s: float, known: Known) -> None:
        asked = self._asked(epoch, now_s, known)
        asked = asked.model_copy(update={"llm": "asked", "publish": epoch > self._agenda.epochs.at(now_s)})
        self._hold("planner", asked, Due("plan", epoch), self._agenda.deadline_for_s)

    def _plan_answered(self, due: Due, now_s: float, known: Known) -> bool:
        """Keep a plan for the epoch that comes, or put it in force in place of the running one; True if one is now."""
        if due.number > self._agenda.epochs.at(now_s):
            self._ahead = due
            return False
        before = self.plan
        self._decide(self._asked(due.number, now_s, known), due, publish=False)
        return self.plan is not before

    def _slot_answered(self, due: Due, now_s: float) -> bool:
        """Take what a dialogue about a slot has brought; False if the slot is over."""
        if self._agenda.slots.at(now_s) != due.number:
            return False
        self.guide = due.proposal if isinstance(due.proposal, Guide) else None
        self.ladder, self.llm = due.steps, "answered"
        return True

    def _asked(self, epoch: int, now_s: float, known: Known) -> EpochInput:
        generation = self.plan.generation + 1 if self.plan is not None else 1
        learned = self._learned
        return EpochInput(
            epoch=epoch,
            now_s=now_s,
            seed=self._run.seed,
            settings=self._run.settings,
            cluster=self._run.cluster,
            snapshot=known.since(self._arrived),
            parent=self.plan,
            next_plan=generation,
            decision=f"epoch-{generation}",
            rates=learned.state.rates if learned is not None else (),
            prices=learned.prices if learned is not None else (),
            begins_at_s=self._agenda.epochs.begins_at_s(epoch),
            placement=known.placement,
            overrides=known.overrides,
            notes=self._noted(epoch, now_s),
            recent=self._foreseeing.recent if self._foreseeing is not None else (),
            forecast=self._foreseeing.forecast(now_s) if self._foreseeing is not None else None,
        )

    def _look_out(self, now_s: float) -> None:
        """Have the forecast recognise what operators have said once it comes true."""
        if self._foreseeing is not None and self._run.notes:
            rates = self._learned.state.rates if self._learned is not None else ()
            self._foreseeing.foresight.expect(self._watch.active(self._run.notes, rates, now_s))

    def _noted(self, epoch: int, now_s: float) -> tuple[Note, ...]:
        """Return what operators have said by now of the time of an epoch."""
        periods = self._agenda.epochs
        said = [note for note in self._run.notes if note.created_at_s <= now_s]
        return touching(said, periods.begins_at_s(epoch), periods.begins_at_s(epoch + 1))

    def _decide(self, given: EpochInput, answered: Due | None, *, publish: bool) -> None:
        update: dict[str, object] = {"publish": publish}
        if answered is not None:
            draft = answered.proposal if isinstance(answered.proposal, PlanDraft) else None
            update |= {"draft": draft, "ladder": answered.steps, "llm": "answered"}
        given = given.model_copy(update=update)
        decision = decide_epoch(given)
        if decision.plan is not None:
            self.plan = decision.plan
        if publish:
            self._arrived = totals(given.snapshot, counted=True)

    def _hold(self, agent: AgentName, asked: SlotInput | EpochInput, due: Due, deadline_s: float) -> None:
        counsel, now_s = self._counsel, asked.now_s
        cases = counsel.cases if agent == "planner" else ()
        settings = DialogueSettings(
            deadline_s=deadline_s,
            sampling=counsel.sampling[agent],
            llm=counsel.llm,
            proposals=counsel.proposals if agent == "planner" else 1,
        )
        briefing = Briefing(asked, counsel.prompts[agent], settings, cases, tuple(1.0 for _ in cases))
        conversation = Conversation(f"{agent}-{due.number}-{round(now_s * 1000)}", advise(briefing), deadline_s)
        took_s = 0.0
        while True:
            if (ask := conversation.ask) is not None:
                conversation.answered(ask, counsel.ask(ask, conversation.name, conversation.left_s))
            elif (judge := conversation.judge) is not None:
                conversation.judged(counsel.arbiter(asked, judge, self._run.fresh))
                took_s += self._run.settings.gate.judging_s
            else:
                break
        held = conversation.held()
        proposal, steps = settled(held.advice, counsel.mode, None, in_time=True)
        took_s += deadline_s - conversation.left_s
        self.spoken.append(Spoken(agent, now_s, took_s, held, steps, proposal is not None))
        self._enter(now_s + took_s, Due(due.what, due.number, proposal, steps))

    def _enter(self, at_s: float, due: Due) -> None:
        self._entered += 1
        heapq.heappush(self._due, (at_s, self._entered, due))
        self._appointments.append(at_s)


@dataclass(frozen=True, slots=True)
class TalkFigures:
    """What the dialogues of a run came to."""

    dialogues: int
    acting: int
    """Dialogues whose proposal could act."""
    questions: int
    unanswered: int
    """Questions without a reply: late, refused, broken off."""
    malformed: int
    """Replies that were no proposal: not JSON, outside of the schema, or infeasible."""
    judged: int
    """Proposals that passed all other gates and were judged by the twin."""
    worse: int
    """Of these, those that it did not find no worse."""
    tokens: int
    money: float
    took_s: float
    """Virtual seconds of all dialogues together."""


MALFORMED = ("parse", "schema", "feasibility")
"""Rungs of the ladder that a reply must pass to be a proposal at all."""


def talk_figures(spoken: Sequence[Spoken]) -> TalkFigures:
    """Return what dialogues came to."""
    answers = [exchange.answer for one in spoken for exchange in one.held.exchanges]
    steps = [step for one in spoken for step in one.held.advice.steps]
    verdicts = [verdict for one in spoken for verdict in one.held.judgements]
    return TalkFigures(
        dialogues=len(spoken),
        acting=sum(one.acts for one in spoken),
        questions=len(answers),
        unanswered=sum(one.code != "ok" for one in answers),
        malformed=sum(step.name in MALFORMED and not step.ok for step in steps),
        judged=len(verdicts),
        worse=sum(one.code != "no-worse" for one in verdicts),
        tokens=sum(one.prompt_tokens + one.reply_tokens for one in answers),
        money=sum(one.money for one in answers),
        took_s=sum(one.took_s for one in spoken),
    )
