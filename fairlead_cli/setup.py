"""`fairlead setup`: a fresh database made ready, and the keys that processes show one another as files."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead_cli import keys
from fairlead_cli.shown import examples

if TYPE_CHECKING:
    from fairlead.contracts.events import Role
    from fairlead.contracts.ports import Store
    from fairlead.contracts.settings import MongoSettings

RETRY_S = 0.5
"""Wall seconds between attempts to reach the database."""


LEAST_CHARS = 32
"""Of a token that somebody else made: 160 bits even of five bits a character."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "setup",
        rich_help_panel="Single processes",
        epilog=examples(
            "FAIRLEAD_MONGODB_URI=mongodb://db:27017 fairlead setup --admin-token admin.token --edge-keys keys",
            "FAIRLEAD_MONGODB_URI='mongodb://db:27017/?replicaSet=fairlead' fairlead setup --initiate",
        ),
    )(setup)


def setup(
    admin_token: Annotated[
        Path | None, typer.Option("--admin-token", help="File for a token of the role admin.", show_default=False)
    ] = None,
    edge_keys: Annotated[
        Path | None,
        typer.Option("--edge-keys", help="Folder for the keys that `fairlead edge` reads.", show_default=False),
    ] = None,
    initiate: Annotated[
        bool, typer.Option("--initiate", help="The database is one mongod of its own: make its replica set.")
    ] = False,
    within: Annotated[float, typer.Option("--within", help="Seconds to wait for the database.")] = 60.0,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings; ./fairlead.yaml if it is there.", show_default=False)
    ] = None,
) -> None:
    """Make the settings' database ready and write the keys that are missing; what is there already stays."""
    from fairlead.contracts.errors import ConfigError
    from fairlead_cli.settings import of_this_process

    settings = of_this_process(config)
    if settings.mongodb.uri is None:
        raise ConfigError("setup needs a database: set FAIRLEAD_MONGODB_URI or mongodb.uri")
    tokens: list[tuple[Role, Path]] = [] if admin_token is None else [("admin", admin_token)]
    if edge_keys is not None:
        tokens += [("agent", edge_keys / keys.AGENT), ("gateway", edge_keys / keys.GATEWAY)]
    asyncio.run(_made(settings.mongodb, tokens, within, initiate=initiate))
    if edge_keys is not None:
        _keep_secret(edge_keys / keys.KEEPER)


async def _made(
    mongodb: "MongoSettings", tokens: "list[tuple[Role, Path]]", within_s: float, *, initiate: bool
) -> None:
    """Reach the database, its replica set made where that is asked for, and write the tokens that are missing."""
    if initiate:
        await _initiate(mongodb, within_s)
    store = await _reached(mongodb, within_s)
    try:
        for role, file in tokens:
            await _keep_token(store, role, file)
    finally:
        await store.close()


async def _initiate(mongodb: "MongoSettings", within_s: float) -> None:
    from fairlead.adapters import mongod
    from fairlead.contracts.errors import ConfigError

    uri = mongodb.uri or ""
    host = uri.removeprefix("mongodb://").partition("/")[0]
    if not uri.startswith("mongodb://") or any(sign in host for sign in "@,"):
        raise ConfigError(
            "--initiate makes the replica set of one mongod without users, such as "
            f"mongodb://db:27017/?replicaSet={mongod.REPLICA_SET}: leave it out for any other database"
        )
    await mongod.initiate(uri, within_s=within_s)
    typer.echo(f"database at {host}: replica set {mongod.REPLICA_SET}")


async def _reached(mongodb: "MongoSettings", within_s: float) -> "Store":
    """Return the store once it answers; raises `StoreUnavailable` after `within_s` wall seconds."""
    from fairlead.adapters.clock import ScaledClock
    from fairlead.adapters.mongo import connect
    from fairlead.contracts.errors import StoreUnavailable

    clock = ScaledClock()
    until_s = clock.wall_s() + within_s
    while True:
        try:
            return await connect(mongodb)
        except StoreUnavailable:
            if clock.wall_s() > until_s:
                raise
            await asyncio.sleep(RETRY_S)


async def _keep_token(store: "Store", role: "Role", file: Path) -> None:
    """Write a token of a role, unless the file holds one: that is made known; one that was lost is taken back.

    So whoever made the keys, such as an installer, may bring them along, and a new database takes those in use.
    """
    import time

    from control_api.access import digest, new_token
    from fairlead.contracts.errors import ConfigError

    note = f"fairlead setup: {file.name}"
    known = await store.tokens()
    held = _held(file)
    if held is not None and digest(held) in {one.sha256 for one in known if one.role == role}:
        typer.echo(f"token of the role {role}: {file} is there")
        return
    if held is not None and (len(held) < LEAST_CHARS or digest(held) in {one.sha256 for one in known}):
        raise ConfigError(
            f"{file} cannot be the token of the role {role}: it has fewer than {LEAST_CHARS} characters, or is another "
            "role's; remove the file, and one is made"
        )
    secret, record = new_token(role, note, time.time())
    if held is None:
        keys.write(file, secret)
    else:
        record = record.model_copy(update={"sha256": digest(held)})
    await store.add_token(record)
    for lost in known:
        if (lost.role, lost.note) == (role, note):
            await store.delete_token(lost.id)
    typer.echo(f"token of the role {role}: {file} is {'written' if held is None else 'made known'}")


def _held(file: Path) -> str | None:
    """Return the key that a file holds; None where there is no file."""
    return keys.read(file, "the key file") if file.is_file() else None


def _keep_secret(file: Path) -> None:
    """Write the secret of the keepers, unless there is one."""
    import secrets

    if _held(file) is not None:
        typer.echo(f"secret of the keepers: {file} is there")
        return
    keys.write(file, secrets.token_urlsafe(24))
    typer.echo(f"secret of the keepers: {file} is written")
