"""What is found out about a language model's endpoint, and that its key is shown nowhere."""

import asyncio
import json
from typing import Any

import pytest
import structlog

from fairlead.adapters.llm_key import SHOWN_CHARS, Key
from fairlead.adapters.memory_store import MemoryStore
from fairlead.adapters.openai_llm import EndpointsLlm, connected
from fairlead.adapters.openai_look import Look, looked_at
from fairlead.adapters.openai_shapes import retry_after
from fairlead.contracts.dialogue import Answer, AnswerCode
from fairlead.contracts.errors import ConfigError
from fairlead.contracts.settings import LlmEndpoint, LlmSettings
from tests.adapters.llm_questions import ENVIRON, KEY, asking, question, settings
from tests.adapters.llm_server import Behaviour, LlmServer, fails, hangs, http, raw, reply
from tests.waiting import until


def formats(server: LlmServer) -> list[str | None]:
    """Return how each question has asked for JSON."""
    return [one.body.get("response_format", {}).get("type") for one in server.asked]


async def test_the_style_is_found_once_and_remembered() -> None:
    """Strict schema, then JSON mode, then plain text, each refusal an attempt; afterwards the one that was taken."""
    no = fails(400, "response_format is not supported")
    async with LlmServer(no, fails(422)).running() as server, asking(settings(server.url)) as llm:
        assert llm.statuses()[0].style is None
        first = await llm.ask(question(), id="x.1", deadline_s=20)
        assert (first.code, first.attempts, first.style) == ("ok", 3, "text")
        second = await llm.ask(question(), id="x.2", deadline_s=20)
        assert (second.attempts, second.style) == (1, "text")
        assert formats(server) == ["json_schema", "json_object", None, None]
        assert llm.statuses()[0].style == "text"
        assert llm.statuses()[0].breaker == "closed"


async def test_the_style_is_found_over_several_questions() -> None:
    """With one attempt each, the second question goes on where the first has ended."""
    async with LlmServer(fails(400)).running() as server, asking(settings(server.url, attempts=1)) as llm:
        assert (await llm.ask(question(), id="x.1", deadline_s=20)).code == "refused"
        assert (await llm.ask(question(), id="x.2", deadline_s=20)).style == "json"


async def test_what_is_refused_in_every_style_is_not_about_style() -> None:
    """It is looked for anew with the next question; a prompt that is too long is not stepped down for."""
    async with LlmServer(usual=fails(400)).running() as server, asking(settings(server.url)) as llm:
        assert (await llm.ask(question(), id="x.1", deadline_s=20)).code == "refused"
        server.usual = fails(400, "too long", code="context_length_exceeded")
        got = await llm.ask(question(), id="x.2", deadline_s=20)
        assert (got.code, got.attempts, got.style) == ("refused", 1, "schema")


async def test_newest_models_want_other_names() -> None:
    """`max_completion_tokens`, and no temperature: found out in the same way, and the style stays."""
    script = (fails(400, param="max_tokens"), fails(400, param="temperature"))
    async with LlmServer(*script).running() as server, asking(settings(server.url)) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=20)
        assert (got.code, got.attempts, got.style) == ("ok", 3, "schema")
        assert server.asked[0].body["max_tokens"] == 100
        assert server.asked[0].body["temperature"] == 0.0
        last = server.asked[-1].body
        assert last["max_completion_tokens"] == 100
        assert not {"max_tokens", "temperature"} & set(last)


