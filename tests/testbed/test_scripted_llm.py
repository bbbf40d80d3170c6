"""The scripted server over real HTTP: each behaviour is what it says, and the ladder says of it what it should."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from fairlead.adapters.memory_store import MemoryStore
from fairlead.adapters.openai_llm import connected
from fairlead.adapters.prompt_files import prompt_texts
from fairlead.contracts.decisions import EpochInput, SlotInput, Step
from fairlead.contracts.dialogue import AgentName, DialogueSettings, Sampling
from fairlead.contracts.settings import LlmEndpoint, LlmSettings
from fairlead.policy.dialogue import Briefing, Held, advise, hold
from fairlead.policy.registry import decide_slot
from fairlead.twin.voices.reading import read
from testbed.scripted_behaviours import BEHAVIOURS, PASSED, WIRE, Mix, drawn, mix_of
from testbed.scripted_join import allowed, read_log, verdicts
from testbed.scripted_llm import Script, ScriptedLlm, serving
from tests.policy.prompt_scenes import epoch, scene

AGENTS: tuple[AgentName, ...] = ("planner", "slot-agent")
SLOW = ("trickle", "never", "late")
DEADLINE_S = 20.0
"""Long enough on a busy machine; those that never answer get a short one."""

SIZES = ((3, 1), (7, 4), (100, 20))
"""Nodes and models: no choice, all by themselves, summarised."""


def asked(agent: AgentName, nodes: int, models: int) -> SlotInput | EpochInput:
    """Return what an agent knows when it asks."""
    given = scene(nodes, models)
    return given if agent == "slot-agent" else epoch(given, decide_slot(given))


async def dialogue(
    url: str, agent: AgentName, given: SlotInput | EpochInput, name: str, deadline_s: float = DEADLINE_S
) -> Held:
    """Hold a dialogue with a server, with the client and the gates that the agents have."""
    llm = connected(LlmSettings(endpoints=(LlmEndpoint(url=url, key_variable=None),)), agent, MemoryStore(), {})
    settings = DialogueSettings(deadline_s=deadline_s, sampling=Sampling(), llm=url)
    try:
        talk = advise(Briefing(given, prompt_texts()[agent], settings, (), ()))
        return await hold(name, talk, llm, deadline_s)
    finally:
        await llm.close()


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
async def test_the_ladder_says_of_each_behaviour_what_the_log_expects(behaviour: str, agent: AgentName) -> None:
    """Real HTTP, the real client, the real gates; on clusters with one model, with four, and summarised."""
    for seed, (nodes, models) in enumerate(SIZES[1:2] if behaviour in WIRE else SIZES):
        async with serving(Script(Mix((behaviour,), (1.0,)), seed), 0) as (url, server):
            deadline_s = 0.3 if behaviour in SLOW else DEADLINE_S
            held = await dialogue(url, agent, asked(agent, nodes, models), f"{agent}-{nodes}-{seed}", deadline_s)
            await ended(server)
        said = verdicts(held.advice.steps)
        assert len(said) == len(held.exchanges) >= 1
        for exchange, verdict in zip(held.exchanges, said, strict=True):
            lines = [one for one in server.lines if one.ask == exchange.id]
            assert len(lines) == exchange.answer.attempts
            assert {one.behaviour for one in lines} == {behaviour}
            assert {one.agent for one in lines} == {agent}
            assert verdict in allowed(lines), (verdict, lines, held.advice.steps)
        if behaviour == "good":
            assert said == (PASSED,)


async def ended(server: ScriptedLlm) -> None:
    """Return once the server has noticed the end of every request."""
    until_s = time.monotonic() + 10.0
    while not all(one.ended for one in server.lines):
        assert time.monotonic() < until_s, "a request did not end with its client"
        await asyncio.sleep(0.01)


@pytest.fixture
async def good() -> AsyncIterator[tuple[str, ScriptedLlm]]:
    """Yield a server that behaves well."""
    async with serving(Script(mix_of("good=1"), 1), 0) as both:
        yield both


def body(user: str, **more: object) -> dict[str, object]:
    """Return a request for a chat completion."""
    messages = [{"role": "system", "content": "Route."}, {"role": "user", "content": user}]
    return {"model": "scripted", "messages": messages, **more}


SLOT_USER = """Nodes: alias, speed
n01 1 2
n02 1 0

