"""A language model's server that is none: it speaks HTTP in the OpenAI shapes, and behaves well or badly as told.

    python -m testbed.scripted_llm --port 8760 --seed 7 --mix good=0.6,bad=0.4 --log asks.jsonl

What it says when it behaves well is a plain rule's doing (`testbed.scripted_rule`), never to be counted as a result of
a language model. What the ladder should say of each behaviour stands in `testbed.scripted_behaviours`; a line of the
log carries it, so that the log can be joined with the journal ask by ask. The behaviour of a request is drawn from a
stream of its own: seed, id of the question (`x-fairlead-ask`) and attempt (`x-fairlead-attempt`, else counted here).
Tokens are counted as one for each four bytes begun of a message or of the reply, and four for each message.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from aiohttp import web

from fairlead.twin.voices.reading import Unreadable, read
from testbed.scripted_behaviours import PAGE, Mix, Said, drawn, mix_of, said
from testbed.scripted_goal import goal_in, goal_said

MODEL = "scripted"

STYLES = {"json_schema": "schema", "json_object": "json", "text": "text"}
"""Kinds of `response_format` and the word for each."""

TOKEN_BYTES = 4
"""Bytes of English text to a token, the usual rule of thumb (OpenAI's tokenizer page)."""

MESSAGE_TOKENS = 4
"""Added for each message, as OpenAI's counting recipe has it."""

REPLY_TOKENS = 4096
"""Limit of a reply where the request names none."""

TRICKLES = 20.0
"""Bytes of a trickle in a slot: a reply of some hundred bytes takes many slots."""

RETRY_AFTER_S = 1
"""What 429 asks for, wall seconds."""

NEVER_S = 3600.0
"""Wall seconds after which even a client that waits forever is let go."""

BODY_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Script:
    """How a server behaves."""

    mix: Mix
    seed: int
    slot_s: float = 30.0
    """Wall seconds of a slot: `late` is one late, and a trickle lasts several."""
    styles: tuple[str, ...] = ("schema", "json", "text")
    """Ways of asking for JSON that it takes; others are refused with 400."""
    delay_s: float = 0.0
    """Wall seconds that a sound reply takes."""


@dataclass(slots=True)
class Line:
    """A request in the log; times are Unix seconds."""

    ask: str
    """Empty where the client named none."""
    attempt: int
    agent: str
    behaviour: str
    status: int
    """Of HTTP; 0 where no answer was begun."""
    prompt_tokens: int
    reply_tokens: int
    """What the server has worked, whether the client heard of it or not."""
    begun: float
    ended: float
    outcome: str
    """`sent` in full; `left` by the client before that; `broken` off by us; `refused` style of asking; `unreadable`
    prompt."""
    expected: tuple[str, ...]
    """Verdicts of which the ladder should come to one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as far as it matters."""

    user: str
    agent: str
    style: str
    prompt_tokens: int
    limit_tokens: int


class ScriptedLlm:
    """The server's handlers and its log."""

    def __init__(self, script: Script, log: TextIO | None) -> None:
        self._script = script
        self._log = log
        self._seen: Counter[str] = Counter()
        self.lines: list[Line] = []

    def application(self) -> web.Application:
        """Return the handlers for an aiohttp server; run it with `handler_cancellation`, so that waits end."""
        app = web.Application(client_max_size=BODY_BYTES)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_post("/v1/chat/completions", self._completions)
        return app

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "testbed"}]})

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        begun = time.time()
        try:
            asked = _asked(await request.read())
        except (ValueError, KeyError, TypeError) as error:
            return _error(400, f"not a chat completion: {error}", "invalid_request_error")
        ask = request.headers.get("x-fairlead-ask", "")
        self._seen[ask] += 1
        attempt = int(request.headers.get("x-fairlead-attempt", self._seen[ask]))
        name, chance = drawn(self._script.mix, self._script.seed, ask, attempt)
        line = Line(ask, attempt, asked.agent, name, 0, 0, 0, begun, 0.0, "left", ())
        self.lines.append(line)
        try:
            response = await self._behave(request, asked, line, chance)
            line.outcome = "sent" if line.outcome == "left" else line.outcome
            return response
        finally:
            line.ended = time.time()
            if self._log is not None:
                self._log.write(json.dumps(asdict(line)) + "\n")
                self._log.flush()

    async def _behave(
        self, request: web.Request, asked: Asked, line: Line, chance: np.random.Generator
    ) -> web.StreamResponse:
        if asked.style not in self._script.styles:
            line.status, line.outcome = 400, "refused"
            return _error(400, f"response_format of style {asked.style} is not supported", "invalid_request_error")
        try:
            goal = goal_in(asked.user)
            answer = goal_said(line.behaviour, goal) if goal else said(line.behaviour, read(asked.user), chance)
        except Unreadable as error:
            line.outcome = "unreadable"
            answer = Said(f"I cannot read that: {error}.", ("parse:not-json",))
        line.expected = answer.verdicts
        match line.behaviour:
            case "busy":
                line.status = 429
                return _error(429, "too many requests", "rate_limit_exceeded", {"Retry-After": str(RETRY_AFTER_S)})
            case "error":
                line.status, line.prompt_tokens = 500, asked.prompt_tokens
                return _error(500, "something broke", "server_error")
        line.prompt_tokens = asked.prompt_tokens
        await asyncio.sleep(NEVER_S if line.behaviour == "never" else self._script.delay_s)
        text, line.reply_tokens, cut = _cut(answer.text, asked.limit_tokens, whole=line.behaviour == "huge")
        body = json.dumps(_completion(text, asked.prompt_tokens, line.reply_tokens, cut)).encode()
        return await self._send(request, body, line, chance)

    async def _send(
        self, request: web.Request, body: bytes, line: Line, chance: np.random.Generator
    ) -> web.StreamResponse:
        match line.behaviour:
            case "late":
                await asyncio.sleep(self._script.slot_s)
            case "content-type":
                line.status = 200
                return web.Response(text=PAGE, content_type="text/html")
            case "trickle":
                return await _written(request, body, line, pause_s=self._script.slot_s / TRICKLES)
            case "reset":
                line.outcome = "broken"
                if chance.random() < 0.5:
                    await _written(request, body[: len(body) // 2], line, length=len(body))
                return _broken(request)
        return await _written(request, body, line)


async def _written(
    request: web.Request, body: bytes, line: Line, *, length: int | None = None, pause_s: float | None = None
) -> web.StreamResponse:
    """Send a body, announced as `length` bytes, whole or a byte at a time."""
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body) if length is None else length)}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    line.status = 200
    if pause_s is None:
        await response.write(body)
    else:
        for at in range(len(body)):
            await response.write(body[at : at + 1])
            await asyncio.sleep(pause_s)
    if length is None:
        await response.write_eof()
    return response


