"""What an emulated model server says: answers in the shapes of OpenAI's API, cut into the pieces that are sent.

Shapes after OpenAI's API reference (chat completion, chat completion chunk, completion, image, model, error objects).
The words mean nothing; the picture is a real PNG (RFC 2083) of the size that was asked for.
"""

import base64
import functools
import itertools
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.contracts.cluster import ModelSpec

WORDS = ("a", "small", "model", "answers", "at", "the", "edge", "of", "the", "network", "with", "plain", "words", "and")

TOKENS = 32
"""Length of an answer that names no `max_tokens`; own choice, the order of a short chat turn."""

MOST_TOKENS = 4096
"""Longer answers are cut: a pod builds the answer in memory."""

PICTURE_SIDE = 128
"""Pixels a side where a request names no size; own choice: 1 KB instead of the megabytes of a photograph."""

MOST_SIDE = 1024
"""The largest size of OpenAI's image endpoint for square pictures."""


class BadRequest(Exception):
    """What the client sent cannot be answered; carries status and code of the error object."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in pieces; a piece is sent when its share of the work is done."""

    pieces: tuple[bytes, ...]
    shares: tuple[float, ...]
    """Rising; the last is 1."""
    content_type: str
    work_s: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived."""

    path: str
    body: bytes
    number: int
    at_s: float


def answer(model: ModelSpec, asked: Asked, pieces: int) -> Answer:
    """Return the answer to a request, a streamed one in about so many `pieces`; raises `BadRequest`."""
    call = _call(model, asked)
    work_s = _work_s(model, call)
    match asked.path:
        case "/v1/chat/completions" | "/v1/completions" if model.kind in ("text", "vision-language"):
            return _words(model, asked, call, work_s, pieces)
        case "/v1/images/generations" if model.kind == "image":
            return Answer((_picture(call, asked),), (1.0,), "application/json", work_s)
    raise BadRequest(404, "unsupported", f"{model.id} is a {model.kind} model and does not serve {asked.path}")


def models(model: ModelSpec, at_s: float) -> bytes:
    """Return the list of the one model that a pod serves."""
    entry = {"id": model.id, "object": "model", "created": int(at_s), "owned_by": "fairlead-testbed"}
    return json.dumps({"object": "list", "data": [entry]}).encode()


def error(code: str, text: str) -> bytes:
    """Return OpenAI's error object."""
    return json.dumps(
        {"error": {"message": text, "type": "invalid_request_error", "param": None, "code": code}}
    ).encode()


@functools.cache
def pixels(width: int, height: int) -> bytes:
    """Return the compressed pixels of a picture of that size: a gradient, RGB with 8 bits a channel."""
    rows = bytearray()
    line = bytes(itertools.chain.from_iterable((x * 255 // width, 96, 255 - x * 255 // width) for x in range(width)))
    for _ in range(height):
        rows += b"\x00" + line
    return zlib.compress(bytes(rows), 1)


def png(width: int, height: int, comment: str) -> bytes:
    """Return a PNG; the comment makes each one differ."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    text = b"Comment\x00" + comment.encode("latin-1", "replace")
    chunks = ((b"IHDR", header), (b"tEXt", text), (b"IDAT", pixels(width, height)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _call(model: ModelSpec, asked: Asked) -> Mapping[str, Any]:
    try:
        call = json.loads(asked.body)
    except ValueError as cause:
        raise BadRequest(400, "bad-json", f"the body is not JSON: {cause}") from cause
    if not isinstance(call, dict):
        raise BadRequest(400, "bad-body", "the body is not a JSON object")
    if call.get("model", model.id) != model.id:
        raise BadRequest(404, "model_not_found", f"this pod serves {model.id!r} only")
    return call


def _work_s(model: ModelSpec, call: Mapping[str, Any]) -> float:
    """Return the work of the request: what its metadata says (OpenAI's are strings), else the model's mean."""
    metadata = call.get("metadata")
    if not isinstance(metadata, dict) or "work_s" not in metadata:
        return model.work_s
    try:
        work_s = float(metadata["work_s"])
    except (TypeError, ValueError) as cause:
        raise BadRequest(400, "bad-work", "metadata.work_s is not a number") from cause
    if not 0 < work_s < 1e6:
        raise BadRequest(400, "bad-work", "metadata.work_s must lie between 0 and a million seconds")
    return work_s


def _count(call: Mapping[str, Any], chat: bool) -> int:
    for name in ("max_completion_tokens", "max_tokens") if chat else ("max_tokens",):
        value = call.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BadRequest(400, "bad-tokens", f"{name} must be a whole number of at least 1")
        return min(value, MOST_TOKENS)
    return TOKENS


def _words(model: ModelSpec, asked: Asked, call: Mapping[str, Any], work_s: float, pieces: int) -> Answer:
    chat = asked.path == "/v1/chat/completions"
    if chat and not isinstance(call.get("messages"), list):
        raise BadRequest(400, "bad-messages", "messages must be a list")
    tokens = _count(call, chat)
    usage = {"prompt_tokens": max(1, len(asked.body) // 4), "completion_tokens": tokens}
    usage["total_tokens"] = sum(usage.values())
    head = {"id": f"cmpl-{asked.number}", "created": int(asked.at_s), "model": model.id}
    if call.get("stream") is True:
        return _streamed(head, chat, tokens, work_s, pieces)
    text = " ".join(itertools.islice(itertools.cycle(WORDS), tokens))
    choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
    choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    shape = {"object": "chat.completion" if chat else "text_completion", "choices": [choice], "usage": usage}
    return Answer((json.dumps(head | shape).encode(),), (1.0,), "application/json", work_s)


def _streamed(head: dict[str, Any], chat: bool, tokens: int, work_s: float, pieces: int) -> Answer:
    """Return an event for each token, gathered into `pieces`: each is one write and one wake-up of all on its way."""
    start = json.dumps(head | {"object": "chat.completion.chunk" if chat else "text_completion"})[:-1]
    before = f'data: {start}, "choices": [{{"index": 0, "finish_reason": null, '
    before += '"delta": {"content": "' if chat else '"text": "'
    after = ' "}}]}\n\n' if chat else ' "}]}\n\n'
    words = list(itertools.islice(itertools.cycle(WORDS), tokens))
    count = max(1, min(pieces, tokens))
    cuts = [tokens * (i + 1) // count for i in range(count)]
    found, begin = [], 0
    for cut in cuts:
        found.append("".join(f"{before}{word}{after}" for word in words[begin:cut]).encode())
        begin = cut
    end = '"delta": {}' if chat else '"text": ""'
    found[-1] += f'data: {start}, "choices": [{{"index": 0, "finish_reason": "length", {end}}}]}}\n\n'.encode()
    found[-1] += b"data: [DONE]\n\n"
    return Answer(tuple(found), tuple(cut / tokens for cut in cuts), "text/event-stream", work_s)


def _picture(call: Mapping[str, Any], asked: Asked) -> bytes:
    size = call.get("size", f"{PICTURE_SIDE}x{PICTURE_SIDE}")
    width, cross, height = str(size).partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise BadRequest(400, "bad-size", "size must look like 256x256")
    if not (1 <= int(width) <= MOST_SIDE and 1 <= int(height) <= MOST_SIDE):
        raise BadRequest(400, "bad-size", f"size must lie between 1x1 and {MOST_SIDE}x{MOST_SIDE}")
    picture = base64.b64encode(png(int(width), int(height), f"request {asked.number}")).decode()
    return json.dumps({"created": int(asked.at_s), "data": [{"b64_json": picture}]}).encode()
