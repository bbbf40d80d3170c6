"""How well a language model answers the questions of planner and slot agent: `fairlead doctor --llm`.

Each is asked ten times about made-up situations, through the very dialogue that a run holds; nothing acts on it.
"""

import asyncio
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import typer

from fairlead_cli.shown import echo_table

if TYPE_CHECKING:
    from fairlead.contracts.dialogue import AgentName
    from fairlead.contracts.ports import Llm
    from fairlead.contracts.settings import Settings
    from fairlead.policy.dialogue import Briefing, Held

GIVE_UP = 3
"""After so many dialogues from the first on without any answer the others would tell no more."""

NO_BREAKER = 1_000_000
"""Failures in a row that no probe reaches: each question is asked, whatever became of the one before."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Where replies failed, and how often."""

    step: str
    code: str
    count: int
    example: str
    """What was said of the first."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of asking for one type of reply."""

    agent: str
    reply: str
    model: str
    style: str
    """How it was asked for JSON: `schema`, `json`, `text`; empty where nothing was answered."""
    dialogues: int
    valid: int
    """Dialogues whose proposal passed the gates: parse, schema, feasibility, trust region."""
    valid_at_once: int
    """Of those, without a repair."""
    answers: int
    """Questions that were answered, first ones and repairs."""
    asks: int
    seconds_p50: float | None
    """Wall seconds of a question, answered or not; None where none was asked."""
    seconds_max: float | None
    deadline_s: float
    """Wall seconds that a dialogue may take at the speed of the settings."""
    prompt_tokens: int
    """Of all answers, as the server counted them; where it has not, the upper bound."""
    reply_tokens: int
    money: float
    faults: tuple[Fault, ...]
    """Most frequent first."""


def probe(settings: "Settings", environ: Mapping[str, str]) -> tuple[Probed, ...]:
    """Return how the configured endpoints answer, for each agent; raises `ConfigError` where there is none."""
    from fairlead.contracts.errors import ConfigError
    from testbed.llm_situations import SITUATIONS

    if not settings.llm.endpoints:
        raise ConfigError("no language model is configured: give --llm-url URL, llm.endpoints or OPENAI_BASE_URL")
    agents: tuple[AgentName, ...] = ("planner", "slot-agent")
    with _progress(SITUATIONS * len(agents)) as advance:
        return tuple(asyncio.run(_asked(settings, agent, environ, advance)) for agent in agents)


def documents(probed: tuple[Probed, ...]) -> list[dict[str, Any]]:
    """Return the same for programs."""
    return [asdict(one) for one in probed]


def tell(probed: tuple[Probed, ...]) -> None:
    """Print the same for people."""
    heads = ("agent", "reply", "model", "style", "valid", "at once", "s p50", "s max", "s most", "tokens in", "out")
    echo_table(
        heads,
        [
            (
                one.agent, one.reply, one.model or "-", one.style or "-", f"{one.valid} of {one.dialogues}",
                one.valid_at_once, _seconds(one.seconds_p50), _seconds(one.seconds_max), f"{one.deadline_s:g}",
                one.prompt_tokens, one.reply_tokens,
            )
            for one in probed
        ],
        empty="",
    )  # fmt: skip
    faults = [(one.agent, f"{f.step}:{f.code}", f.count, f.example) for one in probed for f in one.faults]
    if faults:
        typer.echo("")
        echo_table(("agent", "failed at", "times", "the first"), faults, empty="")


async def _asked(
    settings: "Settings", agent: "AgentName", environ: Mapping[str, str], advance: Callable[[str], None]
) -> Probed:
    from fairlead.adapters.memory_store import MemoryStore
    from fairlead.adapters.openai_llm import connected
    from fairlead.policy.dialogue import advise, hold
    from testbed.llm_situations import SITUATIONS

    alone = settings.llm.model_copy(update={"record": None, "replay": None, "breaker_failures": NO_BREAKER})
    llm: Llm = connected(alone, agent, MemoryStore(), environ)
    held: list[Held] = []
    try:
        for number in range(SITUATIONS):
            advance(agent)
            briefing = _briefing(settings, agent, number)
            held.append(await hold(f"probe-{agent}-{number}", advise(briefing), llm, briefing.settings.deadline_s))
            if len(held) == GIVE_UP and not any(e.answer.code == "ok" for one in held for e in one.exchanges):
                break
    finally:
        await llm.close()
    return _summed(agent, held, _deadline_s(settings, agent))


def _briefing(settings: "Settings", agent: "AgentName", number: int) -> "Briefing":
    from fairlead.adapters.prompt_files import prompt_texts
    from fairlead.agents.advisor import sampling
    from fairlead.contracts.dialogue import DialogueSettings
    from fairlead.policy.dialogue import Briefing
    from testbed.llm_situations import epoch_situation, slot_situation

    controller = settings.controller
    return Briefing(
        asked=epoch_situation(number, controller) if agent == "planner" else slot_situation(number, controller),
        prompt=prompt_texts()[agent],
        settings=DialogueSettings(
            deadline_s=_deadline_s(settings, agent), sampling=sampling(settings.llm, agent), llm="probe"
        ),
        cases=(),
        similarities=(),
    )


def _deadline_s(settings: "Settings", agent: "AgentName") -> float:
    """Return the wall seconds that a dialogue of a run may take."""
    llm = settings.llm
    slots = llm.planner_deadline_slots if agent == "planner" else llm.slot_deadline_ratio
    return slots * settings.controller.slot_s / settings.speed


def _summed(agent: "AgentName", held: "list[Held]", deadline_s: float) -> Probed:
    answers = [exchange.answer for one in held for exchange in one.exchanges]
    answered = [answer for answer in answers if answer.code == "ok"]
    valid = [one for one in held if one.judgements]  # nobody judges here
    took_s = [answer.took_s for answer in answers]
    return Probed(
        agent=agent,
        reply=next((e.ask.reply for one in held for e in one.exchanges), ""),
        model=next((answer.model for answer in answered), ""),
        style=answered[-1].style or "" if answered else "",
        dialogues=len(held),
        valid=len(valid),
        valid_at_once=sum(len(one.exchanges) == 1 for one in valid),
        answers=len(answered),
        asks=len(answers),
        seconds_p50=statistics.median(took_s) if took_s else None,
        seconds_max=max(took_s, default=None),
        deadline_s=deadline_s,
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        reply_tokens=sum(answer.reply_tokens for answer in answers),
        money=sum(answer.money for answer in answers),
        faults=_faults(held),
    )


def _faults(held: "list[Held]") -> tuple[Fault, ...]:
    """Count the steps that failed; an answer that failed says why in its own words."""
    counts: dict[tuple[str, str], list[str]] = {}
    for one in held:
        details = iter([e.answer.detail for e in one.exchanges])
        for step in one.advice.steps:
            detail = next(details, "") if step.name == "call" else ""
            if not step.ok and step.name != "twin":
                counts.setdefault((step.name, step.code), []).append(detail or step.text)
    faults = (Fault(step, code, len(words), words[0]) for (step, code), words in counts.items())
    return tuple(sorted(faults, key=lambda f: (-f.count, f.step, f.code)))


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show how far it is where a person looks on, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("asking", total=total, completed=-1)
        yield lambda agent: bar.update(task, advance=1, description=f"asking as {agent}")
