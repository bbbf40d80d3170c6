"""Questions and settings for the tests of language models."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fairlead.adapters.llm_budget import Budget
from fairlead.adapters.memory_store import MemoryStore
from fairlead.adapters.openai_llm import EndpointsLlm, connected
from fairlead.contracts.dialogue import AgentName, Answer, Ask, BudgetLimits, Sampling
from fairlead.contracts.settings import LlmEndpoint, LlmSettings

KEY = "sk-test-0123456789abcdefghij"
ENVIRON = {"OPENAI_API_KEY": KEY}


def question(user: str = "n01 m01 0.4", *, reply_tokens: int = 100) -> Ask:
    """Return a question."""
    return Ask(
        agent="slot-agent",
        prompt="slot/1",
        turn="first",
        system="You route.",
        user=user,
        reply="SlotReply",
        reply_schema='{"type":"object"}',
        sampling=Sampling(reply_tokens=reply_tokens),
    )


def settings(
    *urls: str, model: str | None = "small", prices: tuple[float, float] = (0.0, 0.0), **more: Any
) -> LlmSettings:
    """Return settings of endpoints that all have a model."""
    endpoints = tuple(
        LlmEndpoint(url=url, planner_model=model, slot_agent_model=model, prompt_price=prices[0], reply_price=prices[1])
        for url in urls
    )
    return LlmSettings(endpoints=endpoints, **more)


def limits(**more: Any) -> dict[str, BudgetLimits]:
    """Return limits as settings take them."""
    return {"budget": BudgetLimits(**more)}


def answer(text: str = '{"a":1}') -> Answer:
    """Return an answer."""
    return Answer(
        code="ok", text=text, endpoint="http://127.0.0.1:1/v1", model="small", style="schema", attempts=1,
        took_s=0.25, prompt_tokens=100, reply_tokens=20, money=0.0,
    )  # fmt: skip


@asynccontextmanager
async def asking(
    one: LlmSettings,
    *,
    agent: AgentName = "slot-agent",
    store: Budget | None = None,
    environ: Mapping[str, str] = ENVIRON,
) -> AsyncIterator[EndpointsLlm]:
    """Give what asks these endpoints, and close it."""
    llm = connected(one, agent, store or MemoryStore(), environ)
    assert isinstance(llm, EndpointsLlm)
    try:
        yield llm
    finally:
        await llm.close()
