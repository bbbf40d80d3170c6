"""An agent's dialogue with its language model, beside the loop that goes on without it (DESIGN §4)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from fairlead.adapters.outage import Outage, describe
from fairlead.agents.advice import Question, Recall, Recalled, Settled, Stance, Talk
from fairlead.agents.approving import Desk
from fairlead.agents.bounded import Bounded
from fairlead.agents.following import Follower
from fairlead.agents.goal_reading import GoalReader
from fairlead.agents.metrics import DialogueMetrics
from fairlead.agents.outcome import outcome_of, why_of
from fairlead.agents.status import StatusKeeper
from fairlead.agents.waiting import Insisting
from fairlead.contracts.decisions import Dialogue, EpochInput, Step
from fairlead.contracts.dialogue import (
    AgentName,
    Approval,
    DialogueSettings,
    GateStatus,
    Judge,
    Judgement,
    ModeName,
    PromptText,
    Proposal,
    Sampling,
)
from fairlead.contracts.errors import Unavailable
from fairlead.contracts.plans import Source
from fairlead.contracts.ports import Clock, Judging, Llm, Store
from fairlead.contracts.settings import LlmSettings
from fairlead.policy.dialogue import Briefing, Held, advise, hold, settled


@dataclass(frozen=True, slots=True)
class Counsel:
    """Whom an agent asks, and how."""

    agent: AgentName
    llm: Llm
    prompt: PromptText
    sampling: Sampling
    configured: str
    """What language model, without credentials."""
    origin_s: float
    """Of the clock: dialogues are numbered by the time since."""
    judging: Judging
    """The twin that what is proposed has to pass."""
    judging_s: float
    """Wall seconds that it may take beyond the deadline of the answers."""
    follower: Follower
    """What watches what was accepted."""
    proposals: int = 1
    """So many are asked for in a dialogue; see `DialogueSettings`."""
    reader: GoalReader | None = None
    """Reads goals in words beside the dialogues; the planner's alone."""


def sampling(settings: LlmSettings, agent: AgentName) -> Sampling:
    """Return how an agent's model chooses its words."""
    limit = settings.planner_reply_tokens if agent == "planner" else settings.slot_reply_tokens
    return Sampling(temperature=settings.temperature, reply_tokens=limit)