async def test_questions_at_once_step_down_together() -> None:
    """Two that are refused in the same style step down once, not twice."""

    async def both(server: LlmServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until(lambda: len(server.asked) >= 2, "both are asked")
        await fails(400)(server, reader, writer)

    async with LlmServer(both, both).running() as server, asking(settings(server.url)) as llm:
        got = await asyncio.gather(*(llm.ask(question(), id=f"x.{n}", deadline_s=20) for n in range(2)))
        assert [one.style for one in got] == ["json", "json"]


async def test_a_model_that_is_not_configured_is_asked_for_once() -> None:
    """The first that the server lists, remembered until the server does not know it any more."""
    async with LlmServer().running() as server, asking(settings(server.url, model=None)) as llm:
        for number in range(2):
            got = await llm.ask(question(), id=f"x.{number}", deadline_s=20)
            assert (got.model, got.attempts) == ("small", 1)
        assert server.listings == 1
        server.script.append(fails(404, "no such model"))
        server.models = http('{"data":[{"id":"other"}]}')
        assert (await llm.ask(question(), id="x.2", deadline_s=20)).code == "refused"
        assert (await llm.ask(question(), id="x.3", deadline_s=20)).model == "other"
        assert [one.body["model"] for one in server.asked] == ["small", "small", "small", "other"]


@pytest.mark.parametrize(
    ("models", "code"),
    [
        (http('{"data":[]}'), "not-openai"),
        (http('{"data":[{"id":"a\\u001b[2J"}]}'), "not-openai"),
        (http(json.dumps({"data": [{"id": "x" * 257}]})), "not-openai"),
        (http(json.dumps({"data": [{"id": f"echo {KEY}"}]})), "not-openai"),
        (http("<html>", content_type="text/html"), "not-openai"),
        (fails(404), "refused"),
    ],
)
async def test_a_listing_that_names_no_model(models: Behaviour, code: AnswerCode) -> None:
    """Is an attempt that has failed; no question was sent."""
    async with LlmServer(models=models).running() as server, asking(settings(server.url, model=None)) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=20)
        assert (got.code, got.attempts, got.model, got.prompt_tokens) == (code, 1, "", 0)
        assert KEY not in got.to_json()
        assert server.asked == []


async def test_a_listing_that_hangs_is_late() -> None:
    """And its endpoint's failure."""
    async with LlmServer(models=hangs).running() as server, asking(settings(server.url, model=None)) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=0.1)
        assert (got.code, got.attempts, got.prompt_tokens) == ("late", 1, 0)
        assert llm.statuses()[0].last_code == "late"


async def test_each_agent_asks_its_own_model() -> None:
    """As the endpoint is configured for it."""
    async with LlmServer().running() as server:
        one = LlmSettings(endpoints=(LlmEndpoint(url=server.url, planner_model="big", slot_agent_model="small"),))
        async with asking(one, agent="planner") as llm:
            assert (await llm.ask(question(), id="x.1", deadline_s=20)).model == "big"
        async with asking(one, agent="slot-agent") as llm:
            assert (await llm.ask(question(), id="x.1", deadline_s=20)).model == "small"


def everything_shown(llm: EndpointsLlm, got: Answer, log: list[Any]) -> str:
    """Return all that anybody could see of a question."""
    return f"{got!r} {got.to_json()} {llm.statuses()!r} {llm!r} {log!r} {getattr(llm, '__dict__', '')}"


@pytest.mark.parametrize(
    "behaviour",
    [
        fails(400, f"wrong key {KEY} given"),
        fails(500, f"upstream said {KEY[: SHOWN_CHARS + 2]}***"),
        fails(500, f"UPPER {KEY.upper()}"),
        http(f"<p>{KEY}</p>", content_type=KEY),
        raw(f"HTTP/1.1 {KEY}\r\n\r\n".encode()),
        reply(f'{{"why":"{KEY}"}}'),
        reply(None, refusal=KEY),
    ],
)
async def test_a_key_that_a_server_gives_back_is_shown_nowhere(behaviour: Behaviour) -> None:
    """Not in answers, statuses, logs or `repr`, whole or in part; it was sent, though."""
    with structlog.testing.capture_logs() as log:
        async with LlmServer(usual=behaviour).running() as server:
            async with asking(settings(server.url, attempts=1, breaker_failures=1)) as llm:
                got = await llm.ask(question(), id="x.1", deadline_s=20)
                shown = everything_shown(llm, got, list(log)).casefold()
            assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert got.code != "ok"
    windows = [KEY[at : at + SHOWN_CHARS].casefold() for at in range(len(KEY) - SHOWN_CHARS + 1)]
    assert [part for part in windows if part in shown] == []