def _broken(request: web.Request) -> web.Response:
    """Break the connection off with RST, so that the client sees a reset and no end."""
    transport = request.transport
    if transport is not None:
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


def _asked(body: bytes) -> Asked:
    """Return what a request asks; raises `ValueError`, `KeyError` or `TypeError` where it is no chat completion."""
    document = json.loads(body)
    contents = [str(one["content"]) for one in document["messages"]]
    said = [str(one["content"]) for one in document["messages"] if one["role"] == "user"]
    if not said:
        raise ValueError("no message is a user's")
    form = document.get("response_format") or {"type": "text"}
    schema = json.dumps(form["json_schema"]["schema"]) if form["type"] == "json_schema" else ""
    tokens = sum(_tokens(one) + MESSAGE_TOKENS for one in contents) + _tokens(schema)
    limit = int(document.get("max_tokens") or document.get("max_completion_tokens") or REPLY_TOKENS)
    agent = "slot-agent" if "\nAnswer: " in said[0] else "planner"
    return Asked(said[0], agent, STYLES[form["type"]], tokens, limit)


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // TOKEN_BYTES)


def _cut(text: str, limit: int, *, whole: bool) -> tuple[str, int, bool]:
    """Return a reply within the limit of its tokens, how many it has, and whether it was cut."""
    if whole or _tokens(text) <= limit:
        return text, _tokens(text), False
    return text.encode()[: limit * TOKEN_BYTES].decode(errors="ignore"), limit, True


def _completion(text: str, prompt_tokens: int, reply_tokens: int, cut: bool) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": reply_tokens}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "length" if cut else "stop",
            }
        ],
        "usage": usage | {"total_tokens": prompt_tokens + reply_tokens},
    }


def _error(status: int, words: str, kind: str, headers: dict[str, str] | None = None) -> web.Response:
    param = "response_format" if "response_format" in words else None
    error = {"error": {"message": words, "type": kind, "param": param, "code": kind}}
    return web.json_response(error, status=status, headers=headers)


@contextlib.asynccontextmanager
async def serving(script: Script, port: int, log: TextIO | None = None) -> AsyncIterator[tuple[str, ScriptedLlm]]:
    """Serve on a loopback port (0: any) and give the base address with the server."""
    server = ScriptedLlm(script, log)
    runner = web.AppRunner(server.application(), handler_cancellation=True, shutdown_timeout=0.0, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", server
    finally:
        await runner.cleanup()


async def _serve(script: Script, port: int, log: TextIO | None) -> None:
    """Serve until SIGTERM or SIGINT; a line on standard error says where."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with serving(script, port, log) as (url, _):
        print(json.dumps({"url": url}), file=sys.stderr, flush=True)
        await ended.wait()


def main() -> None:
    """Do what the command line says."""
    words = argparse.ArgumentParser(prog="python -m testbed.scripted_llm", description=(__doc__ or "").splitlines()[0])
    words.add_argument("--port", type=int, default=0, help="loopback port; 0 takes any")
    words.add_argument("--seed", type=int, default=0, help="of what each request gets")
    words.add_argument("--mix", default="good=1", help="behaviours and shares, such as good=0.6,bad=0.4, or a file")
    words.add_argument("--log", type=Path, help="a JSON line for each request is added here")
    words.add_argument("--slot", type=float, default=30.0, help="wall seconds of a slot")
    words.add_argument("--delay", type=float, default=0.0, help="wall seconds that a sound reply takes")
    words.add_argument("--styles", default="schema,json,text", help="ways of asking for JSON that it takes")
    given = words.parse_args()
    styles = tuple(given.styles.split(","))
    if not styles or not set(styles) <= set(STYLES.values()):
        words.error(f"--styles {given.styles}: allowed are {', '.join(STYLES.values())}")
    try:
        script = Script(mix_of(given.mix), given.seed, given.slot, styles, given.delay)
    except ValueError as error:
        words.error(str(error))
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(given.log.open("a", encoding="utf-8")) if given.log is not None else None
        asyncio.run(_serve(script, given.port, log))


if __name__ == "__main__":
    main()
