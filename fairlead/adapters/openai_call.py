"""One endpoint by way of the `openai` package: one request, one answer as a value; foreign errors are mapped here.

Importing this takes 0.4 s of CPU and 21 MB beyond what a planner has loaded (measured 2026-11): only where an endpoint
is configured.
"""

import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import openai

from fairlead.adapters.llm_key import Key
from fairlead.adapters.openai_shapes import Called, Dialect, body_of, completion, failure, model_names, retry_after
from fairlead.contracts.dialogue import Ask
from fairlead.contracts.errors import foreign

CONNECT_S = 3.0
"""Wall seconds until a connection stands; with TLS 1.3 that is two round trips, and the first SYN may be lost (1 s)."""

BODY_BYTES = 1_048_576
"""No more of an answer is read: a reply of `REPLY_CHARS` takes one byte a character, at most twelve, all escaped."""

IDLE_S = 4.0
"""Wall seconds that an idle connection is kept: below the 5 s after which uvicorn and cpp-httplib close theirs."""

LOOPBACK = ("127.", "localhost", "[::1]", "::1")

BROKEN_OFF = ("Server disconnected", "peer closed connection")
"""How httpcore2 and h11 say that a connection ended before its answer did."""


NEVER_SENT = (
    httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol, ssl.SSLError
)  # fmt: skip
"""Errors of a connection that never stood."""


class _Unread(Exception):
    """An answer that is not read to its end."""

    def __init__(self, called: Called) -> None:
        super().__init__(called.detail)
        self.called = called


class _Bounded(httpx2.AsyncByteStream):
    """The bytes of an answer, broken off where they are too many; httpx2 takes no stream but its own kind."""

    def __init__(self, inner: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._inner = inner
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for piece in self._inner:
            read += len(piece)
            if read > self._most_bytes:
                raise _Unread(Called("too-long", detail=f"more than {self._most_bytes} bytes"))
            yield piece

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._inner.aclose()


async def _bound(response: httpx2.Response) -> None:
    """See to it that no answer fills memory, not by its length nor unpacked."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise _Unread(Called("not-openai", detail="the answer is packed, which was not asked for", fault=True))
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Bounded(response.stream, BODY_BYTES)


class OpenAiEndpoint:
    """Asks one server; each method is one request that ends when its task is cancelled."""

    def __init__(self, url: str, key: Key | None, *, connections: int) -> None:
        """Reach the server at `url` with at most so many connections at once."""
        self._key = key
        host = url.partition("://")[2]
        http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=CONNECT_S),
            limits=httpx2.Limits(max_connections=connections, keepalive_expiry=IDLE_S),
            follow_redirects=False,
            trust_env=not host.startswith(LOOPBACK),  # a proxy is for what is outside
            event_hooks={"response": [_bound]},
        )
        self._client = openai.AsyncOpenAI(
            api_key=key.value() if key else "none",
            base_url=url,
            timeout=httpx2.Timeout(None, connect=CONNECT_S),
            max_retries=0,
            http_client=http,
        )

    async def complete(self, ask: Ask, model: str, dialect: Dialect, *, id: str, attempt: int) -> Called:
        """Return what comes of asking `model`; the request is known to the server by `id` and `attempt`."""
        headers = {"x-fairlead-ask": id, "x-fairlead-attempt": str(attempt)}
        try:
            body = body_of(ask, model, dialect)
            response = await self._client.post(
                "/chat/completions", cast_to=httpx2.Response, body=body, options={"headers": self._headers(headers)}
            )
            called = completion(response.content) if _is_json(response) else _not_json(response)
        except Exception as error:
            called = _called(error)
        return self._shown(called)

    async def models(self) -> tuple[str, ...] | Called:
        """Return the names of the models that the server lists, or how asking for them failed."""
        try:
            response = await self._client.get(
                "/models", cast_to=httpx2.Response, options={"headers": self._headers({})}
            )
            found = model_names(response.content) if _is_json(response) else _not_json(response)
        except Exception as error:
            found = _called(error)
        if isinstance(found, Called):
            return self._shown(found)
        if self._key is not None and any(self._key.scrubbed(name) != name for name in found):
            return Called("not-openai", detail="GET /models: a name shows the key", fault=True)
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _headers(self, own: dict[str, str]) -> dict[str, str | openai.Omit]:
        """Return a request's headers: this key or none, whatever else the environment would add."""
        return {
            **own,
            "Authorization": f"Bearer {self._key.value()}" if self._key else openai.Omit(),
            "OpenAI-Organization": openai.Omit(),
            "OpenAI-Project": openai.Omit(),
            "Accept-Encoding": "identity",
        }

    def _shown(self, called: Called) -> Called:
        """Return the same without the key, wherever a server has put it."""
        if self._key is None:
            return called
        if called.text is not None and self._key.is_in(called.text):
            return Called("not-openai", detail="the reply shows the key", usage=called.usage, fault=True)
        return replace(called, detail=self._key.scrubbed(called.detail))


def _is_json(response: httpx2.Response) -> bool:
    media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return response.status_code == 200 and (media == "application/json" or media.endswith("+json"))


def _not_json(response: httpx2.Response) -> Called:
    media = response.headers.get("content-type", "no content type")
    return Called("not-openai", detail=foreign(f"HTTP {response.status_code} with {media}"), fault=True)


def _called(error: Exception) -> Called:
    """Return what an error of the packages below means."""
    if isinstance(error, _Unread):
        return error.called
    if isinstance(error, openai.APIStatusError):
        answer = error.response
        wait_s = retry_after(answer.headers.get("retry-after"), time.time())
        return failure(answer.status_code, answer.headers.get("content-type", ""), answer.content, wait_s)
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) and error.__cause__ else error
    words = foreign(f"{type(cause).__name__}: {cause}")
    if isinstance(cause, NEVER_SENT):
        return Called("unreachable", detail=words, usage=(0, 0), fault=True)
    if isinstance(cause, httpx2.NetworkError) or str(cause).startswith(BROKEN_OFF):
        return Called("reset", detail=words, fault=True)
    return Called("not-openai", detail=words, fault=True)