Models: alias, rate
m01 3 2 0: n01 0.6 9 3, n02 0.4
m02 3 2 0: n01 1 +12

Answer: m01"""


async def test_the_good_answer_is_the_fallback_s_row_a_little_moved(good: tuple[str, ScriptedLlm]) -> None:
    """From the node where most work waits to the other; of the model that was asked for alone; tokens are counted."""
    url, server = good
    async with aiohttp.ClientSession() as session:
        answer = await (await session.post(f"{url}/chat/completions", json=body(SLOT_USER))).json()
        models = await (await session.get(f"{url}/models")).json()
    reply = json.loads(answer["choices"][0]["message"]["content"])
    assert reply["routes"] == {"*": {"m01": {"n01": 0.5, "n02": 0.5}}}
    assert [one["id"] for one in models["data"]] == ["scripted"]
    text = answer["choices"][0]["message"]["content"]
    assert answer["usage"]["prompt_tokens"] == 2 + 4 + -(-len(SLOT_USER) // 4) + 4
    assert answer["usage"]["completion_tokens"] == -(-len(text) // 4)
    assert (server.lines[0].prompt_tokens, server.lines[0].reply_tokens) == (
        answer["usage"]["prompt_tokens"],
        answer["usage"]["completion_tokens"],
    )


async def test_no_more_tokens_are_said_than_the_request_allows(good: tuple[str, ScriptedLlm]) -> None:
    """The reply ends there, as a real server's does."""
    async with aiohttp.ClientSession() as session:
        call = body(SLOT_USER, max_tokens=5)
        answer = await (await session.post(f"{good[0]}/chat/completions", json=call)).json()
    assert answer["usage"]["completion_tokens"] == 5
    assert len(answer["choices"][0]["message"]["content"]) == 20
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("agent", AGENTS)
async def test_a_style_that_it_has_not_is_refused_and_the_client_steps_down(agent: AgentName) -> None:
    """Strict schema and JSON mode refused: the third request is plain, and what it says passes all the same."""
    async with serving(Script(mix_of("good=1"), 1, styles=("text",)), 0) as (url, server):
        held = await dialogue(url, agent, asked(agent, 7, 4), f"{agent}-1-1")
    assert [(one.status, one.outcome) for one in server.lines] == [(400, "refused"), (400, "refused"), (200, "sent")]
    assert held.exchanges[0].answer.style == "text"
    assert verdicts(held.advice.steps) == (PASSED,)


@pytest.mark.parametrize("behaviour", SLOW)
async def test_a_request_ends_when_its_client_goes(behaviour: str) -> None:
    """Nothing is left waiting in the server."""
    script = Script(Mix((behaviour,), (1.0,)), 1)
    async with serving(script, 0) as (url, server), aiohttp.ClientSession() as session:
        with pytest.raises(TimeoutError):
            await _read(session, url)
        await ended(server)
    assert [one.outcome for one in server.lines] == ["left"]


async def _read(session: aiohttp.ClientSession, url: str) -> None:
    """Read an answer to its end for a moment."""
    timeout = aiohttp.ClientTimeout(total=0.3)
    async with session.post(f"{url}/chat/completions", json=body(SLOT_USER), timeout=timeout) as answer:
        await answer.read()


async def test_late_answers_well_one_slot_later() -> None:
    """For a client that waits, it is the good answer."""
    late = Script(Mix(("late",), (1.0,)), 1, slot_s=0.2)
    async with serving(late, 0) as (url, server), aiohttp.ClientSession() as session:
        answer = await (await session.post(f"{url}/chat/completions", json=body(SLOT_USER))).json()
    assert "routes" in answer["choices"][0]["message"]["content"]
    assert server.lines[0].ended - server.lines[0].begun >= 0.2
    assert server.lines[0].outcome == "sent"


