"""A dialogue with a language model: a question, the gates for what it answers, one repair, and who acts in the end.

It is a generator, the same live, in tests and at replay: it yields `Ask` (a model) or `Judge` (the twin), is sent the
answer, and returns an `Advice`. Whoever drives it brings clock and network; it has neither (DESIGN §3).
"""

from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, replace

from fairlead.contracts.cases import Case
from fairlead.contracts.decisions import EpochInput, SlotInput, Step
from fairlead.contracts.dialogue import (
    Answer,
    Approval,
    Ask,
    CaseShown,
    DialogueSettings,
    Exchange,
    Judge,
    Judgement,
    ModeName,
    PromptText,
)
from fairlead.contracts.plans import Guide, PlanDraft
from fairlead.contracts.ports import Llm
from fairlead.policy.differences import guide_changes, plan_changes
from fairlead.policy.ladder import FALLBACK, barred
from fairlead.policy.planner_gate import meant
from fairlead.policy.questions import Question, another_question, planner_question, repair_question, slot_question
from fairlead.policy.registry import decide_slot
from fairlead.policy.variations import halfway, varied
from fairlead.policy.weighing import Found, PlanTopic, RouteTopic, weighed

NOT_JUDGED = Judgement(code="not-judged", text="there is no twin yet")
"""What is said in the place of the twin; nothing acts then."""

PROPOSAL = "proposal"
"""The twin's name for what the model proposed; further candidates are `other-1`, `other-2`, …"""

TEXT_CHARS = 256
"""Length of a step's text."""

Talk = Generator[Ask | Judge, Answer | Judgement, "Advice"]


@dataclass(frozen=True, slots=True)
class Briefing:
    """All that a dialogue depends on."""

    asked: SlotInput | EpochInput
    """What is known when it begins."""
    prompt: PromptText
    settings: DialogueSettings
    cases: tuple[Case, ...]
    """Remembered ones, the most useful first; empty for the slot agent."""
    similarities: tuple[float, ...]
    """Of each case, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What came of a dialogue."""

    proposal: Guide | PlanDraft | None
    """What has passed all gates, if anything has."""
    steps: tuple[Step, ...]
    shown: tuple[CaseShown, ...]
    cited: tuple[str, ...]
    """Ids of the cases that what was proposed says it rests on."""
    changes: tuple[str, ...]
    """What was proposed would change this against the fallback: words for a person."""


@dataclass(frozen=True, slots=True)
class Held:
    """A dialogue with all that was said in it."""

    advice: Advice
    exchanges: tuple[Exchange, ...]
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True, slots=True)
class Opening:
    """A question, and what its answer is weighed against."""

    briefing: Briefing
    question: Question
    about: PlanTopic | RouteTopic


def advise(briefing: Briefing) -> Talk:
    """Hold a dialogue; where there is nothing to decide about, nobody is asked."""
    opening = opened(briefing)
    if isinstance(opening, Step):
        return Advice(None, (opening,), (), (), ())
    return (yield from discuss(opening))


def opened(briefing: Briefing) -> Opening | Step:
    """Return the question of a dialogue, or why there is nothing to ask about."""
    asked, prompt, sampling = briefing.asked, briefing.prompt, briefing.settings.sampling
    if not asked.cluster.nodes or not asked.cluster.models:
        return Step(name="absent", ok=False, code="no-cluster", text="there are no nodes, or no models")
    if isinstance(asked, EpochInput):
        question = planner_question(asked, prompt, briefing.cases, briefing.similarities, sampling)
        return Opening(briefing, question, PlanTopic(asked, meant(question.aliases, briefing.cases)))
    plain = asked.model_copy(update={"guide": None, "ladder": ()})
    fallback = decide_slot(plain)
    if fallback.table is None:  # an event that changes nothing
        fallback = decide_slot(plain.model_copy(update={"trigger": "advice"}))
    if fallback.table is None or not fallback.table.rows:
        return Step(name="absent", ok=False, code="no-pods", text="no model has a pod that requests could go to")
    question = slot_question(asked, fallback, prompt, sampling)
    return Opening(briefing, question, RouteTopic(fallback.table, question.aliases, asked.settings))


