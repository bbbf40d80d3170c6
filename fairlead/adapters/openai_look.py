"""Whether an endpoint answers, without asking a model anything: what `fairlead doctor` looks at."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from fairlead.adapters.llm_key import key_of
from fairlead.adapters.openai_call import OpenAiEndpoint
from fairlead.contracts.dialogue import AnswerCode
from fairlead.contracts.settings import LlmEndpoint


@dataclass(frozen=True, slots=True)
class Look:
    """What an endpoint says to `GET /models`."""

    code: AnswerCode
    models: tuple[str, ...]
    """Empty unless `code` is `ok`."""
    detail: str
    has_key: bool
    """Whether a key was sent along."""


async def looked_at(endpoint: LlmEndpoint, environ: Mapping[str, str], within_s: float) -> Look:
    """Return what an endpoint lists within so many wall seconds; raises `ConfigError` for a key that cannot be one."""
    key = key_of(endpoint, environ)
    server = OpenAiEndpoint(endpoint.url, key, connections=1)
    try:
        async with asyncio.timeout(within_s):
            found = await server.models()
    except TimeoutError:
        return Look("late", (), f"no answer within {within_s:g} s", key is not None)
    finally:
        await server.close()
        await asyncio.sleep(0)  # transports end in the loop's next round
    if isinstance(found, tuple):
        return Look("ok", found, "", key is not None)
    return Look(found.code, (), found.detail, key is not None)