async def test_what_is_no_chat_completion_is_refused(good: tuple[str, ScriptedLlm]) -> None:
    """And a prompt that is none of ours is answered in words that no gate lets pass."""
    async with aiohttp.ClientSession() as session:
        for wrong in ({}, {"messages": [{"role": "user"}]}, {"messages": [{"role": "system", "content": "x"}]}):
            assert (await session.post(f"{good[0]}/chat/completions", json=wrong)).status == 400
        answer = await (await session.post(f"{good[0]}/chat/completions", json=body("Hello"))).json()
    assert "cannot read" in answer["choices"][0]["message"]["content"]
    assert good[1].lines[-1].outcome == "unreadable"


def test_behaviours_are_drawn_by_seed_question_and_attempt() -> None:
    """The same for the same; in shares as the mix says; another attempt is another draw."""
    mix = mix_of("good=0.6,bad=0.4")
    names = [drawn(mix, 7, f"slot-agent-{at}-1.1", 1)[0] for at in range(4000)]
    assert names == [drawn(mix, 7, f"slot-agent-{at}-1.1", 1)[0] for at in range(4000)]
    assert 0.57 < names.count("good") / len(names) < 0.63
    assert set(names) == set(BEHAVIOURS)
    assert [drawn(mix, 7, "a", attempt)[0] for attempt in range(60)] != [drawn(mix, 8, "a", 1)[0]] * 60


@pytest.mark.parametrize("spec", ["", "good", "goood=1", "good=-1", "good=x", "good=nan", "good=0", "nowhere.json"])
def test_a_mix_that_is_none_is_refused(spec: str) -> None:
    """With words that name it."""
    with pytest.raises(ValueError, match=r"--mix|could not convert"):
        mix_of(spec)


def test_a_mix_may_stand_in_a_file(tmp_path: Path) -> None:
    """On one line or on several."""
    file = tmp_path / "mix"
    file.write_text("good=0.5\nnan=0.5\n")
    assert mix_of(str(file)) == Mix(("good", "nan"), (0.5, 0.5))


def test_as_a_process_it_writes_its_log(tmp_path: Path) -> None:
    """A line on standard error says where; the log has a line for each request; SIGTERM ends it."""
    log = tmp_path / "asks.jsonl"
    command = [sys.executable, "-m", "testbed.scripted_llm", "--mix", "nan=1", "--log", str(log), "--seed", "3"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as server:
        assert server.stderr is not None
        url = json.loads(server.stderr.readline())["url"]
        held = asyncio.run(dialogue(url, "slot-agent", asked("slot-agent", 7, 4), "slot-agent-1-1"))
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
    lines = read_log(log)
    assert set(lines) == {"slot-agent-1-1.1", "slot-agent-1-1.2"}
    assert verdicts(held.advice.steps) == ("parse:not-finite", "parse:not-finite")
    assert all(one.behaviour == "nan" and one.status == 200 for some in lines.values() for one in some)
    bad = subprocess.run([*command[:3], "--mix", "x=1"], capture_output=True, check=False, timeout=60)
    assert bad.returncode == 2
    assert b"'x' is none of bad, good" in bad.stderr


def test_a_verdict_is_about_the_reply_alone() -> None:
    """A question's first rung that does not hold; rows that do not fit any more later on are no fault of the reply."""
    first = ("call:ok", "parse:not-json", "repair:asked")
    second = ("call:ok", "parse:ok", "schema:ok", "feasibility:ok", "trust:ok")
    later = ("twin:no-worse", "mode:auto", "feasibility:no-rows", "fallback:ok")
    wrong = ("not-json", "no-rows")
    steps = [
        Step.model_validate({"name": name, "code": code, "ok": code not in wrong, "text": ""})
        for name, code in (one.split(":") for one in (*first, *second, *later))
    ]
    assert verdicts(steps) == ("parse:not-json", PASSED)
    assert verdicts(steps[-1:]) == ()


def test_the_rule_reads_nothing_but_the_prompt() -> None:
    """Its input is the user part as text."""
    assert read(SLOT_USER) == read(f"Weights: 1.\n\n{SLOT_USER}\n\nYour last reply was:\nModels: n01")
