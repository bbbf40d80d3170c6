"""Prompts and reply schemas at a real model: SmolLM2's own tokeniser, llama.cpp's own grammar.

Needs the wheels of the extra `local`; without them it is skipped and says which one is missing.
"""

import json
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest

from fairlead.contracts.dialogue import Ask
from fairlead.contracts.replies import SlotReply
from fairlead.policy.aliases import Aliases, named
from fairlead.policy.figures import tokens_most
from fairlead.policy.questions import PLANNER_TOKENS, SLOT_TOKENS
from fairlead.policy.reply_schemas import planner_schema
from tests.policy.prompt_scenes import SIZES, questions
from tests.testbed.real_text import missing, post, serving, tokens

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run the server of a real text pod and give its address once it is ready."""
    with serving() as (address, _):
        yield address


def messages(ask: Ask) -> list[dict[str, str]]:
    """Return a question as a chat."""
    return [{"role": "system", "content": ask.system}, {"role": "user", "content": ask.user}]


def schema(ask: Ask) -> dict[str, Any]:
    """Return a question's reply schema as a server is given it."""
    inner = {"name": ask.reply, "strict": True, "schema": json.loads(ask.reply_schema)}
    return {"type": "json_schema", "json_schema": inner}


@pytest.mark.parametrize(("nodes", "models"), SIZES)
def test_prompts_have_no_more_tokens_than_are_counted(url: str, nodes: int, models: int) -> None:
    """Chat template included at most 4k and 2k; our count is never too low and at most a third too high."""
    for question, most in zip(questions(nodes, models), (PLANNER_TOKENS, SLOT_TOKENS), strict=True):
        ask = question.ask
        for text in (ask.system, ask.user):
            assert tokens(url, text) <= tokens_most(text) <= 1.3 * tokens(url, text)
        assert tokens(url, post(url, "/apply-template", {"messages": messages(ask)})["prompt"]) <= most


def test_the_local_server_takes_the_schemas(url: str) -> None:
    """Its grammar knows each keyword, with cases and without, with held models and without; a wrong one is refused."""
    planner, slot = (q.ask for q in questions(7, 24))
    bare = planner_schema(Aliases(nodes=named("n", [["a"]]), models=named("m", [["x"]])), 1, 30.0)
    asks = [planner, slot, planner.model_copy(update={"reply_schema": bare})]
    short = {"messages": [{"role": "user", "content": "Go."}], "max_tokens": 1}
    for ask in asks:
        answer = post(url, "/v1/chat/completions", {**short, "response_format": schema(ask)})
        assert answer["usage"]["completion_tokens"] == 1
    wrong = planner.model_copy(update={"reply_schema": '{"$ref":"#/$defs/none"}'})
    with pytest.raises(urllib.error.HTTPError):
        post(url, "/v1/chat/completions", {**short, "response_format": schema(wrong)})


def test_the_local_model_writes_a_reply_of_the_right_shape(url: str) -> None:
    """Whatever it thinks: rows of the asked models over their nodes, each probability a step."""
    ask = questions(3, 1)[1].ask
    call = {"messages": messages(ask), "max_tokens": 400, "temperature": 0, "response_format": schema(ask)}
    choice = post(url, "/v1/chat/completions", call)["choices"][0]
    assert choice["finish_reason"] == "stop"
    reply = SlotReply.from_json(choice["message"]["content"])
    (row,) = reply.routes["*"].values()
    assert f"\nAnswer: {' '.join(reply.routes['*'])}\n" in ask.user
    assert all(20 * p == pytest.approx(round(20 * p)) for p in row.values())
