"""What planner and slot agent count alike: their loops, their dialogues with a model, what is left to spend."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fairlead.contracts.decisions import DecisionRecord, Step
from fairlead.contracts.dialogue import AgentName, BudgetLimits, BudgetSpent, Exchange, Judgement

DECISION_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds of a decision's wall seconds: 5 to 15 ms is usual at 7 nodes × 4 models, the database's time-out the most."""

ANSWER_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 18.0, 30.0, 60.0, 120.0)
"""Bounds of an answer's wall seconds: 0.6 of a slot of 30 s is 18 s, three slots for the planner are 90 s."""

JUDGED_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 9.0)
"""Bounds of a judgement's wall seconds: a second for 16 candidates of `city7`, 0.3 of a slot of 30 s is 9 s."""

MODELS_MOST = 16
"""Names of models that are told apart; further ones, which a server may make up, are counted as `other`."""


@dataclass(frozen=True, slots=True)
class LoopMetrics:
    """What every decider counts of its loop; each process declares them under names of its own."""

    decisions: Counter
    """By kind and source."""
    steps: Counter
    """By step and code."""
    seconds: Histogram
    """By kind."""
    conflicts: Counter
    failures: Counter
    watch_failures: Counter

    def published(self, record: DecisionRecord, took_s: float) -> None:
        """Count a decision that was journaled, `took_s` wall seconds after it was begun."""
        self.decisions.labels(record.kind, record.source).inc()
        self.seconds.labels(record.kind).observe(took_s)
        for step in record.output.steps:
            self.steps.labels(step.name, step.code).inc()


class DialogueMetrics:
    """What an agent counts of its dialogues with a language model."""

    def __init__(self, registry: CollectorRegistry, agent: AgentName) -> None:
        self._agent = agent
        self._models: set[str] = set()
        self._asks = Counter(
            "fairlead_llm_asks", "Questions to a language model", ["agent", "model", "code"], registry=registry
        )
        self._seconds = Histogram(
            "fairlead_llm_seconds",
            "Wall seconds from a question to its answer or failure",
            ["agent", "model"],
            buckets=ANSWER_SECONDS,
            registry=registry,
        )
        self._prompt_tokens = Counter(
            "fairlead_llm_prompt_tokens", "Tokens of prompts, as servers count", ["agent", "model"], registry=registry
        )
        self._reply_tokens = Counter(
            "fairlead_llm_reply_tokens", "Tokens of replies, as servers count", ["agent", "model"], registry=registry
        )
        self._money = Counter(
            "fairlead_llm_money", "Money for questions at the endpoints' prices", ["agent", "model"], registry=registry
        )
        self._steps = Counter(
            "fairlead_llm_steps", "Rungs of the ladder in dialogues", ["agent", "step", "code"], registry=registry
        )
        self._dialogues = Counter(
            "fairlead_llm_dialogues", "Dialogues that were decided on", ["agent", "outcome"], registry=registry
        )
        self._left = Gauge(
            "fairlead_llm_budget_left_tokens",
            "Tokens that all agents together may still spend, where there is a limit",
            ["window"],
            registry=registry,
        )
        self._judged = Counter(
            "fairlead_gate_judgements",
            "Proposals that the twin judged, or could not",
            ["agent", "code"],
            registry=registry,
        )
        self._judged_seconds = Histogram(
            "fairlead_gate_seconds",
            "Wall seconds from a proposal to the twin's judgement",
            ["agent"],
            buckets=JUDGED_SECONDS,
            registry=registry,
        )
        self._twin_memory = Gauge(
            "fairlead_gate_memory_bytes", "Resident memory of the twin's process", ["agent"], registry=registry
        )
        self._trips = Counter(
            "fairlead_watchdog_trips",
            "Times that something was out of bounds after a proposal was accepted",
            ["agent", "reason"],
            registry=registry,
        )
        self._failures = Counter(
            "fairlead_llm_failures",
            "Errors beside the loop, after which the fallback acts",
            ["agent", "place"],
            registry=registry,
        )

    def failures(self, place: str) -> Counter:
        """Return the counter of failures in `place`: `dialogue`, `store`, `status`, `watchdog`, `memory` or `goal`."""
        return self._failures.labels(self._agent, place)

    def answered(self, exchange: Exchange) -> None:
        """Count a question and its answer."""
        answer = exchange.answer
        labels = (self._agent, self._model(answer.model))
        self._asks.labels(*labels, answer.code).inc()
        self._seconds.labels(*labels).observe(answer.took_s)
        self._prompt_tokens.labels(*labels).inc(answer.prompt_tokens)
        self._reply_tokens.labels(*labels).inc(answer.reply_tokens)
        self._money.labels(*labels).inc(answer.money)

    def judged(self, judgement: Judgement) -> None:
        """Count a judgement."""
        self._judged.labels(self._agent, judgement.code).inc()
        self._judged_seconds.labels(self._agent).observe(judgement.took_s)

    def twin_memory(self, size: int) -> None:
        """Show what the twin's process takes, bytes."""
        self._twin_memory.labels(self._agent).set(size)

    def tripped(self, reason: str) -> None:
        """Count that the watchdog found something out of bounds."""
        self._trips.labels(self._agent, reason).inc()

    def concluded(self, outcome: str, steps: tuple[Step, ...]) -> None:
        """Count a dialogue and its ladder; `outcome` is one of `fairlead.agents.outcome`."""
        self._dialogues.labels(self._agent, outcome).inc()
        for step in steps:
            self._steps.labels(self._agent, step.name, step.code).inc()

    def budgeted(self, spent: BudgetSpent, limits: BudgetLimits) -> None:
        """Show what is left; nothing where there is no limit."""
        if limits.tokens_per_hour is not None:
            self._left.labels("hour").set(max(0, limits.tokens_per_hour - spent.tokens_hour))
        if limits.tokens_per_day is not None:
            self._left.labels("day").set(max(0, limits.tokens_per_day - spent.tokens_day))

    def _model(self, name: str) -> str:
        """Return the label of a model; `none` where none was asked."""
        if not name:
            return "none"
        if name not in self._models and len(self._models) >= MODELS_MOST:
            return "other"
        self._models.add(name)
        return name
