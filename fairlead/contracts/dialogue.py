"""A dialogue with a language model: what is asked, what is answered, and what the journal keeps of it."""

from typing import Annotated, Literal

from pydantic import Field

from fairlead.contracts.base import Count, Instant, Many, Message, Name, Positive, Seconds, Text

AgentName = Literal["planner", "slot-agent"]
ModeName = Literal["auto", "assist", "shadow", "off"]

ReplyName = Literal["PlannerReply", "SlotReply", "GoalReply"]
"""What is to be answered: messages of `contracts.replies`."""

REPLY_CHARS = 65_536
"""A longer reply is not read to its end: 16 times what the largest valid one takes."""


class PromptText(Message):
    """A prompt as its file gives it: text with named places, the constant part first."""

    id: Name
    """`planner`, `slot` or `goal`."""
    version: Annotated[int, Field(ge=1)]
    system: str
    """The constant part."""
    user: str
    """The part that changes, with `{places}`."""
    repair: str
    """What is said when the first reply was not valid; `{fault}` is the validator's message in our own words."""


class Sampling(Message):
    """How a model shall choose its words."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """0 takes the likeliest word: the same question gives the same answer where the server allows it."""
    reply_tokens: Annotated[int, Field(ge=16, le=32_768)] = 1200
    """Limit of a reply."""


class Ask(Message):
    """One question in full; equal questions have equal JSON."""

    agent: AgentName
    prompt: Name
    """Id and version, such as `slot/1`."""
    turn: Literal["first", "repair", "another"]
    """`another` is a further proposal for the twin to choose from."""
    system: str
    user: str
    reply: ReplyName
    reply_schema: str
    """JSON Schema of the reply with the aliases that may stand in it, canonical JSON."""
    sampling: Sampling


AnswerCode = Literal[
    "ok",
    "late",
    "unreachable",
    "reset",
    "busy",
    "refused",
    "server-error",
    "not-openai",
    "empty",
    "too-long",
    "budget-tokens",
    "budget-money",
    "breaker-open",
    "diverged",
    "no-endpoint",
]
"""How a question was answered: `late` past its deadline; `unreachable` no connection; `reset` broken off; `busy` 429;
`refused` another 4xx; `server-error` 5xx; `not-openai` not that shape or content type; `diverged` not in the recorded
file; `budget-*` and `breaker-open` were not asked at all."""


class Answer(Message):
    """What came of a question; a failure is an answer too."""

    code: AnswerCode
    text: Annotated[str, Field(max_length=REPLY_CHARS)] | None
    """The raw reply; None unless `ok`."""
    endpoint: Text
    """Address without credentials; empty where none was asked."""
    model: Text
    style: Literal["schema", "json", "text"] | None
    """How the endpoint was asked for JSON; None where none was asked."""
    attempts: Count
    """Requests sent, over all endpoints."""
    took_s: Seconds
    """Wall seconds from the question to this answer, measured; given to the dialogue, which may not look at a clock."""
    prompt_tokens: Count
    reply_tokens: Count
    """As the server counted them; where it has not said, what was reserved."""
    money: Seconds
    """At the endpoint's prices, in their currency."""
    detail: Text = ""
    """What a person should know of a failure, such as the server's own words without the key; never in a prompt."""


class Judge(Message):
    """Asks the twin whether a proposal is no worse than the fallback."""

    agent: AgentName
    proposal: str
    """Canonical JSON of the `PlanDraft` or `Guide`."""
    others: Many[str] = ()
    """Further candidates, as `proposal`: other replies, or the code's variations of one."""


class Trial(Message):
    """What the twin says of one candidate, against the fallback on the same demand."""

    name: Name
    """`proposal`, `other-1`, …"""
    believed: bool
    """Whether the demand was as the proposal expects it; False is as the forecast has it."""
    scenarios: Count
    """Demands that it was played on."""
    objective: Seconds
    """F (CONTROL §1), mean."""
    fallback: Seconds
    """F of the fallback on the same demands."""
    gain: float
    """F(fallback) − F(candidate), mean; positive is better."""
    low: float
    high: float
    """95 % interval of `gain`, corrected for the number of candidates."""
    latency_s: Seconds | None = None
    """Mean latency (CONTROL §1) of the candidate on those demands; None where it is not said."""
    fallback_latency_s: Seconds | None = None
    """Of the fallback."""


class Judgement(Message):
    """The twin's answer."""

    code: Literal["not-judged", "no-worse", "worse", "late", "absent", "wrong", "no-time"]
    """`not-judged`: there is no twin, or no demand to play; `late`: it took too long; `no-time`: it would, even with
    the least that says anything; `absent`: it failed or is not ready; `wrong`: its measured error is above its bound. A
    proposal may act after `no-worse` alone."""
    text: Text
    chosen: Name = "proposal"
    """The best of those that are no worse; of no meaning with any other code."""
    trials: Many[Trial] = ()
    """The best first."""
    horizon_s: Seconds = 0.0
    """So far ahead every candidate was played."""
    took_s: Seconds = 0.0
    """Wall seconds, measured by whoever asked the twin; 0 in virtual time."""
    twin: Text = ""
    """Which engine and version."""


class Exchange(Message):
    """A question and its answer, as the journal keeps them."""

    id: Name
    """Sent along as `x-fairlead-ask`, so that a server's log can be joined with the journal."""
    ask: Ask
    answer: Answer


class Approval(Message):
    """What a person said of an assisted proposal."""

    answer: Literal["approved", "declined", "expired"]
    by: Text
    at_s: Seconds


