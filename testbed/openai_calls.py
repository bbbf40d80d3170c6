"""OpenAI-shaped calls for a demand, and the check that an answer is complete and sane."""

import base64
import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from fairlead.contracts.cluster import Kind, ModelSpec
from fairlead.twin.demand import Demand

PATHS: dict[Kind, str] = {
    "text": "/v1/chat/completions",
    "vision-language": "/v1/chat/completions",
    "image": "/v1/images/generations",
}

STREAM_ONE_IN = 4
"""Every fourth text request asks for a stream: both ways of answering are in each run. Ours."""

TOKEN_CHARS = 4
"""Characters of English text to a token, the usual rule of thumb (OpenAI's tokenizer page)."""

FILLER = "The ferry leaves at nine and the harbour is quiet until then. "
"""What prompts are made of; they carry nobody's words."""

PROMPT_TOKENS_MOST = 8192
"""Longer prompts are cut: 32 KB go with an offer, and rows of a trace may be corrupt upwards."""

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
"""First bytes of every PNG file (RFC 2083 §3.1)."""

DONE = b"data: [DONE]"
"""Last event of an OpenAI stream."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it goes over the wire."""

    path: str
    body: bytes
    kind: Kind
    model: str
    streamed: bool


def call(model: ModelSpec, demand: Demand, number: int) -> Call:
    """Return the call for a demand; `number` counts the requests of a run and decides which are streamed.

    The work goes along as `metadata.work_s`, a string as OpenAI's metadata are; a real model is not told any.
    """
    streamed = model.kind == "text" and number % STREAM_ONE_IN == 0
    body: dict[str, Any] = {"model": model.id}
    words = prompt(demand.prompt_tokens)
    match model.kind:
        case "text":
            body |= {"messages": [{"role": "user", "content": words}], "max_tokens": max(1, demand.output_tokens)}
        case "vision-language":
            parts = [{"type": "text", "text": words}, {"type": "image_url", "image_url": {"url": TINY_IMAGE_URL}}]
            body |= {"messages": [{"role": "user", "content": parts}], "max_tokens": max(1, demand.output_tokens)}
        case "image":
            body |= {"prompt": words, "n": 1, "size": "256x256", "response_format": "b64_json"}
    if streamed:
        body["stream"] = True
    if model.launch is None or model.launch.launcher != "exec":
        body["metadata"] = {"work_s": repr(demand.work_s)}
    return Call(PATHS[model.kind], json.dumps(body).encode(), model.kind, model.id, streamed)


def prompt(tokens: int) -> str:
    """Return about `tokens` tokens of text, at least one word."""
    chars = max(1, min(tokens, PROMPT_TOKENS_MOST)) * TOKEN_CHARS
    return (FILLER * (chars // len(FILLER) + 1))[:chars]


def fault(asked: Call, status: int, body: bytes) -> str:
    """Return why an answer is not a full and sane one, as a short code; empty if it is."""
    if status != 200:
        return f"http-{status}"
    if asked.streamed:
        return _stream_fault(asked, body)
    try:
        document = json.loads(body)
    except ValueError:
        return "answer-no-json"
    if not isinstance(document, dict):
        return "answer-no-object"
    return _image_fault(document) if asked.kind == "image" else _chat_fault(asked, document)


def _chat_fault(asked: Call, document: dict[str, Any]) -> str:
    if document.get("model", asked.model) != asked.model:
        return "answer-other-model"
    try:
        words = document["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return "answer-no-choice"
    return "" if isinstance(words, str) and words else "answer-empty"


def _image_fault(document: dict[str, Any]) -> str:
    try:
        head = base64.b64decode(document["data"][0]["b64_json"][:12])
    except (KeyError, IndexError, TypeError, ValueError):
        return "answer-no-image"
    return "" if head.startswith(PNG_MAGIC) else "answer-no-png"


def _stream_fault(asked: Call, body: bytes) -> str:
    """Check the frame of a stream: one end, at its end; first and last event of one answer, of the model asked for."""
    if body.count(DONE) != 1 or not body.rstrip().endswith(DONE):
        return "stream-not-ended" if DONE not in body else "stream-ended-twice"
    if b'"content"' not in body:
        return "stream-empty"
    try:
        first, last = _event(body, body.find(b"data: ")), _event(body, body.rfind(b"data: {"))
    except ValueError:
        return "stream-no-json"
    if first.get("model", asked.model) != asked.model:
        return "answer-other-model"
    return "" if first.get("id") == last.get("id") else "stream-of-two"


def _event(body: bytes, at: int) -> dict[str, Any]:
    """Return the event whose `data: ` stands at `at`; raises `ValueError` where there is none."""
    if at < 0:
        raise ValueError("no event")
    document = json.loads(body[at + 6 : body.find(b"\n", at)])
    if not isinstance(document, dict):
        raise ValueError("no object")
    return document


def tiny_png() -> bytes:
    """Return a PNG of one grey pixel, the image part of a vision-language prompt (RFC 2083)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return PNG_MAGIC + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\x00\x80")) + chunk(b"IEND", b"")


TINY_IMAGE_URL = "data:image/png;base64," + base64.b64encode(tiny_png()).decode()
