"""The OpenAI shapes of chat completions: what is sent, and what is made of the bytes that come back."""

import email.utils
import json
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import pydantic

from fairlead.contracts.dialogue import REPLY_CHARS, AnswerCode, Ask
from fairlead.contracts.errors import foreign

Style = Literal["schema", "json", "text"]

PLAINER: dict[Style, Style] = {"schema": "json", "json": "text"}
"""How an endpoint is asked for JSON where it does not take the way before."""

TOO_LONG_PROMPT = ("context_length_exceeded", "exceed_context_size_error")
"""What OpenAI and llama.cpp call a prompt that does not fit: asking in a plainer way does not help."""

MOST_TOKENS = 10_000_000
"""A server that counts more for one question than any model can read has not counted."""

RETRY_AFTER_MOST_S = 60.0
"""A server that wants to be left alone for longer is tried again after this; a breaker is open for less."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an endpoint wants to be asked; OpenAI's newest models refuse what all others understand."""

    style: Style = "schema"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True


@dataclass(frozen=True, slots=True)
class Called:
    """What came of one request."""

    code: AnswerCode
    text: str | None = None
    detail: str = ""
    usage: tuple[int, int] | None = None
    """Tokens of prompt and reply as the server counted them; None where it did not say."""
    fault: bool = False
    """The endpoint has failed, not the model that it serves."""
    refused: str | None = None
    """The part of the request that it will not have, with 400 and 422; empty where it did not say which."""
    forgets_model: bool = False
    """It does not know the model."""
    retry_after_s: float = 0.0


