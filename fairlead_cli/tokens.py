"""`fairlead token`: who may do what at the control API."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead_cli.shown import AsJson, echo_json, echo_table, examples, instant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fairlead.contracts.ports import Store

ROLES = ("admin", "operator", "agent", "gateway", "viewer")

Direct = Annotated[
    bool, typer.Option("--database", help="Work on the settings' database itself: for the first token of all.")
]
Config = Annotated[Path | None, typer.Option("--config", help="Settings, with --database.", show_default=False)]

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands on tokens."""
    app.add_typer(group, name="token", help="Bearer tokens and their roles.")


@group.command(
    "create",
    epilog=examples(
        'fairlead token create --role gateway --note "gateway of node-3"',
        "FAIRLEAD_MONGODB_URI=mongodb://db:27017 fairlead token create --role admin --database",
    ),
)
def create(
    role: Annotated[str, typer.Option("--role", help=f"One of {', '.join(ROLES)}.", show_default=False)],
    note: Annotated[str, typer.Option("--note", help="Whom it is for.")] = "",
    database: Direct = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, once: only its hash is kept."""
    if role not in ROLES:
        raise typer.BadParameter(f"role {role!r} is none of {', '.join(ROLES)}")
    if database:
        made = _directly(config, lambda store: _add(store, role, note))
    else:
        from fairlead_cli.client import locate

        made = locate().post("tokens", {"role": role, "note": note}).json()
    if as_json:
        echo_json(made)
        return
    typer.echo(made["token"])


@group.command(
    "list",
    epilog=examples(
        "fairlead token list",
    ),
)
def list_(database: Direct = False, config: Config = None, as_json: AsJson = False) -> None:
    """List tokens: ids, roles and notes, never the tokens."""
    if database:
        found = {"items": _directly(config, _listed)}
    else:
        from fairlead_cli.client import locate

        found = locate().get("tokens").json()
    if as_json:
        echo_json(found)
        return
    rows = [(t["id"], t["role"], instant(t["created_at_s"]), t["note"] or "-") for t in found["items"]]
    echo_table(("id", "role", "created at", "note"), rows, empty="no tokens")


@group.command(
    "delete",
    epilog=examples(
        "fairlead token delete t-3f2a",
    ),
)
def delete(
    token: Annotated[str, typer.Argument(help="Id of a token, from `token list`.", show_default=False)],
    database: Direct = False,
    config: Config = None,
) -> None:
    """Take a token back, at once."""
    if database:
        _directly(config, lambda store: store.delete_token(token))
    else:
        from fairlead_cli.client import locate

        locate().delete(f"tokens/{token}")
    typer.echo(f"token {token} is gone")


async def _add(store: "Store", role: str, note: str) -> dict[str, Any]:
    import time
    from typing import cast

    from control_api.access import new_token
    from fairlead.contracts.events import Role

    secret, record = new_token(cast(Role, role), note, time.time())
    await store.add_token(record)
    return {"id": record.id, "role": record.role, "note": record.note, "token": secret}


async def _listed(store: "Store") -> list[dict[str, Any]]:
    return [one.to_document() for one in await store.tokens()]


def _directly(config: Path | None, act: "Callable[[Store], Awaitable[Any]]") -> Any:
    """Return what `act` makes of the store of the settings."""
    import asyncio

    from fairlead.adapters.mongo import connect
    from fairlead.contracts.errors import ConfigError
    from fairlead_cli.settings import of_this_process

    settings = of_this_process(config)
    if settings.mongodb.uri is None:
        raise ConfigError("--database needs one: set FAIRLEAD_MONGODB_URI or mongodb.uri")

    async def acted() -> Any:
        store = await connect(settings.mongodb)
        try:
            return await act(store)
        finally:
            await store.close()

    return asyncio.run(acted())
