"""The options that say which language model the agents ask: `--llm`, `--llm-model`, `--mode`, and OPENAI_BASE_URL."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from fairlead_cli.modes import MODES
from fairlead_cli.names import near

if TYPE_CHECKING:
    from fairlead.contracts.dialogue import ModeName
    from fairlead.contracts.settings import LlmEndpoint, LlmSettings, Settings

LOCAL = "local"
BASE_VARIABLE = "OPENAI_BASE_URL"
ALLOWED = "local, http(s)://HOST/v1, replay:FILE, and beside one of these record:FILE"
AGENTS_POLICY = "marginal-dpp"
"""The only policy whose agents ask a model: the others are baselines that stand as they were published."""

Llm = Annotated[
    list[str] | None,
    typer.Option(
        "--llm",
        metavar="SOURCE",
        help="Language model that planner and slot agent ask: local (a small one on this machine), "
        "http(s)://HOST/v1 (any OpenAI-compatible server; several in the order in which they are tried) or "
        "replay:FILE; and record:FILE beside it. "
        "Without: llm.endpoints of the settings, else OPENAI_BASE_URL, else none and the fallback decides; a key alone "
        "(OPENAI_API_KEY) configures nothing.",
        show_default=False,
    ),
]
LlmModel = Annotated[
    str | None,
    typer.Option(
        "--llm-model",
        metavar="NAME",
        help="Name of the model that is asked; the first that the server lists without.",
        show_default=False,
    ),
]
RunMode = Annotated[
    str | None,
    typer.Option(
        "--mode",
        metavar="MODE",
        help="Of both agents: auto (what passes the gates acts), assist (a person approves), shadow (judged and "
        "journaled only) or off; as the database has it without, shadow in a new one.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the options come to."""

    settings: "Settings"
    local: bool
    """Whether a model on this machine is to be started; its endpoint is not in the settings yet."""


@dataclass(frozen=True, slots=True)
class _Sources:
    """What `--llm` has said, sorted."""

    local: bool
    urls: tuple[str, ...]
    record: str | None
    replay: str | None


def with_llm(
    settings: "Settings", given: Sequence[str] | None, model: str | None, environ: Mapping[str, str]
) -> Chosen:
    """Return the settings with the language model that options and environment name.

    Raises `ConfigError` for what is none of `ALLOWED`, does not go together, or cannot be asked.
    """
    from fairlead.contracts.errors import ConfigError

    sources = _sorted(given or ())
    if given and settings.policy != AGENTS_POLICY:
        raise ConfigError(
            f"--llm goes with policy {AGENTS_POLICY} only, {settings.policy} is a baseline that asks no model: "
            "leave out one of the two"
        )
    llm = _sourced(settings.llm, sources, environ)
    if sources.record is not None and not (sources.local or llm.endpoints):
        raise ConfigError(f"--llm record:{sources.record} records what a model answers, and none is named: {ALLOWED}")
    if model is not None:
        if not (sources.local or llm.endpoints):
            raise ConfigError(f"--llm-model {model[:40]!r} names a model of no server: give --llm too")
        named = {"planner_model": model, "slot_agent_model": model}
        llm = llm.model_copy(update={"endpoints": tuple(_endpoint(e.url, **named, of=e) for e in llm.endpoints)})
    if (sources.local or llm.endpoints) and importlib.util.find_spec("openai") is None:
        raise ConfigError("a language model is asked by way of the package openai: pip install 'fairlead[llm]'")
    return Chosen(settings.model_copy(update={"llm": llm}), sources.local)


def checked_mode(mode: str | None) -> "ModeName | None":
    """Return the mode that `--mode` names; raises `ConfigError` where it is none."""
    from fairlead.contracts.errors import ConfigError

    match mode:
        case None | "auto" | "assist" | "shadow" | "off":
            return mode
        case _:
            raise ConfigError(f"--mode {mode[:40]!r} is none of {', '.join(MODES)}{near(mode, MODES)}")


def _sorted(given: Sequence[str]) -> _Sources:
    from fairlead.contracts.errors import ConfigError, foreign

    urls: list[str] = []
    files: dict[str, list[str]] = {"record": [], "replay": []}
    local = False
    for source in given:
        kind, _, rest = source.partition(":")
        if source == LOCAL:
            local = True
        elif kind in ("http", "https"):
            urls.append(_address(source, "--llm"))
        elif rest and kind in files:
            files[kind].append(str(Path(rest).absolute()))
        else:
            raise ConfigError(f"--llm {foreign(_without_secret(source))!r} is none of: {ALLOWED}")
    records, replays = files["record"], files["replay"]
    if local + bool(urls) + len(replays) > 1 or len(records) + len(replays) > 1:
        words = " --llm ".join(_without_secret(one) for one in given)
        raise ConfigError(f"--llm {foreign(words)} do not go together: allowed are {ALLOWED}")
    for file in replays:
        if not Path(file).is_file():
            raise ConfigError(f"--llm replay:{file}: there is no such file")
    for file in records:
        if not Path(file).parent.is_dir():
            raise ConfigError(f"--llm record:{file}: there is no directory {Path(file).parent}")
    return _Sources(local, tuple(urls), next(iter(records), None), next(iter(replays), None))


def _sourced(before: "LlmSettings", sources: _Sources, environ: Mapping[str, str]) -> "LlmSettings":
    """Return the settings with the source that is named, else as they are, else with OPENAI_BASE_URL's."""
    update: dict[str, object] = {} if sources.record is None else {"record": sources.record}
    if sources.replay is not None:
        update |= {"replay": sources.replay, "endpoints": ()}
    elif sources.local or sources.urls:
        update |= {"replay": None, "endpoints": tuple(_endpoint(url) for url in sources.urls)}
    elif not before.endpoints and before.replay is None and environ.get(BASE_VARIABLE):
        update["endpoints"] = (_endpoint(_address(environ[BASE_VARIABLE], BASE_VARIABLE)),)
    return before.model_copy(update=update)


def _address(url: str, where: str) -> str:
    """Return a base address with `/v1` where it has no path; raises `ConfigError` without showing credentials."""
    from fairlead.contracts.errors import ConfigError, foreign

    shown = foreign(_without_secret(url))
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(one.isspace() for one in url):
        raise ConfigError(f"{where} {shown} is no address: give one such as https://api.example.com/v1")
    if "@" in url or parts.query or parts.fragment:
        raise ConfigError(
            f"{where} {shown}: an address carries no credentials, query or fragment: put the key into OPENAI_API_KEY"
        )
    return url.rstrip("/") if parts.path.strip("/") else f"{url.rstrip('/')}/v1"


def _endpoint(url: str, *, of: "LlmEndpoint | None" = None, **models: str) -> "LlmEndpoint":
    """Return an endpoint at `url`, as `of` is otherwise; raises `ConfigError` where a value cannot stand in one."""
    import pydantic

    from fairlead.contracts.errors import ConfigError, foreign
    from fairlead.contracts.settings import LlmEndpoint

    try:
        return LlmEndpoint.model_validate((of.model_dump() if of else {}) | models | {"url": url})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"endpoint {foreign(url)}: {first['loc'][-1]}: {foreign(first['msg'])}") from error


def _without_secret(source: str) -> str:
    """Return what was given without anything that may be a credential in an address."""
    scheme, slashes, rest = source.partition("://")
    if not slashes:
        return source
    host = rest.rpartition("@")[2] if "@" in rest else rest
    return f"{scheme}://{'…@' if '@' in rest else ''}{host.partition('?')[0]}"
