"""Language models behind OpenAI-shaped endpoints: one question, one answer in time, whatever the servers do.

A question waits for a place, then is sent to the first endpoint whose breaker is closed, again or to the next one
while attempts, deadline and budget last; each request is paid for before it is sent.

    ask ─ place ─┬─▶ endpoint ─ model ─ reserve ─ request ─ settle ─┬─ a reply ───────────────▶ Answer
                 └── next, later or plainer ◀──────── a failure ────┘      deadline: `late`
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from fairlead.adapters.llm_breaker import Breaker
from fairlead.adapters.llm_budget import Account, Budget, price, prompt_bound
from fairlead.adapters.llm_files import RecordingLlm, ReplayingLlm
from fairlead.adapters.llm_key import key_of
from fairlead.adapters.openai_shapes import Called, Dialect, plainer
from fairlead.contracts.dialogue import AgentName, Answer, AnswerCode, Ask, EndpointStatus, Refusal
from fairlead.contracts.errors import foreign
from fairlead.contracts.ports import Llm
from fairlead.contracts.settings import LlmEndpoint, LlmSettings

if TYPE_CHECKING:
    from fairlead.adapters.openai_call import OpenAiEndpoint

AGAIN_S = 0.2
"""Wall seconds before an endpoint that failed is asked again; doubles each time."""

AGAIN: frozenset[AnswerCode] = frozenset({"unreachable", "reset", "busy", "server-error"})
"""Failures after which the same endpoint may be asked again for the same question."""


def connected(settings: LlmSettings, agent: AgentName, budget: Budget, environ: Mapping[str, str]) -> Llm:
    """Return the model that an agent asks, as the settings say: endpoints or a recorded file, recorded or not.

    Nothing is sent yet. Raises `ConfigError` for a key or a file that cannot be used; see that it gets closed.
    """
    llm: Llm
    if settings.replay is not None:
        llm = ReplayingLlm(settings.replay)
    else:
        llm = EndpointsLlm(settings, _places(settings, agent, environ), budget)
    return llm if settings.record is None else RecordingLlm(llm, settings.record)


@dataclass(slots=True)
class Place:
    """An endpoint, and what was found out about it since the process began."""

    settings: LlmEndpoint
    server: "OpenAiEndpoint"
    breaker: Breaker
    named: str | None
    """The model that is configured."""
    listed: str | None = None
    """The model that the server names first, where none is configured."""
    dialect: Dialect = Dialect()  # noqa: RUF009 — frozen
    understood: bool = False
    """Whether a request in this dialect has been answered."""
    not_before_s: float = 0.0
    """Wall time until which it wants to be left alone."""
    last_code: AnswerCode | None = None

    @property
    def model(self) -> str | None:
        """The model to be asked, None until the server has named one."""
        return self.named or self.listed

    @property
    def url(self) -> str:
        """Its address as it may be shown: a query could hold a credential."""
        return self.settings.url.partition("?")[0][:256]


def _places(settings: LlmSettings, agent: AgentName, environ: Mapping[str, str]) -> tuple[Place, ...]:
    keys = [key_of(one, environ) for one in settings.endpoints]
    if not keys:
        return ()
    from fairlead.adapters.openai_call import OpenAiEndpoint

    return tuple(
        Place(
            settings=one,
            server=OpenAiEndpoint(one.url, key, connections=settings.concurrency),
            breaker=Breaker(settings.breaker_failures, settings.breaker_open_s),
            named=one.planner_model if agent == "planner" else one.slot_agent_model,
        )
        for one, key in zip(settings.endpoints, keys, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Sent:
    """A request and what came of it."""

    index: int
    """Of the endpoint."""
    model: str
    dialect: Dialect
    called: Called


@dataclass(slots=True)
class _Errand:
    """One question on its way."""

    ask: Ask
    id: str
    began_s: float
    until_s: float
    tries: dict[int, int] = field(default_factory=dict)
    """By endpoint: requests sent."""
    ready_at_s: dict[int, float] = field(default_factory=dict)
    """By endpoint: not before."""
    excluded: set[int] = field(default_factory=set)
    """Endpoints that are no use for this question."""
    asking: int | None = None
    """The endpoint that was chosen and has not answered yet."""
    out: bool = False
    """A request is on its way there."""
    reserved: tuple[int, int, float] = (0, 0, 0.0)
    """Tokens of prompt and reply, and money, that the request may take."""
    used: tuple[int, int, float] = (0, 0, 0.0)
    refusal: Refusal | None = None
    last: _Sent | None = None
    ended_s: float | None = None
    """When a reply was there."""

    @property
    def attempts(self) -> int:
        """Requests sent."""
        return sum(self.tries.values())

    def send(self, index: int) -> None:
        """Note that a request of an attempt leaves; finding out a model's name is part of the attempt."""
        if not self.out:
            self.tries[index] = self.tries.get(index, 0) + 1
        self.out = True

    def charge(self, prompt_tokens: int, reply_tokens: int, money: float) -> None:
        """Add what a request took."""
        prompt, reply, paid = self.used
        self.used = (prompt + prompt_tokens, reply + reply_tokens, paid + money)
        self.reserved = (0, 0, 0.0)


