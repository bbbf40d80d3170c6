"""Language models over HTTP: whatever a server does has its code, in time; the key is shown nowhere."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from fairlead.adapters.openai_call import BODY_BYTES
from fairlead.contracts.dialogue import Answer, AnswerCode
from tests.adapters.llm_questions import asking, question, settings
from tests.adapters.llm_server import Behaviour, LlmServer, endless, fails, hangs, http, raw, reply, resets
from tests.waiting import until

NESTED = "[" * 100_000
CHOICE = {"message": {"content": 7}}


async def once(behaviour: Behaviour, **more: Any) -> Answer:
    """Return what comes of one question with one attempt."""
    async with LlmServer(behaviour).running() as server, asking(settings(server.url, attempts=1, **more)) as llm:
        return await llm.ask(question(), id="x.1", deadline_s=20)


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        (fails(400), "refused", "HTTP 400: no"),
        (fails(401, "no such key"), "refused", "HTTP 401: the key was not accepted"),
        (fails(429, "slow down"), "busy", "HTTP 429: slow down"),
        (fails(500), "server-error", "HTTP 500: no"),
        (http("<html>down</html>", status=502, content_type="text/html"), "server-error", "HTTP 502"),
        (http("down\n", status=502, content_type="text/plain"), "server-error", "HTTP 502: down"),
        (http('{"error":"no model"}', status=404), "refused", "HTTP 404: no model"),
        (http('{"detail":"no model"}', status=404), "refused", "HTTP 404: no model"),
        (http(NESTED, status=404), "refused", "HTTP 404"),
        (http("", status=307, headers="location: http://127.0.0.1:1/\r\n"), "not-openai", "HTTP 307"),
        (http("", status=204), "not-openai", "HTTP 204"),
        (http('{"choices":[]}'), "not-openai", "choices: List should have at least 1 item"),
        (http('{"message":"hello"}'), "not-openai", "choices: Field required"),
        (http(json.dumps({"choices": [CHOICE]})), "not-openai", "choices.0.message.content"),
        (http('{"choices":[{"message":{"content":"a'), "not-openai", "Invalid JSON"),
        (http(b"\xff\xfe"), "not-openai", "Invalid JSON"),
        (http(NESTED), "not-openai", "Invalid JSON"),
        (http('[{"choices":1}]'), "not-openai", "body:"),
        (http("<html></html>", content_type="text/html"), "not-openai", "HTTP 200 with text/html"),
        (http('{"choices":[]}', content_type="text/plain"), "not-openai", "HTTP 200 with text/plain"),
        (raw(b"SSH-2.0-x\r\n\r\n"), "not-openai", "RemoteProtocolError"),
        (raw(b""), "reset", "Server disconnected"),
        (resets, "reset", "peer closed connection"),
        (reply(None), "empty", "finish_reason stop"),
        (reply(""), "empty", "finish_reason stop"),
        (reply(None, refusal="I cannot"), "refused", "the model declined: I cannot"),
        (endless(b" " * 65_536), "too-long", "bytes"),
        (http(b"a" * (BODY_BYTES + 1)), "too-long", "bytes"),
        (http(gzip.compress(b" " * 10_000_000), headers="content-encoding: gzip\r\n"), "not-openai", "packed"),
    ],
)  # fmt: skip
async def test_what_a_server_does_has_its_code(behaviour: Behaviour, code: AnswerCode, words: str) -> None:
    """And words that say what was found; never a text."""
    got = await once(behaviour)
    assert (got.code, got.text, got.attempts) == (code, None, 1)
    assert words in got.detail


async def test_an_endless_answer_is_broken_off_early() -> None:
    """Neither read to its end nor kept: the server got rid of little more than what is read at most."""
    async with LlmServer(endless(b" " * 65_536)).running() as server, asking(settings(server.url)) as llm:
        assert (await llm.ask(question(), id="x.1", deadline_s=20)).code == "too-long"
        await until(lambda: server.left == 1, "the server has noticed")
        assert server.said_bytes < 32 * BODY_BYTES  # what the sockets' buffers took


async def test_a_trickle_does_not_outlast_the_deadline() -> None:
    """Bytes that keep coming are no reason to wait; the connection is closed."""
    behaviour = endless(b" ", every_s=0.01)
    async with LlmServer(behaviour).running() as server, asking(settings(server.url)) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=0.2)
        assert (got.code, got.attempts) == ("late", 1)
        await until(lambda: server.left == 1, "the connection is closed")


async def test_a_late_or_cancelled_request_is_broken_off() -> None:
    """The server sees its client go: nothing is computed that nobody reads."""
    async with LlmServer(hangs, hangs).running() as server, asking(settings(server.url)) as llm:
        assert (await llm.ask(question(), id="x.1", deadline_s=0.1)).code == "late"
        await until(lambda: server.left == 1, "the late one is closed")
        open_ = asyncio.ensure_future(llm.ask(question(), id="x.2", deadline_s=20))
        await until(lambda: server.waiting == 1, "the second one hangs")
        open_.cancel()
        await until(lambda: server.left == 2, "the cancelled one is closed")
        assert llm.statuses()[0].last_code == "late"


async def test_nobody_listens() -> None:
    """No connection, so nothing was spent."""
    async with LlmServer().running() as server:
        url = server.url
    async with asking(settings(url, attempts=2)) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=20)
        assert (got.code, got.attempts, got.prompt_tokens, got.reply_tokens) == ("unreachable", 2, 0, 0)
        assert "ConnectError" in got.detail


@pytest.mark.parametrize("change", [("http://", "https://"), ("127.0.0.1", "")])
async def test_an_address_that_is_none(change: tuple[str, str]) -> None:
    """TLS where none is spoken, or no host at all: nothing was spent either."""
    async with LlmServer().running() as server, asking(settings(server.url.replace(*change), attempts=1)) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=20)
        assert (got.code, got.attempts, got.prompt_tokens) == ("unreachable", 1, 0)


async def test_a_reply_that_was_cut_says_so() -> None:
    """The text is given as far as it goes."""
    got = await once(reply('{"routes":', finish="length"))
    assert (got.code, got.text) == ("ok", '{"routes":')
    assert "cut off" in got.detail


@pytest.mark.parametrize("behaviour", [resets, fails(429), fails(500), raw(b"")])
async def test_what_may_pass_is_tried_again(behaviour: Behaviour) -> None:
    """On the same endpoint, after a little while, each request with its number."""
    async with LlmServer(behaviour, behaviour).running() as server, asking(settings(server.url)) as llm:
        got = await llm.ask(question(), id="slot-agent-7-1.1", deadline_s=20)
        assert (got.code, got.attempts) == ("ok", 3)
        assert [one.headers["x-fairlead-attempt"] for one in server.asked] == ["1", "2", "3"]
        assert {one.headers["x-fairlead-ask"] for one in server.asked} == {"slot-agent-7-1.1"}
        assert got.took_s >= 0.6  # 0.2 and 0.4 s


@pytest.mark.parametrize(
    "behaviour", [fails(404), reply(""), http("<html>", content_type="text/html"), reply(None, refusal="no")]
)
async def test_what_will_not_pass_is_not_tried_again(behaviour: Behaviour) -> None:
    """The same question would end in the same way."""
    async with LlmServer(behaviour).running() as server, asking(settings(server.url)) as llm:
        assert (await llm.ask(question(), id="x.1", deadline_s=20)).attempts == 1
        assert len(server.asked) == 1


async def test_the_number_of_attempts_is_kept_over_all_endpoints() -> None:
    """Four attempts over two endpoints that always fail: in turn, first ones first."""
    async with LlmServer(usual=fails(500)).running() as one, LlmServer(usual=fails(500)).running() as two:
        both = settings(one.url, two.url, attempts=3, breaker_failures=9)
        async with asking(both) as llm:
            got = await llm.ask(question(), id="x.1", deadline_s=20)
            assert (got.code, got.attempts, got.endpoint) == ("server-error", 3, one.url)
            assert (len(one.asked), len(two.asked)) == (2, 1)


@pytest.mark.parametrize("behaviour", [fails(500), fails(401), resets, http("x", content_type="text/html")])
async def test_the_next_endpoint_is_asked_at_once(behaviour: Behaviour) -> None:
    """Where one fails, its successor answers without a pause."""
    async with (
        LlmServer(behaviour).running() as one,
        LlmServer().running() as two,
        asking(settings(one.url, two.url)) as llm,
    ):
        got = await llm.ask(question(), id="x.1", deadline_s=20)
        assert (got.code, got.attempts, got.endpoint) == ("ok", 2, two.url)


async def test_a_server_is_left_alone_for_as_long_as_it_wants() -> None:
    """`Retry-After` within the deadline is waited for; beyond it the answer comes at once, and so for the next."""
    short = LlmServer(fails(429, headers="retry-after: 1\r\n"))
    async with short.running() as server, asking(settings(server.url)) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=20)
        assert (got.code, got.attempts) == ("ok", 2)
        assert got.took_s >= 1.0
    long = LlmServer(usual=fails(429, headers="retry-after: 59\r\n"))
    async with long.running() as server, asking(settings(server.url)) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=20)
        assert (got.code, got.attempts) == ("busy", 1)
        after = await llm.ask(question(), id="x.2", deadline_s=20)
        assert (after.code, after.attempts) == ("busy", 0)
        assert "left alone" in after.detail
        assert got.took_s + after.took_s < 20


async def test_a_breaker_opens_tries_again_and_closes() -> None:
    """Two failures in a row: not asked, then one question at a time tries it."""
    async with LlmServer(fails(500), fails(500), fails(500), hangs).running() as server:
        one = settings(server.url, attempts=1, breaker_failures=2, breaker_open_s=0.3)
        async with asking(one) as llm:
            for number in range(2):
                assert (await llm.ask(question(), id=f"x.{number}", deadline_s=20)).code == "server-error"
            refused = await llm.ask(question(), id="x.2", deadline_s=20)
            assert (refused.code, refused.attempts, refused.endpoint) == ("breaker-open", 0, "")
            assert llm.statuses()[0].breaker == "open"
            await until(lambda: llm.statuses()[0].breaker == "half-open", "it may be tried")
            assert (await llm.ask(question(), id="x.3", deadline_s=20)).code == "server-error"
            assert llm.statuses()[0].breaker == "open"
            await until(lambda: llm.statuses()[0].breaker == "half-open", "it may be tried")
            trial = asyncio.ensure_future(llm.ask(question(), id="x.4", deadline_s=20))
            await until(lambda: server.waiting == 1, "the trial is under way")
            assert (await llm.ask(question(), id="x.5", deadline_s=20)).code == "breaker-open"
            trial.cancel()
            await until(lambda: server.waiting == 0, "the trial was called off")
            assert (await llm.ask(question(), id="x.6", deadline_s=20)).code == "ok"
            assert llm.statuses()[0].breaker == "closed"
            assert len(server.asked) == 5


async def test_late_answers_open_the_breaker_too() -> None:
    """An endpoint that hangs is not waited for at each question; the next one serves instead."""
    async with (
        LlmServer(usual=hangs).running() as one,
        LlmServer().running() as two,
        asking(settings(one.url, two.url, breaker_failures=2)) as llm,
    ):
        for number in range(2):
            assert (await llm.ask(question(), id=f"x.{number}", deadline_s=0.1)).code == "late"
        got = await llm.ask(question(), id="x.2", deadline_s=20)
        assert (got.code, got.endpoint) == ("ok", two.url)
        assert [each.breaker for each in llm.statuses()] == ["open", "closed"]


async def test_what_a_model_says_is_not_its_servers_fault() -> None:
    """Empty, declined or too long again and again: still asked."""
    bad = (reply(""), reply(None, refusal="no"), reply("x" * 70_000))
    async with LlmServer(*bad, *bad).running() as server, asking(settings(server.url, breaker_failures=1)) as llm:
        for number in range(6):
            assert (await llm.ask(question(), id=f"x.{number}", deadline_s=20)).attempts == 1
        assert llm.statuses()[0].breaker == "closed"


async def test_places_are_limited_and_waiting_counts() -> None:
    """With one place the second question waits for it, and is late without having been asked."""
    async with LlmServer(hangs).running() as server, asking(settings(server.url, concurrency=1)) as llm:
        first = asyncio.ensure_future(llm.ask(question(), id="x.1", deadline_s=20))
        await until(lambda: server.waiting == 1, "the first is under way")
        got = await llm.ask(question(), id="x.2", deadline_s=0.1)
        assert (got.code, got.attempts, got.endpoint) == ("late", 0, "")
        assert llm.statuses()[0].last_code is None
        first.cancel()
        await asyncio.wait({first})
        assert (await llm.ask(question(), id="x.3", deadline_s=20)).code == "ok"
