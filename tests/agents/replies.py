"""Replies that pass all gates, made from a question's own schema, and a model that takes its time."""

import json
from collections.abc import Callable

from fairlead.adapters.memory_llm import MemoryLlm, Saying
from fairlead.contracts.dialogue import Answer, Ask, EndpointStatus
from fairlead.contracts.ports import Clock

Say = Callable[[Ask], str | Saying]


def good(ask: Ask) -> str:
    """Return a valid reply that wants something: the first model more, or more on its first node."""
    return json.dumps(_plan(ask) if ask.reply == "PlannerReply" else _routes(ask))


def _routes(ask: Ask) -> dict[str, object]:
    """Return rows a tenth away from even."""
    zones = json.loads(ask.reply_schema)["properties"]["routes"]["properties"]
    routes = {
        zone: {model: _row(list(row["properties"])) for model, row in rows["properties"].items()}
        for zone, rows in zones.items()
    }
    hold = json.loads(ask.reply_schema)["properties"]["hold"]["properties"]
    return {"routes": routes, "hold": dict.fromkeys(hold, 0.5), "why": "the first has room"}


def _row(nodes: list[str]) -> dict[str, float]:
    even = 1.0 / len(nodes)
    moved = 0.0 if len(nodes) == 1 else 0.1
    return {node: even + moved if node == nodes[0] else even - moved / (len(nodes) - 1) for node in nodes}


def _plan(ask: Ask) -> dict[str, object]:
    """Return the neutral plan but for the first model's priority."""
    defined = json.loads(ask.reply_schema)["$defs"]
    nodes = [{"node": n, "role": "generalist", "prefer": [], "avoid": [], "bias": 0} for n in defined["node"]["enum"]]
    first = {"model": defined["model"]["enum"][0], "priority": 3, "expected": "rising"}
    return {
        "nodes": nodes,
        "models": [first],
        "warm": [],
        "rates_of": None,
        "confidence": 2,
        "cases_cited": [],
        "why": "the first rises",
    }


class PacedLlm:
    """A model that takes its time on the given clock; a heedless one also where that is more than it has."""

    def __init__(self, clock: Clock, after_s: float, say: Say = good, *, heedless: bool = False) -> None:
        self.inner = MemoryLlm(say)
        self.after_s = after_s
        self._clock = clock
        self._heedless = heedless

    async def ask(self, ask: Ask, *, id: str, deadline_s: float) -> Answer:
        """Answer after `after_s` wall seconds, or be late at the deadline."""
        if self.after_s > deadline_s and not self._heedless:
            await self._clock.sleep_for(deadline_s * self._clock.speed)
            late = MemoryLlm([Saying(code="late", took_s=deadline_s)])
            return await late.ask(ask, id=id, deadline_s=deadline_s)
        await self._clock.sleep_for(self.after_s * self._clock.speed)
        answer = await self.inner.ask(ask, id=id, deadline_s=deadline_s)
        return answer.model_copy(update={"took_s": self.after_s})

    def statuses(self) -> tuple[EndpointStatus, ...]:
        """Return the one there is."""
        return self.inner.statuses()

    async def close(self) -> None:
        """Answer no more."""
        await self.inner.close()
