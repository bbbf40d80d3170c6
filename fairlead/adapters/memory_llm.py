"""A language model in memory: says what a test tells it to; the fake beside `openai_llm`."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fairlead.contracts.dialogue import REPLY_CHARS, Answer, AnswerCode, Ask, EndpointStatus

MODEL = "memory"
URL = "memory:"


@dataclass(frozen=True, slots=True)
class Saying:
    """What comes of one question."""

    text: str | None = None
    """The reply; None where it fails."""
    code: AnswerCode = "ok"
    took_s: float = 0.0
    """What the answer says it took; nothing waits for it."""
    waits: bool = False
    """Says nothing until the deadline, and then counts as late."""


Script = Iterable[str | Saying] | Callable[[Ask], str | Saying]
"""What is said, one after another, `unreachable` when there is no more; or what answers each question."""


class MemoryLlm:
    """The port `Llm` without a network: as many words as it has bytes by four, no money."""

    def __init__(self, script: Script) -> None:
        """Answer by `script`; a text stands for a reply that is `ok`."""
        self._answers = script if callable(script) else None
        self._script = deque(() if callable(script) else script)
        self._closed = False
        self._last: AnswerCode | None = None
        self.asked: list[tuple[str, Ask]] = []
        """Ids and questions, in the order in which they were asked."""
        self.open = 0
        """Questions that are being answered now."""

    async def ask(self, ask: Ask, *, id: str, deadline_s: float) -> Answer:
        """Return what the script says; `late` where that waits, or where no time was left."""
        if self._closed:
            return self._answer(ask, Saying(code="no-endpoint"), attempts=0)
        if deadline_s <= 0:
            return self._answer(ask, Saying(code="late"), attempts=0)
        self.asked.append((id, ask))
        saying = self._next(ask)
        self.open += 1
        try:
            if saying.waits:
                await asyncio.sleep(deadline_s)
                saying = Saying(code="late", took_s=deadline_s)
        finally:
            self.open -= 1
        return self._answer(ask, self._checked(saying), attempts=1)

    def statuses(self) -> tuple[EndpointStatus, ...]:
        """Return the one there is."""
        return (EndpointStatus(url=URL, model=MODEL, style="schema", breaker="closed", last_code=self._last),)

    async def close(self) -> None:
        """Answer no more."""
        self._closed = True

    def _next(self, ask: Ask) -> Saying:
        if self._answers is not None:
            said = self._answers(ask)
        elif self._script:
            said = self._script.popleft()
        else:
            said = Saying(code="unreachable")
        return Saying(text=said) if isinstance(said, str) else said

    @staticmethod
    def _checked(saying: Saying) -> Saying:
        """Return what becomes of a reply that cannot be one."""
        if saying.code == "ok" and not (saying.text or "").strip():
            return Saying(code="empty", took_s=saying.took_s)
        if saying.code == "ok" and len(saying.text or "") > REPLY_CHARS:
            return Saying(code="too-long", took_s=saying.took_s)
        return saying

    def _answer(self, ask: Ask, saying: Saying, *, attempts: int) -> Answer:
        if attempts:
            self._last = saying.code
        return Answer(
            code=saying.code,
            text=saying.text if saying.code == "ok" else None,
            endpoint=URL if attempts else "",
            model=MODEL if attempts else "",
            style="schema" if attempts else None,
            attempts=attempts,
            took_s=saying.took_s,
            prompt_tokens=-(-len((ask.system + ask.user).encode()) // 4) if attempts else 0,
            reply_tokens=-(-len((saying.text or "").encode()) // 4) if attempts else 0,
            money=0.0,
        )