def discuss(opening: Opening) -> Talk:
    """Ask, weigh the answer, have it repaired once where that is possible in time, have the twin judge what is left."""
    question, settings = opening.question, opening.briefing.settings
    answer = yield from _asked(question.ask)
    result, left_s = weighed(opening.about, answer), settings.deadline_s - answer.took_s
    steps = result.steps
    if result.fault is not None:
        if answer.took_s > left_s:
            text = f"the first answer took {answer.took_s:.2f} of {settings.deadline_s:.2f} s"
            steps = (*steps, Step(name="repair", ok=False, code="no-time", text=text))
        else:
            steps = (*steps, Step(name="repair", ok=True, code="asked", text=result.fault.said))
            again = repair_question(question, opening.briefing.prompt, answer.text or "", result.fault.said)
            answer = yield from _asked(again.ask)
            result, left_s = weighed(opening.about, answer), left_s - answer.took_s
            steps = (*steps, *result.steps)
    if result.found is None:
        return Advice(None, steps, question.shown, (), ())
    others = yield from _others(opening, result.found, answer.took_s, left_s)
    return (yield from _verdict(opening, (result.found, *others), steps))


def _others(
    opening: Opening, first: Found, took_s: float, left_s: float
) -> Generator[Ask | Judge, Answer | Judgement, list[Found]]:
    """Return what the twin tries beside a proposal: further ones of the model in the time that is left, and variations.

    What is no proposal, or not another one, is passed over.
    """
    briefing, found = opening.briefing, list[Found]()
    for number in range(2, briefing.settings.proposals + 1):
        if took_s > left_s:
            break
        answer = yield from _asked(another_question(opening.question, number).ask)
        took_s, left_s = max(took_s, answer.took_s), left_s - answer.took_s
        other = weighed(opening.about, answer).found
        if other is not None:
            found.append(other)
    if briefing.asked.settings.gate.variations:
        found += _varied(first, opening)
    return found


def _varied(first: Found, opening: Opening) -> list[Found]:
    """Return the code's own variations of a proposal."""
    cluster, about = opening.briefing.asked.cluster, opening.about
    if isinstance(first.proposal, PlanDraft):
        return [
            replace(first, proposal=one.draft, trust=one.words, changes=plan_changes(one.draft, cluster))
            for one in varied(first.proposal)
        ]
    assert isinstance(about, RouteTopic)  # rows are proposed where rows were asked for
    if not first.changes:
        return []
    milder = halfway(first.proposal, about.table)
    changes = guide_changes(milder, about.table)
    return [replace(first, proposal=milder, trust="half-way to the fallback's rows", changes=changes)]


def _verdict(opening: Opening, found: Sequence[Found], steps: tuple[Step, ...]) -> Talk:
    """Have the twin judge the proposals, the first of them the model's first; return what came of the dialogue."""
    question = opening.question
    first, *others = (one.proposal.to_json() for one in found)
    judgement = yield from _judged(Judge(agent=question.ask.agent, proposal=first, others=tuple(others)))
    good = judgement.code == "no-worse"
    chosen, text = found[0], judgement.text
    if good and judgement.chosen != PROPOSAL:
        chosen = {f"other-{k}": one for k, one in enumerate(found)}[judgement.chosen]
        text = f"{chosen.trust}; {text}"[:TEXT_CHARS]
    steps = (*steps, Step(name="twin", ok=good, code=judgement.code, text=text))
    return Advice(chosen.proposal if good else None, steps, question.shown, chosen.cited, chosen.changes)


def _asked(ask: Ask) -> Generator[Ask | Judge, Answer | Judgement, Answer]:
    answer = yield ask
    if isinstance(answer, Judgement):
        raise TypeError("a question was answered with a judgement: send an Answer")
    return answer


def _judged(judge: Judge) -> Generator[Ask | Judge, Answer | Judgement, Judgement]:
    judgement = yield judge
    if isinstance(judgement, Answer):
        raise TypeError("a proposal was judged with an answer: send a Judgement")
    return judgement


def said_next(talk: Talk, answer: Answer | Judgement | None) -> Ask | Judge | Advice:
    """Return what a dialogue says to an answer, or first to None: a question, or what came of it in the end."""
    try:
        return next(talk) if answer is None else talk.send(answer)
    except StopIteration as end:
        advice: Advice = end.value
        return advice


