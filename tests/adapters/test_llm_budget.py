"""What questions may cost: nothing is sent that was not set aside, and what a server counts is what counts."""

import asyncio
from typing import Any

import pytest
import structlog

from fairlead.adapters.llm_budget import TEMPLATE_TOKENS, Account, price, prompt_bound
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.dialogue import BudgetLimits, Refusal
from fairlead.contracts.settings import LlmEndpoint
from tests.adapters.llm_questions import asking, question, settings
from tests.adapters.llm_server import Behaviour, LlmServer, fails, hangs, http, raw, reply, resets

BOUND = prompt_bound(question(), with_schema=True)
REPLY = question().sampling.reply_tokens


def test_the_bound_is_above_any_count() -> None:
    """Bytes of all that is sent, a character of three bytes being three, and what a template adds."""
    sent = question("☃" * 10)
    assert prompt_bound(sent, with_schema=False) == len("You route.") + 30 + TEMPLATE_TOKENS
    assert prompt_bound(sent, with_schema=True) == prompt_bound(sent, with_schema=False) + len(sent.reply_schema)


def test_a_price_is_for_a_million_tokens() -> None:
    """Prompt and reply apart."""
    one = LlmEndpoint(url="http://h/v1", prompt_price=2.0, reply_price=8.0)
    assert price(one, 500_000, 250_000) == 3.0


@pytest.mark.parametrize(
    ("behaviour", "prompt", "said"),
    [
        (reply("{}"), 100, 20),
        (reply(""), 100, 20),
        (reply("{}", usage=None), BOUND, REPLY),
        (reply("{}", usage={"prompt_tokens": -5, "completion_tokens": 20}), BOUND, REPLY),
        (reply("{}", usage={"prompt_tokens": 10**12, "completion_tokens": 20}), BOUND, REPLY),
        (reply("{}", usage={"prompt_tokens": "many", "completion_tokens": 20}), BOUND, REPLY),
        (reply("{}", usage={"prompt_tokens": 100_000, "completion_tokens": 20}), 100_000, 20),
        (http('{"usage":{"prompt_tokens":7,"completion_tokens":3}}'), 7, 3),
        (fails(404), 0, 0),
        (fails(429), 0, 0),
        (fails(408), BOUND, REPLY),
        (fails(500), BOUND, REPLY),
        (resets, BOUND, REPLY),
        (hangs, BOUND, REPLY),
        (raw(b"nonsense\r\n\r\n"), BOUND, REPLY),
    ],
)
async def test_what_was_set_aside_becomes_what_was_counted(behaviour: Behaviour, prompt: int, said: int) -> None:
    """Where the server has not said so it stays; the answer and the store say the same, limits or none."""
    store = MemoryStore()
    one: Any = {"attempts": 1, "prices": (3.0, 15.0)}
    async with LlmServer(behaviour).running() as server, asking(settings(server.url, **one), store=store) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=0.2 if behaviour is hangs else 20)
        assert (got.prompt_tokens, got.reply_tokens) == (prompt, said)
        assert got.money == pytest.approx((3 * prompt + 15 * said) / 1e6)
    spent = await store.spent()
    assert spent.tokens_hour == spent.tokens_day == prompt + said
    assert spent.money_hour == pytest.approx(got.money, abs=1e-8)


async def test_every_attempt_is_paid_for() -> None:
    """Two that broke off and one that was answered; failures of a question add up."""
    store = MemoryStore()
    async with LlmServer(resets, resets).running() as server, asking(settings(server.url), store=store) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=20)
        assert (got.code, got.attempts) == ("ok", 3)
        assert (got.prompt_tokens, got.reply_tokens) == (2 * BOUND + 100, 2 * REPLY + 20)
    assert (await store.spent()).tokens_hour == 2 * (BOUND + REPLY) + 120


async def test_not_one_token_beyond_the_limit() -> None:
    """Questions are asked while their upper bound fits in, then not at all; the answer says why."""
    limit = 4 * 120 + BOUND + REPLY - 1
    store = MemoryStore()
    async with LlmServer().running() as server:
        one = settings(server.url, budget=BudgetLimits(tokens_per_hour=limit))
        async with asking(one, store=store) as llm:
            codes = [(await llm.ask(question(), id=f"x.{n}", deadline_s=20)).code for n in range(6)]
            assert codes == ["ok"] * 4 + ["budget-tokens"] * 2
            got = await llm.ask(question(), id="x.7", deadline_s=20)
            assert (got.attempts, got.endpoint, got.prompt_tokens) == (0, "", 0)
            assert str(limit) in got.detail
            assert llm.statuses()[0].breaker == "closed"
        assert len(server.asked) == 4
    assert (await store.spent()).tokens_hour == 4 * 120


