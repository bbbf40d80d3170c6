"""Whom the agents of a run of the twin ask: the options of commands that play the policy `agents`."""

import asyncio
import contextlib
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fairlead.adapters.process_table import processor_s
from fairlead_cli.llm_options import LOCAL

if TYPE_CHECKING:
    from fairlead.studies.asking import LlmAt
    from fairlead.twin.talking import Asker, Counsel

SCRIPTED = "scripted"
ALLOWED = f"{SCRIPTED}:MIX, http(s)://HOST/v1, replay:FILE, and beside one of these record:FILE"

TwinLlm = Annotated[
    list[str] | None,
    typer.Option(
        "--llm",
        metavar="SOURCE",
        help="Language model that policy `agents` asks: http(s)://HOST/v1, replay:FILE (recorded by record:FILE beside "
        f"another source), or {SCRIPTED}:good=0.8,bad=0.2, a fixed rule that stands in for one and counts for none.",
        show_default=False,
    ),
]
LlmSeconds = Annotated[
    float | None,
    typer.Option(
        "--llm-seconds",
        min=0.0,
        help="Every answer takes so long on the virtual clock, whatever it took here; as measured without (a rule's "
        "2 s).",
        show_default=False,
    ),
]
TwinMode = Annotated[
    str, typer.Option("--mode", help="auto: what passes the gates acts; shadow: judged only, the fallback acts.")
]

SCRIPTED_S = 2.0
"""What an answer of the rule takes on the virtual clock: a small model on an edge GPU, our own choice."""


@dataclass(frozen=True, slots=True)
class Local:
    """The small model of this machine, served for a command."""

    port: int
    pid: int
    threads: int
    """That compute an answer."""

    def busy_s(self) -> float:
        """Return what it has computed, seconds of as many processors as it has threads.

        What an answer takes there does not depend on what else the machine does.
        """
        return (processor_s(self.pid) or 0.0) / self.threads


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options say."""

    llm: Sequence[str]
    model: str | None
    seconds: float | None
    mode: str
    seed: int
    local: Local | None = None
    """The small model of this machine, while `local` can be asked."""


@contextlib.contextmanager
def local_model(llm: Sequence[str]) -> Generator[Local | None]:
    """Serve the small model of this machine where `local` is to be asked; give None where it is not.

    Raises `ConfigError` where it is not installed, `Unavailable` where it does not come up.
    """
    if LOCAL not in llm:
        yield None
        return
    from testbed import local_llm
    from testbed.ports import Ports

    local_llm.require()
    ports = Ports()
    port = ports.take()
    try:
        with local_llm.child(port) as process:
            asyncio.run(local_llm.answering(process, port))
            yield Local(port, process.pid, local_llm.fit().threads)
    finally:
        ports.release()


@contextlib.contextmanager
def counselled(wanted: Wanted) -> "Generator[Counsel]":
    """Give the counsel that the options name; raises `ConfigError` where they name none."""
    from fairlead.contracts.errors import ConfigError
    from fairlead.contracts.settings import Settings
    from fairlead.studies.asking import clocked, counsel_of
    from fairlead.studies.asking import counselled as asked

    rules = [one for one in wanted.llm if one.partition(":")[0] == SCRIPTED]
    if not rules:
        with asked(llm_at(wanted), os.environ) as counsel:
            local = wanted.local if wanted.seconds is None else None
            yield counsel if local is None else replace(counsel, ask=clocked(counsel.ask, local.busy_s))
        return
    if len(wanted.llm) > 1:
        raise ConfigError(f"--llm {rules[0][:80]} stands alone: leave out the others")
    yield counsel_of(Settings().llm, _scripted(rules[0], wanted), _mode(wanted.mode), SCRIPTED)


def llm_at(wanted: Wanted) -> "LlmAt":
    """Return the endpoint or file that the options name; raises `ConfigError` where they name none."""
    from fairlead.contracts.errors import ConfigError
    from fairlead.contracts.settings import Settings
    from fairlead.studies.asking import LlmAt
    from fairlead_cli.llm_options import with_llm

    mode = _mode(wanted.mode)
    for one in wanted.llm:
        if (one == LOCAL and wanted.local is None) or one.partition(":")[0] == SCRIPTED:
            raise ConfigError(f"--llm {one[:80]} cannot be asked here: `fairlead llm serve` it and give its address")
    settings = with_llm(Settings(), wanted.llm, wanted.model, os.environ).settings
    if wanted.local is not None:
        from testbed import local_llm

        settings = local_llm.asking(settings, wanted.local.port)
    chosen = settings.llm
    if not chosen.endpoints and chosen.replay is None:
        raise ConfigError(f"policy agents asks a language model, and none is named: --llm {ALLOWED}")
    name = wanted.llm[0] if wanted.llm else chosen.endpoints[0].url
    return LlmAt(chosen.to_json(), name, mode, wanted.seconds)


def _scripted(source: str, wanted: Wanted) -> "Asker":
    from fairlead.contracts.errors import ConfigError
    from testbed.scripted_counsel import scripted

    try:
        took_s = SCRIPTED_S if wanted.seconds is None else wanted.seconds
        return scripted(source.partition(":")[2] or "good=1", wanted.seed, took_s)
    except ValueError as error:
        raise ConfigError(f"--llm {source[:80]}: {error}"[:256]) from error


def _mode(mode: str) -> Literal["auto", "shadow"]:
    from fairlead.contracts.errors import ConfigError

    match mode:
        case "auto" | "shadow":
            return mode
        case _:
            raise ConfigError(f"--mode {mode[:40]!r} is none of auto, shadow: in the twin nobody approves")