class Conversation:
    """A dialogue on its way: whoever drives it brings the answers and the judgements."""

    def __init__(self, dialogue_id: str, talk: Talk, deadline_s: float) -> None:
        """Begin it; all its answers together may take `deadline_s`."""
        self.left_s = deadline_s
        self._id = dialogue_id
        self._talk = talk
        self._exchanges: list[Exchange] = []
        self._judgements: list[Judgement] = []
        self._said = said_next(talk, None)

    @property
    def ask(self) -> Ask | None:
        """Return the question that is to be answered now; None if there is none."""
        return self._said if isinstance(self._said, Ask) else None

    @property
    def judge(self) -> Judge | None:
        """Return the proposal that is to be judged now; None if there is none. Without a question it has ended."""
        return self._said if isinstance(self._said, Judge) else None

    @property
    def name(self) -> str:
        """Return the id of that question."""
        return f"{self._id}.{len(self._exchanges) + 1}"

    def answered(self, ask: Ask, answer: Answer) -> None:
        """Go on with the answer to a question."""
        self._exchanges.append(Exchange(id=self.name, ask=ask, answer=answer))
        self.left_s = max(0.0, self.left_s - answer.took_s)
        self._said = said_next(self._talk, answer)

    def judged(self, judgement: Judgement) -> None:
        """Go on with the judgement of a proposal."""
        self._judgements.append(judgement)
        self._said = said_next(self._talk, judgement)

    def held(self) -> Held:
        """Return the whole of it; raises `TypeError` before its end."""
        if not isinstance(self._said, Advice):
            raise TypeError("a dialogue was taken for ended while a question is open")
        return Held(self._said, tuple(self._exchanges), tuple(self._judgements))


async def unjudged(_: Judge) -> Judgement:
    """Say that there is no twin."""
    return NOT_JUDGED


async def hold(
    dialogue_id: str,
    talk: Talk,
    llm: Llm,
    deadline_s: float,
    judged: Callable[[Judge], Awaitable[Judgement]] = unjudged,
) -> Held:
    """Hold a dialogue with a model within `deadline_s` wall seconds of answers; `judged` is the twin's side."""
    conversation = Conversation(dialogue_id, talk, deadline_s)
    while True:
        if (ask := conversation.ask) is not None:
            conversation.answered(ask, await llm.ask(ask, id=conversation.name, deadline_s=conversation.left_s))
        elif (judge := conversation.judge) is not None:
            conversation.judged(await judged(judge))
        else:
            return conversation.held()


def settled(
    advice: Advice, mode: ModeName, approval: Approval | None, in_time: bool, held_back: str = ""
) -> tuple[Guide | PlanDraft | None, tuple[Step, ...]]:
    """Return what of an advice may act, and the whole ladder: in its mode, approved where that is asked for, in time.

    `in_time` tells whether the slot or epoch that the advice is for is not over yet, `held_back` why the watchdog lets
    nothing act.
    """
    if advice.proposal is None:
        return None, (*advice.steps, FALLBACK)
    if held_back and mode in ("auto", "assist"):
        return None, (*advice.steps, barred(held_back), FALLBACK)
    last = _permission(mode, approval)
    if last.ok and not in_time:
        period = "slot" if isinstance(advice.proposal, Guide) else "epoch"
        last = Step(name="mode", ok=False, code=f"{period}-over", text=f"the {period} that it was for is over")
    if last.ok:
        return advice.proposal, (*advice.steps, last)
    return None, (*advice.steps, last, FALLBACK)


def _permission(mode: ModeName, approval: Approval | None) -> Step:
    """Return whether what has passed the gates may act."""
    if mode != "assist":
        texts = {"auto": "", "shadow": "it is judged and journaled, the fallback acts", "off": "switched off meanwhile"}
        return Step(name="mode", ok=mode == "auto", code=mode, text=texts[mode])
    if approval is None:
        return Step(name="approval", ok=False, code="expired", text="nobody has answered")
    text = f"by {approval.by}"
    return Step(name="approval", ok=approval.answer == "approved", code=approval.answer, text=text[:256])
