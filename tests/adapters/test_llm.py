"""The port `Llm`: what holds of the real one and of the fake alike."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from fairlead.adapters.memory_llm import MemoryLlm, Saying
from fairlead.adapters.memory_store import MemoryStore
from fairlead.adapters.openai_llm import connected
from fairlead.contracts.dialogue import REPLY_CHARS, AnswerCode
from fairlead.contracts.ports import Llm
from tests.adapters.llm_questions import ENVIRON, question, settings
from tests.adapters.llm_server import Behaviour, LlmServer, fails, hangs, reply, resets
from tests.waiting import until

AS_SERVER: dict[AnswerCode, Behaviour] = {
    "reset": resets,
    "busy": fails(429),
    "refused": fails(404),
    "server-error": fails(503),
}


def _behaviour(saying: str | Saying) -> Behaviour:
    """Return how a server does what the fake is told."""
    if isinstance(saying, str):
        return reply(saying)
    if saying.waits:
        return hangs
    return reply(saying.text) if saying.code == "ok" else AS_SERVER[saying.code]


@dataclass(frozen=True, slots=True)
class Bench:
    """A model and how to see whether it is being asked."""

    llm: Llm
    server: LlmServer | None

    def busy(self) -> bool:
        """Return whether a question is open."""
        if self.server is not None:
            return self.server.waiting > 0
        assert isinstance(self.llm, MemoryLlm)
        return self.llm.open > 0


@asynccontextmanager
async def bench(kind: str, *script: str | Saying) -> AsyncIterator[Bench]:
    """Give a model that says this, one question after another."""
    if kind == "memory":
        llm: Llm = MemoryLlm(script)
        yield Bench(llm, None)
        await llm.close()
        return
    async with LlmServer(*map(_behaviour, script)).running() as server:
        llm = connected(settings(server.url, attempts=1, breaker_failures=100), "slot-agent", MemoryStore(), ENVIRON)
        try:
            yield Bench(llm, server)
        finally:
            await llm.close()


@pytest.fixture(params=["memory", "openai"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return which model is under test."""
    return str(request.param)


async def test_a_reply_is_given_as_it_was_said(kind: str) -> None:
    """Text, code, model and style, one request each; in order."""
    async with bench(kind, '{"a":1}', " not json at all ☃") as one:
        for number, text in enumerate(('{"a":1}', " not json at all ☃")):
            got = await one.llm.ask(question(), id=f"slot-agent-1-1.{number}", deadline_s=20)
            assert (got.code, got.text, got.attempts, got.style) == ("ok", text, 1, "schema")
            assert got.endpoint
            assert got.model
            assert got.prompt_tokens > 0
            assert got.reply_tokens > 0
        assert one.llm.statuses()[0].last_code == "ok"


@pytest.mark.parametrize("code", AS_SERVER)
async def test_a_failure_is_an_answer_too(kind: str, code: AnswerCode) -> None:
    """It has no text; the next question is asked again."""
    async with bench(kind, Saying(code=code), "{}") as one:
        got = await one.llm.ask(question(), id="x.1", deadline_s=20)
        assert (got.code, got.text, got.attempts) == (code, None, 1)
        assert one.llm.statuses()[0].last_code == code
        assert (await one.llm.ask(question(), id="x.2", deadline_s=20)).code == "ok"


@pytest.mark.parametrize(("said", "code"), [("", "empty"), ("  \n ", "empty"), ("x" * (REPLY_CHARS + 1), "too-long")])
async def test_a_reply_that_is_none(kind: str, said: str, code: AnswerCode) -> None:
    """Nothing, blanks, or more than is read."""
    async with bench(kind, said, "y" * REPLY_CHARS) as one:
        got = await one.llm.ask(question(), id="x.1", deadline_s=20)
        assert (got.code, got.text) == (code, None)
        longest = await one.llm.ask(question(), id="x.2", deadline_s=20)
        assert (longest.code, len(longest.text or "")) == ("ok", REPLY_CHARS)


async def test_nothing_is_waited_for_beyond_the_deadline(kind: str) -> None:
    """A model that says nothing is late, at its deadline and not before."""
    async with bench(kind, Saying(waits=True)) as one:
        got = await one.llm.ask(question(), id="x.1", deadline_s=0.1)
        assert (got.code, got.text, got.attempts) == ("late", None, 1)
        assert got.took_s >= 0.1


async def test_without_time_nothing_is_asked(kind: str) -> None:
    """Late before it began."""
    async with bench(kind, "{}") as one:
        got = await one.llm.ask(question(), id="x.1", deadline_s=0.0)
        assert (got.code, got.attempts, got.endpoint) == ("late", 0, "")


async def test_a_cancelled_question_is_taken_back(kind: str) -> None:
    """Who asks may stop asking at any time; nothing stays open."""
    async with bench(kind, Saying(waits=True), "{}") as one:
        asking = asyncio.ensure_future(one.llm.ask(question(), id="x.1", deadline_s=20))
        await until(one.busy, "the question is open")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: not one.busy(), "the question is closed")
        assert (await one.llm.ask(question(), id="x.2", deadline_s=20)).code == "ok"


async def test_questions_at_once_have_their_own_answers(kind: str) -> None:
    """Eight at once over two places."""
    async with bench(kind, *(f"{n}" for n in range(8))) as one:
        got = await asyncio.gather(*(one.llm.ask(question(str(n)), id=f"x.{n}", deadline_s=20) for n in range(8)))
        assert sorted(each.text or "" for each in got) == [str(n) for n in range(8)]


async def test_the_fake_answers_each_question_by_itself() -> None:
    """A function in place of a list; with nothing more to say nobody is there."""
    llm = MemoryLlm(lambda ask: ask.user.upper())
    assert (await llm.ask(question("n01"), id="x.1", deadline_s=20)).text == "N01"
    assert llm.asked == [("x.1", question("n01"))]
    silent = MemoryLlm([])
    assert (await silent.ask(question(), id="x.1", deadline_s=20)).code == "unreachable"