class _Message(pydantic.BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(pydantic.BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(pydantic.BaseModel):
    choices: list[_Choice] = pydantic.Field(min_length=1)


class _Usage(pydantic.BaseModel):
    prompt_tokens: int = pydantic.Field(ge=0, le=MOST_TOKENS)
    completion_tokens: int = pydantic.Field(ge=0, le=MOST_TOKENS)


class _Used(pydantic.BaseModel):
    usage: _Usage


class _Model(pydantic.BaseModel):
    id: str = pydantic.Field(min_length=1, max_length=256)


class _Models(pydantic.BaseModel):
    data: list[_Model] = pydantic.Field(min_length=1)


class _Error(pydantic.BaseModel):
    message: str = ""
    param: str | None = None
    code: str | int | None = None
    type: str | None = None


class _Failure(pydantic.BaseModel):
    error: _Error | str | None = None
    message: str = ""
    detail: Any = None


def body_of(ask: Ask, model: str, dialect: Dialect) -> dict[str, Any]:
    """Return the request for a question."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "system", "content": ask.system}, {"role": "user", "content": ask.user}],
        dialect.limit: ask.sampling.reply_tokens,
    }
    if dialect.temperature:
        body["temperature"] = ask.sampling.temperature
    if dialect.style == "schema":
        schema = {"name": ask.reply, "strict": True, "schema": json.loads(ask.reply_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif dialect.style == "json":
        body["response_format"] = {"type": "json_object"}
    return body


def plainer(dialect: Dialect, refused: str) -> Dialect | None:
    """Return how to ask an endpoint that will not have `refused`; None where nothing plainer is left."""
    if refused == "max_tokens" and dialect.limit == "max_tokens":
        return replace(dialect, limit="max_completion_tokens")
    if refused == "temperature" and dialect.temperature:
        return replace(dialect, temperature=False)
    if dialect.style == "text":
        return None
    return replace(dialect, style=PLAINER[dialect.style])


def completion(body: bytes) -> Called:
    """Return what a completion says; `not-openai` where it is none."""
    usage = usage_of(body)
    try:
        choice = _Completion.model_validate_json(body).choices[0]
    except pydantic.ValidationError as error:
        return Called("not-openai", detail=_unlike(error), usage=usage, fault=True)
    content = choice.message.content or ""
    if not content.strip():
        if choice.message.refusal:
            return Called("refused", detail=foreign(f"the model declined: {choice.message.refusal}"), usage=usage)
        return Called("empty", detail=foreign(f"no text, finish_reason {choice.finish_reason}"), usage=usage)
    if len(content) > REPLY_CHARS:
        return Called("too-long", detail=f"{len(content)} characters, {REPLY_CHARS} are read", usage=usage)
    cut = "cut off at the limit of its tokens" if choice.finish_reason == "length" else ""
    return Called("ok", text=content, detail=cut, usage=usage)


def usage_of(body: bytes) -> tuple[int, int] | None:
    """Return the tokens of prompt and reply that an answer counts, None where it does not."""
    try:
        usage = _Used.model_validate_json(body).usage
    except pydantic.ValidationError:
        return None
    return usage.prompt_tokens, usage.completion_tokens


def model_names(body: bytes) -> tuple[str, ...] | Called:
    """Return the models that a listing names, at least one; `not-openai` where it is none or a name cannot be shown."""
    try:
        names = tuple(one.id for one in _Models.model_validate_json(body).data)
    except pydantic.ValidationError as error:
        return Called("not-openai", detail=foreign(f"GET /models: {_unlike(error)}"), fault=True)
    if not all(name.isprintable() for name in names):
        return Called("not-openai", detail="GET /models: a name cannot be printed", fault=True)
    return names


def failure(status: int, content_type: str, body: bytes, retry_after_s: float) -> Called:
    """Return what an answer other than 2xx says.

    4xx is an answer in place of the work (408 apart), so it took no tokens; with 5xx nobody knows.
    """
    said = _said(content_type, body)
    words = foreign(f"HTTP {status}{': ' if said.message else ''}{said.message}")
    usage = usage_of(body)
    if status in (401, 403):
        return Called("refused", detail=f"HTTP {status}: the key was not accepted", usage=usage or (0, 0), fault=True)
    if status == 429:
        return Called("busy", detail=words, usage=usage or (0, 0), fault=True, retry_after_s=retry_after_s)
    if status >= 500:
        return Called("server-error", detail=words, usage=usage, fault=True, retry_after_s=retry_after_s)
    if status < 400:
        return Called("not-openai", detail=words, usage=usage, fault=True)
    prompt_too_long = {str(said.code), said.type} & set(TOO_LONG_PROMPT)
    refused = (said.param or "") if status in (400, 422) and not prompt_too_long else None
    if status != 408:
        usage = usage or (0, 0)
    return Called("refused", detail=words, usage=usage, fault=True, refused=refused, forgets_model=status == 404)


def retry_after(header: str | None, now_s: float) -> float:
    """Return the seconds that `Retry-After` asks for (RFC 9110 §10.2.3) at the Unix time `now_s`; 0 if it is none."""
    if not header:
        return 0.0
    try:
        wait_s = float(header)
    except ValueError:
        try:
            wait_s = email.utils.parsedate_to_datetime(header).timestamp() - now_s
        except (ValueError, TypeError, OverflowError, OSError):
            return 0.0
    return min(max(wait_s, 0.0), RETRY_AFTER_MOST_S) if math.isfinite(wait_s) else 0.0


def _said(content_type: str, body: bytes) -> _Error:
    """Return what an error's body says in one of the shapes that servers use; nothing of a page for people."""
    if "json" not in content_type:
        text = body.decode("utf-8", "replace") if content_type.startswith("text/plain") else ""
        return _Error(message=text)
    try:
        found = _Failure.model_validate_json(body)
    except pydantic.ValidationError:
        return _Error()
    if isinstance(found.error, _Error):
        return found.error
    return _Error(message=found.error or found.message or str(found.detail or ""))


def _unlike(error: pydantic.ValidationError) -> str:
    """Return where an answer differs from the shape, without its content."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "body"
    return foreign(f"{where}: {first['msg']}")
