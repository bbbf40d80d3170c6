"""The command `fairlead`: what it can do, and how its errors end: one line, exit 0 ok, 1 failed, 2 usage.

Only names are known here; what a command needs is imported when it runs, so that `fairlead --help` answers at once.
"""

import sys
from typing import Annotated

import typer

from fairlead_cli import (
    agents,
    bound,
    cases,
    decisions,
    diagnosis,
    episodes,
    estimates,
    forecasts,
    goals,
    llm,
    modes,
    notes,
    plans,
    proposals,
    replay,
    routes,
    scenario_list,
    services,
    setup,
    tokens,
    twin,
    up,
)

TOP_HELP = """Which models are awake where, and where each prompt goes, on an edge cluster.

\b
See it work:         fairlead up
Look into it:        fairlead decisions list
                     fairlead decisions show slot-12
                     fairlead plan show
                     fairlead agents status
Is my machine fit?   fairlead doctor

Settings come from fairlead.yaml (or --config) and FAIRLEAD_* on top. Commands that look into a running system find
the `fairlead up` of this user by themselves, any other by FAIRLEAD_CONTROL_URL and FAIRLEAD_TOKEN.
"""

app = typer.Typer(
    name="fairlead",
    help=TOP_HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
up.register(app)
services.register(app)
setup.register(app)
llm.register(app)
decisions.register(app)
plans.register(app)
modes.register(app)
agents.register(app)
forecasts.register(app)
proposals.register(app)
notes.register(app)
goals.register(app)
cases.register(app)
routes.register(app)
tokens.register(app)
scenario_list.register(app)
twin.register(app)
bound.register(app)
estimates.register(app)
replay.register(app)
episodes.register(app)
diagnosis.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from fairlead_cli.version import version

        typer.echo(f"fairlead {version()}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Do nothing of its own; the words are in `TOP_HELP`."""


def run() -> None:
    """Run the command of this process's arguments and exit as it ended."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Run a command and return its exit status: 0 ok, 1 failed, 2 usage; errors are one line on standard error."""
    try:
        status = app(args=arguments, prog_name="fairlead", standalone_mode=False)
    except typer.Exit as ended:
        return ended.exit_code
    except typer.Abort:
        return _fail("stopped", 1)
    except typer.TyperException as error:
        return _usage(error)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception as error:
        return _known(error)
    return status if isinstance(status, int) else 0


def _usage(error: typer.TyperException) -> int:
    """Say what was wrong with the command line; an empty message is the help that `no_args_is_help` has printed."""
    message = " ".join(error.format_message().split()) if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", None) or "fairlead"
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{getattr(error, 'message', message)}\n")
        return 2
    return _fail(f"{message.rstrip('.')}: see `{path} --help`", 2)


def _known(error: Exception) -> int:
    """Turn an error of our tree into its line; any other is a fault of ours and is raised again."""
    from fairlead.contracts.errors import FairleadError, InputError

    if not isinstance(error, FairleadError):
        raise error
    return _fail(str(error), 2 if isinstance(error, InputError) else 1)


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"fairlead: {' '.join(message.split())}\n")
    return status