async def test_a_placeholder_is_no_secret_but_is_not_shown_either() -> None:
    """Keys such as `none` stand in ordinary words: a reply may hold them, an error's words do not."""
    told = LlmServer(reply('{"why":"none"}'), fails(500, "key none"))
    environ = {"OPENAI_API_KEY": "none"}
    async with told.running() as server, asking(settings(server.url, attempts=1), environ=environ) as llm:
        assert (await llm.ask(question(), id="x.1", deadline_s=20)).text == '{"why":"none"}'
        assert (await llm.ask(question(), id="x.2", deadline_s=20)).detail == "HTTP 500: key [key]"


async def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment of the process holds for others."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org")
    async with LlmServer().running() as server, asking(settings(server.url), environ={}) as llm:
        assert (await llm.ask(question(), id="x.1", deadline_s=20)).code == "ok"
        assert not {"authorization", "openai-organization", "openai-project"} & set(server.asked[0].headers)


@pytest.mark.parametrize("value", ["a b", "clé", "a\nb"])
def test_what_cannot_be_a_key_is_refused(value: str) -> None:
    """With the variable's name, not with its value."""
    with pytest.raises(ConfigError, match="OPENAI_API_KEY") as raised:
        connected(settings("http://127.0.0.1:9/v1"), "planner", MemoryStore(), {"OPENAI_API_KEY": value})
    assert value not in str(raised.value)
    assert repr(Key(KEY)) == "Key(…)"


async def test_no_endpoint_is_an_answer() -> None:
    """And nothing of it needs the openai package."""
    async with asking(LlmSettings()) as llm:
        got = await llm.ask(question(), id="x.1", deadline_s=20)
        assert (got.code, got.attempts, llm.statuses()) == ("no-endpoint", 0, ())


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (None, 0.0),
        ("", 0.0),
        ("7", 7.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("1e9", 60.0),
        ("soon", 0.0),
        ("Thu, 01 Jan 1970 00:16:45 GMT", 5.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("Thu, 99 Jan 1970 00:00:01 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, wait_s: float) -> None:
    """At second 1000; never beyond a minute, never before now, nothing else."""
    assert retry_after(header, 1000.0) == wait_s


async def test_an_endpoint_without_a_key_variable_reads_none() -> None:
    """Also where the environment holds one; the address is shown without its query."""
    async with LlmServer().running() as server:
        one = LlmEndpoint(url=server.url, key_variable=None, planner_model="small", slot_agent_model="small")
        async with asking(LlmSettings(endpoints=(one,))) as llm:
            assert (await llm.ask(question(), id="x.1", deadline_s=20)).code == "ok"
        assert "authorization" not in server.asked[0].headers
    queried = LlmEndpoint(url="http://127.0.0.1:9/v1?key=secret")
    async with asking(LlmSettings(endpoints=(queried,)), environ={}) as llm:
        assert llm.statuses()[0].url == "http://127.0.0.1:9/v1"
        assert "secret" not in (await llm.ask(question(), id="x.1", deadline_s=20)).to_json()


async def test_a_look_is_bounded_and_asks_no_model() -> None:
    """What the server lists, or that it says nothing in time; the key is sent along where there is one."""
    async with LlmServer().running() as server:
        endpoint = settings(server.url).endpoints[0]
        assert await looked_at(endpoint, ENVIRON, 20) == Look("ok", ("small",), "", has_key=True)
        server.models = hangs
        look = await looked_at(endpoint, {}, 0.1)
        assert (look.code, look.models, look.has_key) == ("late", (), False)
        assert server.asked == []