async def test_two_agents_share_a_budget() -> None:
    """The store keeps one account for all."""
    store = MemoryStore()
    async with LlmServer(usual=reply("{}", usage=None)).running() as server:
        one = settings(server.url, budget=BudgetLimits(tokens_per_hour=BOUND + REPLY))
        async with asking(one, store=store) as llm, asking(one, store=store, agent="planner") as other:
            assert (await llm.ask(question(), id="a.1", deadline_s=20)).code == "ok"
            assert (await other.ask(question(), id="b.1", deadline_s=20)).code == "budget-tokens"


async def test_a_retry_that_cannot_be_paid_for_is_not_sent() -> None:
    """The answer is then the failure before."""
    limit = BudgetLimits(tokens_per_hour=BOUND + REPLY)
    async with LlmServer(resets).running() as server, asking(settings(server.url, budget=limit)) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=20)
        assert (got.code, got.attempts) == ("reset", 1)
        assert len(server.asked) == 1


async def test_an_endpoint_too_dear_gives_way_to_a_cheaper_one() -> None:
    """Money is counted at each endpoint's own prices."""
    async with LlmServer().running() as dear, LlmServer().running() as cheap:
        one = settings(dear.url, cheap.url, budget=BudgetLimits(money_per_hour=0.001))
        first = one.endpoints[0].model_copy(update={"prompt_price": 1000.0})
        async with asking(one.model_copy(update={"endpoints": (first, one.endpoints[1])})) as llm:
            got = await llm.ask(question(), id="x.1", deadline_s=20)
            assert (got.code, got.endpoint, got.attempts) == ("ok", cheap.url, 1)
        async with asking(one.model_copy(update={"endpoints": (first,)})) as llm:
            assert (await llm.ask(question(), id="x.1", deadline_s=20)).code == "budget-money"
        assert dear.asked == []


async def test_without_an_account_nothing_is_asked() -> None:
    """A database that does not answer keeps no account; the fallback acts."""
    store = MemoryStore()
    store.unavailable = True
    with structlog.testing.capture_logs() as log:
        async with LlmServer().running() as server, asking(settings(server.url), store=store) as llm:
            got = await llm.ask(question(), id="x.1", deadline_s=20)
            assert (got.code, got.attempts) == ("budget-tokens", 0)
            assert "nothing could be reserved" in got.detail
            assert server.asked == []
    assert [one["log_level"] for one in log] == ["warning"]


class SlowBudget:
    """Keeps account once it is told to."""

    def __init__(self, *, grants: bool = False) -> None:
        """With `grants` it waits with settling alone."""
        self.may = asyncio.Event()
        self.grants = grants
        self.settled: list[tuple[str, int]] = []

    async def reserve(self, ask: str, tokens: int, money: float, limits: BudgetLimits) -> Refusal | None:
        """Wait, then grant."""
        if not self.grants:
            await self.may.wait()
        return None

    async def settle(self, ask: str, tokens: int, money: float) -> None:
        """Wait, then note it."""
        await self.may.wait()
        self.settled.append((ask, tokens))


async def test_what_was_called_off_before_it_was_sent_is_given_back() -> None:
    """The reservation ends by itself, and then nothing of it stays."""
    budget = SlowBudget()
    account = Account(budget, BudgetLimits())
    reserving = asyncio.ensure_future(account.reserve("x.1.1", 100, 0.0))
    await asyncio.sleep(0)
    reserving.cancel()
    await asyncio.wait({reserving})
    assert reserving.cancelled()
    budget.may.set()
    await account.close()
    assert budget.settled == [("x.1.1", 0)]


async def test_an_account_is_settled_before_it_closes() -> None:
    """Also where nobody waits for it any more."""
    budget = SlowBudget()
    account = Account(budget, BudgetLimits())
    settling = asyncio.ensure_future(account.settle("x.1.1", 7, 0.0))
    await asyncio.sleep(0)
    settling.cancel()
    closing = asyncio.ensure_future(account.close())
    await asyncio.sleep(0)
    assert not closing.done()
    budget.may.set()
    await closing
    assert budget.settled == [("x.1.1", 7)]


async def test_a_reply_in_time_stays_in_time() -> None:
    """However long it takes to settle it."""
    budget = SlowBudget(grants=True)
    async with LlmServer().running() as server, asking(settings(server.url), store=budget) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=0.5)
        assert (got.code, got.attempts, got.prompt_tokens) == ("ok", 1, 100)
        assert got.took_s < 0.5
        assert llm.statuses()[0].last_code == "ok"
        budget.may.set()
    assert budget.settled == [("x.1.1", 120)]


async def test_a_question_that_waits_for_its_budget_is_late_unasked() -> None:
    """Nothing was sent, the endpoint is not to blame, and the reservation is given back."""
    budget = SlowBudget()
    async with LlmServer().running() as server, asking(settings(server.url), store=budget) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=0.1)
        assert (got.code, got.attempts, server.asked) == ("late", 0, [])
        assert llm.statuses()[0].last_code is None
        budget.may.set()
    assert budget.settled == [("x.1.1", 0)]