class Advisor:
    """The port `Advising` with a language model; no dialogue raises out of `hold`, the fallback acts then."""

    def __init__(
        self, counsel: Counsel, store: Store, clock: Clock, status: StatusKeeper, metrics: DialogueMetrics
    ) -> None:
        self._counsel = counsel
        self._llm = Bounded(counsel.llm, clock)
        self._store = store
        self._clock = clock
        self._status = status
        status.gate, status.worth, status.watchdog = self._gate, counsel.follower.worth, counsel.follower.status
        self._metrics = metrics
        self._bells: set[asyncio.Event] = set()
        """One for each proposal that waits for a person."""
        self._asking = 0
        outage = Outage("asking the store during a dialogue", clock, metrics.failures("store"))
        self._insisting = Insisting(outage, status.timeout_s)
        self._desk = Desk(store, clock, self._insisting)
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def stance(self) -> Stance:
        """Return whether the model would be asked now. Raises `StoreUnavailable`."""
        if self._asking:
            return "busy"
        return "off" if await self.mode() == "off" else "asked"

    async def mode(self) -> ModeName:
        """Return who may act now. Raises `StoreUnavailable`."""
        mode = await self._set_mode()
        return "shadow" if mode in ("auto", "assist") and self.held_back() else mode

    async def _set_mode(self) -> ModeName:
        return (await self._store.mode(self._counsel.agent)).mode

    def held_back(self) -> str:
        """Return why the watchdog lets nothing act now."""
        return self._counsel.follower.held_back()

    def heed(self, bell: Callable[[], None]) -> None:
        """Ring this when the watchdog begins or ends to hold."""
        self._counsel.follower.heed(bell)

    async def hold(self, question: Question, recall: Recall) -> Talk | None:
        """Hold a dialogue and wait for a person where one is to approve; None if that failed, which was counted."""
        self._asking += 1
        self._counsel.judging.wanted()
        try:
            try:
                briefing = await self._briefed(question, recall)
                name = self._name(question)

                until_s = self._clock.wall_s() + question.deadline_s + self._counsel.judging_s

                async def judged(judge: Judge) -> Judgement:
                    return await self._judgement(question, judge, until_s)

                held = await hold(name, advise(briefing), self._llm, question.deadline_s, judged)
            finally:
                self._asking -= 1
            for exchange in held.exchanges:
                self._metrics.answered(exchange)
                self._status.tally.answered(exchange)
            return await self._permitted(name, question, briefing, held)
        except Exception as error:  # the top of a dialogue
            self._metrics.failures("dialogue").inc()
            self._log.error("a dialogue failed: the fallback acts", error=describe(error), exc_info=error)
            self._status.tally.acting = "fallback"
            self._status.tally.why = f"a dialogue failed: {describe(error)}"
            self._status.news.set()
            return None

    async def _briefed(self, question: Question, recall: Recall) -> Briefing:
        cases, similarities = await self._recalled(question, recall)
        counsel = self._counsel
        settings = DialogueSettings(
            deadline_s=question.deadline_s,
            sampling=counsel.sampling,
            llm=counsel.configured,
            proposals=counsel.proposals,
        )
        return Briefing(question.asked, counsel.prompt, settings, cases, similarities)

    async def _recalled(self, question: Question, recall: Recall) -> Recalled:
        """Return remembered cases; none where the store is away: a question without cases is still one."""
        if not isinstance(question.asked, EpochInput):
            return (), ()
        try:
            async with asyncio.timeout(self._insisting.timeout_s):
                return await recall(question.asked)
        except (Unavailable, TimeoutError) as error:
            self._metrics.failures("store").inc()
            self._log.warning("no case was recalled: asking without", error=describe(error))
            return (), ()

    def _name(self, question: Question) -> str:
        """Return a dialogue's id: its slot or epoch, and the domain's milliseconds at which it was asked."""
        asked = question.asked
        period = asked.epoch if isinstance(asked, EpochInput) else asked.slot
        return f"{self._counsel.agent}-{period}-{round((self._clock.now_s() - self._counsel.origin_s) * 1000)}"

    def _gate(self) -> GateStatus:
        """Return how the twin is, and how far its predictions were off."""
        return self._counsel.judging.status().model_copy(update={"error": self._counsel.follower.error.error})

    async def _judgement(self, question: Question, judge: Judge, until_s: float) -> Judgement:
        """Return what the twin says of a proposal, while that is of use; one too often wrong is not believed."""
        counsel = self._counsel
        left_s = (question.ends_at_s - self._clock.now_s()) / self._clock.speed
        left_s = min(left_s, until_s - self._clock.wall_s())
        return counsel.follower.error.doubted(await counsel.judging.judge(question.asked, judge, deadline_s=left_s))

    async def _permitted(self, name: str, question: Question, briefing: Briefing, held: Held) -> Talk:
        """Return a dialogue with the mode as it stands now, and with a person's answer where that mode asks for it."""
        mode = await self._insisting.got(self._set_mode)
        approval = None
        if mode == "assist" and not self.held_back():
            mode, approval = await self._approved(name, question, held)
        if held.advice.cited:
            await self._insisting.got(lambda: self._store.cite_cases(held.advice.cited))

        def settle(in_time: bool) -> Settled:
            held_back = self.held_back()
            proposal, steps = settled(held.advice, mode, approval, in_time, held_back)
            dialogue = Dialogue(
                id=name,
                asked=question.asked,
                settings=briefing.settings,
                prompt=f"{briefing.prompt.id}/{briefing.prompt.version}",
                cases=briefing.cases,
                shown=held.advice.shown,
                exchanges=held.exchanges,
                judgements=held.judgements,
                mode=mode,
                approval=approval,
                in_time=in_time,
                held_back=held_back,
                unused=held.advice.proposal if proposal is None else None,
            )
            return Settled(proposal, steps, dialogue, held.advice.proposal is not None, held.advice.cited)

        return Talk(name, question, settle)

    async def _approved(self, name: str, question: Question, held: Held) -> tuple[ModeName, Approval | None]:
        """Leave what was proposed for a person; return the mode by the time that somebody or nobody has answered."""
        proposal = held.advice.proposal
        if proposal is None:
            return "assist", None
        left = Proposal(
            id=name,
            agent=self._counsel.agent,
            created_at_s=self._clock.now_s(),
            expires_at_s=question.ends_at_s,
            content=proposal.to_json(),
            why=proposal.why,
            changes=held.advice.changes,
        )
        bell = asyncio.Event()
        self._bells.add(bell)
        try:
            return await self._desk.answered(left, bell)
        finally:
            self._bells.discard(bell)

    def concluded(self, ended: Settled, source: Source, steps: tuple[Step, ...]) -> None:
        """Count a dialogue once what came of it is journaled: whose decision that was, and its whole ladder."""
        outcome = outcome_of(ended, source)
        self._metrics.concluded(outcome, steps)
        acts = outcome == "accepted"
        self._counsel.follower.concluded(ended, acts=acts)
        tally = self._status.tally
        tally.dialogues += 1
        tally.accepted += ended.passed
        tally.fallbacks += not acts
        tally.acting = "llm" if acts else "fallback"
        tally.why = "" if acts else why_of(steps)
        self._status.news.set()

    def noticed(self) -> None:
        """Look again at proposals and at the mode."""
        for bell in self._bells:
            bell.set()
        self._status.news.set()

    async def run(self) -> None:
        """Keep the agent's status, its twin and its watchdog until cancelled."""
        self.heed(self.noticed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._status.run(), name=f"{self._counsel.agent}: status")
            tasks.create_task(self._counsel.judging.run(), name=f"{self._counsel.agent}: twin")
            tasks.create_task(self._counsel.follower.run(), name=f"{self._counsel.agent}: watchdog")
            if self._counsel.reader is not None:
                tasks.create_task(self._counsel.reader.run(), name=f"{self._counsel.agent}: goals")