class EndpointsLlm:
    """The port `Llm` over any number of endpoints, asked in their order."""

    def __init__(self, settings: LlmSettings, places: Sequence[Place], budget: Budget) -> None:
        self._settings = settings
        self._places = tuple(places)
        self._account = Account(budget, settings.budget)
        self._at_once = asyncio.Semaphore(settings.concurrency)
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def ask(self, ask: Ask, *, id: str, deadline_s: float) -> Answer:
        """Return what comes of a question within `deadline_s` wall seconds; what is late is broken off."""
        now_s = time.monotonic()
        errand = _Errand(ask, id, began_s=now_s, until_s=now_s + deadline_s)
        if not self._places:
            return self._answer(errand, Called("no-endpoint", detail="no endpoint is configured"))
        if deadline_s <= 0:
            return self._answer(errand, Called("late", detail="no time was left"))
        try:
            async with asyncio.timeout(deadline_s), self._at_once:
                called = await self._run(errand)
        except TimeoutError:
            called = self._late(errand)
        except asyncio.CancelledError:
            if errand.asking is not None:
                self._places[errand.asking].breaker.given_up()
            raise
        return self._answer(errand, called)

    def statuses(self) -> tuple[EndpointStatus, ...]:
        """Return how each endpoint stands now."""
        now_s = time.monotonic()
        return tuple(
            EndpointStatus(
                url=one.url,
                model=one.model or "",
                style=one.dialect.style if one.understood else None,
                breaker=one.breaker.state(now_s),
                last_code=one.last_code,
            )
            for one in self._places
        )

    async def close(self) -> None:
        """Settle what is open and close the connections."""
        await self._account.close()
        for one in self._places:
            await one.server.close()
        await asyncio.sleep(0)  # transports end in the loop's next round

    async def _run(self, errand: _Errand) -> Called:
        """Ask until there is a reply, or no endpoint or attempt is left."""
        while errand.attempts < self._settings.attempts:
            chosen = self._next(errand)
            if chosen is None:
                break
            index, at_s = chosen
            await asyncio.sleep(max(0.0, at_s - time.monotonic()))
            place = self._places[index]
            if not place.breaker.admits(time.monotonic()):
                continue
            place.breaker.begin(time.monotonic())
            errand.asking = index
            called = await self._attempt(place, index, errand)
            if called is None:
                place.breaker.given_up()
            elif errand.last is not None and self._weigh(place, errand.last, errand):
                return called
            errand.asking = None
        return errand.last.called if errand.last is not None else self._unasked(errand)

    def _next(self, errand: _Errand) -> tuple[int, float] | None:
        """Return the endpoint to be asked next and when: the soonest, then the least tried, then the first."""
        now_s = time.monotonic()
        ready = sorted(
            (max(now_s, place.not_before_s, errand.ready_at_s.get(index, now_s)), errand.tries.get(index, 0), index)
            for index, place in enumerate(self._places)
            if index not in errand.excluded and place.breaker.admits(now_s)
        )
        if not ready or ready[0][0] >= errand.until_s:
            return None
        return ready[0][2], ready[0][0]

    async def _attempt(self, place: Place, index: int, errand: _Errand) -> Called | None:
        """Return what comes of one request to an endpoint; None if it may not be paid for."""
        errand.out = False
        dialect = place.dialect
        if place.model is None:
            errand.send(index)
            found = await place.server.models()
            if isinstance(found, Called):
                errand.last = _Sent(index, "", dialect, found)
                return found
            place.listed = found[0]
        prompt = prompt_bound(errand.ask, with_schema=dialect.style == "schema")
        reply = errand.ask.sampling.reply_tokens
        name = f"{errand.id}.{errand.attempts + (not errand.out)}"
        money = price(place.settings, prompt, reply)
        refusal = await self._account.reserve(name, prompt + reply, money)
        if refusal is not None:
            errand.refusal = refusal
            errand.excluded.add(index)
            return None
        errand.send(index)
        errand.reserved = (prompt, reply, money)
        model = place.model or ""
        called = await place.server.complete(errand.ask, model, dialect, id=errand.id, attempt=errand.attempts)
        errand.out = False
        errand.last = _Sent(index, model, dialect, called)
        if called.code == "ok":
            errand.ended_s = time.monotonic()
        await self._pay(place, errand, name, called)
        return called

    async def _pay(self, place: Place, errand: _Errand, name: str, called: Called) -> None:
        """Settle a request by what the server has counted; without that it stays at what was reserved."""
        if called.usage is None:
            errand.charge(*errand.reserved)
            return
        money = price(place.settings, *called.usage)
        errand.charge(*called.usage, money)
        await self._account.settle(name, sum(called.usage), money)

    def _weigh(self, place: Place, sent: _Sent, errand: _Errand) -> bool:
        """Note what an attempt says of its endpoint; return whether the question has its answer with it."""
        called, now_s = sent.called, time.monotonic()
        place.last_code = called.code
        if called.refused is not None and self._plainer(place, sent.dialect, called.refused):
            place.breaker.given_up()
            return False
        if called.forgets_model:
            place.listed = None
        if not called.fault:
            place.breaker.succeeded()
            place.understood = place.understood or sent.dialect == place.dialect
            return True
        self._failed(place, called.detail)
        if called.code not in AGAIN:
            errand.excluded.add(sent.index)
        else:
            place.not_before_s = now_s + called.retry_after_s
            errand.ready_at_s[sent.index] = now_s + AGAIN_S * 2.0 ** (errand.tries[sent.index] - 1)
        return False

    @staticmethod
    def _plainer(place: Place, used: Dialect, refused: str) -> bool:
        """Step down from the dialect that was used; False where nothing plainer is left, so that it was not that."""
        if place.dialect != used:
            return True  # another question has done so meanwhile
        further = plainer(used, refused)
        place.understood, place.dialect = False, further or Dialect()
        return further is not None

    def _failed(self, place: Place, detail: str) -> None:
        if place.breaker.failed(time.monotonic()):
            self._log.warning(
                "a language model's endpoint failed again and again: it is not asked for a while",
                url=place.url, code=place.last_code, detail=detail, for_s=self._settings.breaker_open_s,
            )  # fmt: skip

    def _late(self, errand: _Errand) -> Called:
        """Return what a question comes to whose deadline has passed, and note whose fault that is."""
        if errand.ended_s is not None and errand.last is not None:
            self._weigh(self._places[errand.last.index], errand.last, errand)
            return errand.last.called
        called = Called("late", detail=f"no answer within {errand.until_s - errand.began_s:.3g} s")
        if errand.asking is not None:
            place = self._places[errand.asking]
            if errand.out:
                errand.charge(*errand.reserved)
                errand.last = _Sent(errand.asking, place.model or "", place.dialect, called)
                place.last_code = called.code
                self._failed(place, called.detail)
            else:
                place.breaker.given_up()
        return called

    def _unasked(self, errand: _Errand) -> Called:
        """Return why nothing was sent."""
        if errand.refusal is not None:
            return Called(errand.refusal.code, detail=errand.refusal.text)
        now_s = time.monotonic()
        if any(one.breaker.admits(now_s) and one.not_before_s > now_s for one in self._places):
            return Called("busy", detail="an endpoint wants to be left alone beyond the deadline")
        return Called("breaker-open", detail="no endpoint has answered lately")

    def _answer(self, errand: _Errand, called: Called) -> Answer:
        prompt_tokens, reply_tokens, money = errand.used
        sent = errand.last
        return Answer(
            code=called.code,
            text=called.text,
            endpoint=self._places[sent.index].url if sent else "",
            model=sent.model if sent else "",
            style=sent.dialect.style if sent else None,
            attempts=errand.attempts,
            took_s=(errand.ended_s or time.monotonic()) - errand.began_s,
            prompt_tokens=prompt_tokens,
            reply_tokens=reply_tokens,
            money=money,
            detail=foreign(called.detail),
        )
