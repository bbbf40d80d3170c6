"""What planner and slot agent are made of as processes: a store that is waited for, an advisor if one is configured.

The client of language models and what a dialogue takes are imported only where one is configured.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fairlead.adapters.mongo import connect
from fairlead.adapters.outage import Outage, persist
from fairlead.agents.absent import Unadvised
from fairlead.agents.advice import Advising
from fairlead.agents.metrics import DialogueMetrics, LoopMetrics
from fairlead.agents.status import StatusKeeper
from fairlead.contracts.agent_memory import AgentMemory
from fairlead.contracts.dialogue import AgentName
from fairlead.contracts.errors import ConfigError
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.settings import LlmSettings, Settings


@asynccontextmanager
async def stored(settings: Settings, agent: AgentName, clock: Clock, metrics: LoopMetrics) -> AsyncIterator[Store]:
    """Give the store once it answers, closed afterwards. Raises `ConfigError` if none is configured."""
    if settings.mongodb.uri is None:
        raise ConfigError(f"the {agent} needs a database: set mongodb.uri or FAIRLEAD_MONGODB_URI")
    outage = Outage("reaching the store", clock, metrics.failures)
    store = await persist(outage, lambda: connect(settings.mongodb, clock))
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def advised(
    settings: Settings, agent: AgentName, store: Store, clock: Clock, metrics: DialogueMetrics
) -> AsyncIterator[Advising]:
    """Give the agent's advisor by the settings, closed afterwards. Raises `ConfigError` for a key or a file."""
    status = StatusKeeper(agent, store, clock, metrics, settings.mongodb.timeout_s)
    if not configured(settings.llm):
        status.tally.why = "no-llm: no language model is configured"
        yield Unadvised("no-llm", status)
        return
    status.configured = described(settings.llm, agent)
    if settings.policy != "marginal-dpp":
        status.tally.why = f"baseline: models are asked with the policy marginal-dpp, not with {settings.policy}"
        yield Unadvised("baseline", status)
        return
    from fairlead.adapters.openai_llm import connected
    from fairlead.adapters.prompt_files import goal_prompt, prompt_texts
    from fairlead.agents.advisor import Advisor, Counsel, sampling
    from fairlead.agents.bounded import Bounded
    from fairlead.agents.following import Follower, Sight, remembered
    from fairlead.agents.goal_reading import GoalCounsel, GoalReader
    from fairlead.agents.judging import TwinProcess, twin_command

    llm = connected(settings.llm, agent, store, os.environ)
    try:
        status.tally.why = "no dialogue has ended yet"
        status.llm, status.limits = llm, settings.llm.budget
        prompt, sight = prompt_texts()[agent], Sight(agent, store, clock, settings, metrics)
        fresh = AgentMemory(
            agent=agent,
            at_s=clock.now_s(),
            llm=status.configured,
            prompt=f"{prompt.id}/{prompt.version}",
            version=version("fairlead"),
        )
        choosing = sampling(settings.llm, agent)
        goals = GoalCounsel(Bounded(llm, clock), goal_prompt(), choosing, settings.controller)
        counsel = Counsel(
            agent=agent,
            llm=llm,
            prompt=prompt,
            sampling=choosing,
            configured=status.configured,
            origin_s=settings.clock_origin_s,
            judging=TwinProcess(twin_command(settings), clock, metrics, status.news.set),
            judging_s=settings.llm.gate_deadline_slots * settings.controller.slot_s / settings.speed,
            follower=Follower(sight, await remembered(sight, fresh)),
            proposals=settings.llm.planner_proposals if agent == "planner" else 1,
            reader=GoalReader(goals, store, clock, status.tally, metrics) if agent == "planner" else None,
        )
        yield Advisor(counsel, store, clock, status, metrics)
    finally:
        await llm.close()


def configured(settings: LlmSettings) -> bool:
    """Tell whether there is a language model to ask."""
    return bool(settings.endpoints) or settings.replay is not None


def described(settings: LlmSettings, agent: AgentName) -> str:
    """Return what is asked, in the order in which it is: without credentials."""
    if settings.replay is not None:
        return "a recorded file"
    names = (
        (e.planner_model if agent == "planner" else e.slot_agent_model, e.url.partition("?")[0])
        for e in settings.endpoints
    )
    return ", then ".join(f"{model or 'its first model'} at {url}" for model, url in names)[:256]