class Proposal(Message):
    """An assisted proposal that waits for a person."""

    id: Name
    agent: AgentName
    created_at_s: Seconds
    expires_at_s: Seconds
    """End of the slot, or of the epoch, that it is for."""
    content: str
    """Canonical JSON of the `PlanDraft` or `Guide`."""
    why: Annotated[str, Field(max_length=280)]
    changes: Many[Text]
    """What it would change against the fallback, in words."""
    approval: Approval | None = None
    revision: Annotated[int, Field(ge=0)] = 0


class EndpointStatus(Message):
    """An endpoint as an agent sees it."""

    url: Text
    model: Text
    style: Literal["schema", "json", "text"] | None
    breaker: Literal["closed", "open", "half-open"]
    last_code: AnswerCode | None


class GateStatus(Message):
    """The twin that judges an agent's proposals, as that agent sees it since its process began."""

    state: Literal["idle", "starting", "ready", "away"]
    """`idle`: nothing was to be judged yet; `starting`: its process begins; `away`: it ended, and is started again."""
    text: Text = ""
    """Why it is away; how long it took to begin."""
    twin: Text = ""
    """Which engine and version; empty before it was ready."""
    no_worse: Count = 0
    """Judgements, by code."""
    worse: Count = 0
    unjudged: Count = 0
    """Late, absent, wrong, without time or not judged: the fallback acted without a verdict."""
    seconds: Seconds = 0.0
    """Wall seconds waited for judgements."""
    memory_bytes: Count = 0
    """Resident memory of its process when it last answered."""
    starts: Count = 0
    """Times that its process was started."""
    error: Seconds | None = None
    """Mean relative error of the mean latency, newest predictions, over restarts; None while too few are known."""


class Worth(Message):
    """What an agent's proposals are worth, as the twin judged them: those that may act, by their gain in F."""

    dialogues: Count
    """Held with this model and prompt, whatever came of them, over restarts; older ones count for half."""
    gain: float
    """Mean a dialogue, of F: of what passed the gates its gain, 0 where the fallback would act or acts."""
    low: float | None = None
    high: float | None = None
    """95 % interval of `gain`, with what dialogues that follow one another have in common; None while too few."""
    tokens: Seconds = 0.0
    """Mean a dialogue."""
    money: Seconds = 0.0
    """Mean a dialogue."""
    advice: Literal["none", "promote", "demote"] = "none"
    """`promote`: it surely gains and does not act by itself yet; `demote`: it surely loses."""
    text: Text = ""
    """Why."""


class WatchdogStatus(Message):
    """What watches a proposal after it was accepted."""

    holds: bool
    """Whether the fallback acts because of it."""
    until_s: Instant = 0.0
    """Until then, domain time."""
    text: Text = ""
    """What it last saw out of bounds."""
    trips: Count = 0
    """All that there were, over restarts."""


class AgentStatus(Message):
    """What an agent says of itself and its language model, each time a dialogue ends."""

    agent: AgentName
    mode: ModeName
    at_s: Seconds
    """Domain time."""
    llm: Text
    """`none`, or what was configured, without credentials."""
    endpoints: Many[EndpointStatus]
    asks: Count
    dialogues: Count
    accepted: Count
    """Dialogues whose proposal passed all gates, since the process began."""
    fallbacks: Count
    """Dialogues that ended on the fallback."""
    prompt_tokens: Count
    reply_tokens: Count
    money: Seconds
    seconds: Seconds
    """Wall seconds spent waiting for answers."""
    acting: Literal["llm", "fallback"]
    why: Text
    """Why it is the fallback that acts, such as `budget-tokens: 9800 of 10000 tokens an hour are spent`."""
    gate: GateStatus | None = None
    """None where there is nothing to judge, so too the next two."""
    worth: Worth | None = None
    watchdog: WatchdogStatus | None = None


class BudgetLimits(Message):
    """What may be spent in wall time; None is without limit."""

    tokens_per_hour: Count | None = None
    tokens_per_day: Count | None = None
    money_per_hour: Seconds | None = None
    money_per_day: Seconds | None = None


class BudgetSpent(Message):
    """What was spent or is reserved, over all agents: sliding windows, whole minutes, never less than it was."""

    tokens_hour: Count
    tokens_day: Count
    money_hour: Seconds
    money_day: Seconds


class BudgetLeft(Message):
    """What may still be spent; None is without limit."""

    tokens_hour: Count | None
    tokens_day: Count | None
    money_hour: Seconds | None
    money_day: Seconds | None


class Budget(Message):
    """What the agents may spend together, have spent, and have left."""

    limits: BudgetLimits
    spent: BudgetSpent
    left: BudgetLeft


class AgentView(Message):
    """An agent as the control API shows it, also one that has said nothing yet."""

    agent: AgentName
    mode: ModeName
    """In force now; `status.mode` is that of its last dialogue."""
    mode_by: Text
    """Who set it."""
    mode_at_s: Seconds
    """When, domain time; 0 where nobody has."""
    acting: Literal["llm", "fallback"]
    why: Text
    """Why it is the fallback that acts."""
    status: AgentStatus | None


class Agents(Message):
    """All agents, and the budget that they share."""

    items: Many[AgentView]
    budget: Budget


class Refusal(Message):
    """Why nothing was reserved."""

    code: Literal["budget-tokens", "budget-money"]
    text: Text


class CaseShown(Message):
    """A case as a prompt showed it."""

    alias: Name
    case: Name
    similarity: Annotated[float, Field(ge=0, le=1)]


class DialogueSettings(Message):
    """What a dialogue may take."""

    deadline_s: Positive
    """Wall seconds for all its answers together."""
    sampling: Sampling
    llm: Text = ""
    """What was configured."""
    proposals: Annotated[int, Field(ge=1, le=16)] = 1
    """So many are asked for, one after the other while time lasts; the twin chooses."""
