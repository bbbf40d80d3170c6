"""The control API as a process: its store, its watch, its server."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from importlib.metadata import version

import structlog
import uvicorn
from starlette.types import ASGIApp

from control_api.access import is_loopback
from control_api.app import context, create_app, hastened
from control_api.context import Context
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.mongo import MongoStore
from fairlead.adapters.store_rules import EMPTY_CLUSTER
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import ConfigError, StoreUnavailable, foreign
from fairlead.contracts.settings import ControlSettings, Settings

RETRY_S = 0.5
"""Wall seconds between attempts to reach the database at the start."""

LAST_ANSWERS_S = 2
"""Wall seconds that open calls get to end once the process is told to."""


async def serve(settings: Settings) -> None:
    """Serve until cancelled, also while there is no database yet.

    Raises `ConfigError` if it may not or cannot listen where it should, `SchemaTooNew` if the database is a newer one.
    """
    check(settings.control)
    clock = ScaledClock(settings.speed, settings.clock_origin_s)
    store = MongoStore(settings.mongodb, clock)
    parts = context(settings, store, clock)
    try:
        server = server_of(hastened(create_app(parts, version("fairlead"))), settings.control)
        with listening(settings.control) as door:
            await _run(server, door, parts, store)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    finally:
        await store.close()


async def _run(server: uvicorn.Server, door: socket.socket, parts: Context, store: MongoStore) -> None:
    """Work and answer until this is cancelled or the database is refused."""
    async with asyncio.TaskGroup() as group:
        working = group.create_task(_work(parts, store))
        try:
            await _answer(server, door, parts)
        finally:
            working.cancel()


async def _work(parts: Context, store: MongoStore) -> None:
    """Make the database ready, then follow it."""
    log = structlog.get_logger("control")
    while True:
        try:
            await store.prepare()
            await _first_cluster(parts)
            break
        except StoreUnavailable as error:
            log.warning("no database yet", error=str(error))
            await asyncio.sleep(RETRY_S)
    await parts.watch.run()


async def _first_cluster(parts: Context) -> None:
    """Give a store that has no cluster the one of the settings."""
    cluster = parts.settings.cluster
    if isinstance(cluster, Cluster) and await parts.store.cluster() == EMPTY_CLUSTER:
        await parts.store.replace_cluster(cluster)


async def _answer(server: uvicorn.Server, door: socket.socket, parts: Context) -> None:
    """Run the server until this is cancelled, then let open calls end."""
    host, port = door.getsockname()[:2]
    structlog.get_logger("control").info("listening", host=host, port=port)
    running = asyncio.ensure_future(server.serve(sockets=[door]))
    try:
        await asyncio.shield(running)
    finally:
        parts.watch.close()
        server.should_exit = True
        await asyncio.wait((running,), timeout=LAST_ANSWERS_S + 1)


@contextlib.contextmanager
def listening(control: ControlSettings) -> Iterator[socket.socket]:
    """Hold the socket that the settings name; raises `ConfigError` if it is not to be had."""
    family = socket.AF_INET6 if ":" in control.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((control.host, control.port))
        except OSError as error:
            raise ConfigError(
                f"control.port: cannot listen on {control.host}:{control.port} ({foreign(error)}): "
                "end what listens there, or set another port"
            ) from error
        yield door


def server_of(app: ASGIApp, control: ControlSettings) -> uvicorn.Server:
    """Return a server for the application, which leaves the process's signals alone."""
    if (control.tls_certificate is None) != (control.tls_key is None):
        raise ConfigError("control.tls_certificate and control.tls_key go together: set both or none")
    try:
        config = uvicorn.Config(
            app,
            http="auto",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=LAST_ANSWERS_S,
            ssl_certfile=control.tls_certificate,
            ssl_keyfile=control.tls_key,
            ssl_ca_certs=control.tls_client_ca,
            ssl_cert_reqs=ssl.CERT_REQUIRED if control.tls_client_ca else ssl.CERT_NONE,
        )
        config.load()
    except OSError as error:
        raise ConfigError(f"control.tls_certificate, tls_key or tls_client_ca: {foreign(error)}") from error
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign]  # whoever runs us owns them
    return server


@contextlib.contextmanager
def _no_signals() -> Iterator[None]:
    yield


def check(control: ControlSettings) -> None:
    """Raise `ConfigError` where anybody could come in: no authentication on an address that others reach."""
    if not control.auth and not is_loopback(control.host):
        raise ConfigError(
            f"control.auth is off and control.host is {control.host!r}: without tokens only a loopback address may be "
            "listened on; set control.auth, or host 127.0.0.1"
        )
