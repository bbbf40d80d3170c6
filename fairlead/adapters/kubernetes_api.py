"""The Kubernetes API over aiohttp: get, list, create, server-side apply, delete and watch, of any kind of object.

Objects are plain JSON values. An answer of 429 (or 503) with `Retry-After` holds back every call of this client for
that long; a call that cannot wait so long raises `KubernetesUnavailable`. So does whatever may work later. `NotFound`
is 404, `Conflict` 409, `KubernetesRefused` everything else that is not taken.
"""

import asyncio
import json
import socket
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from fairlead.adapters.kubernetes_access import Access
from fairlead.contracts.containers import MANAGED_BY
from fairlead.contracts.errors import Conflict, KubernetesRefused, KubernetesUnavailable, NotFound, foreign

Object = dict[str, Any]

PAGE_ITEMS = 500
"""Objects of one page of a list, as in client-go."""

CALLS_AT_ONCE = 16
"""Calls of one client that are under way; more wait. A process with a thousand agents has two thousand at its start:
each on a connection of its own, they would time out together."""

CONNECT_S = 5.0
"""Wall seconds for a connection; a slow server still accepts at once."""

WATCH_IDLE_S = 130.0
"""Wall seconds of silence after which a watch is begun again: the server sends a bookmark about once a minute."""

SPARED_S = 1.0
"""Wall seconds to wait where 429 says none, as client-go does."""

SPARED_MOST_S = 60.0
"""Most wall seconds that an answer can hold calls back: two slots of 30 s; the server itself asks for one second."""

KEEPALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""Seconds, seconds, probes: a peer that is cut off is noticed within 25 s, less than a slot."""

LINE_BYTES = 8_000_000
"""Longest event: etcd takes objects up to 1.5 MB, JSON of which may be larger."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object by where it lies in the API."""

    version: str
    """Group and version, such as `apps/v1`; `v1` for those without a group."""
    plural: str
    name: str
    """As `kind` has it."""

    def path(self, namespace: str | None, name: str | None = None, part: str | None = None) -> str:
        """Return the path of one object, of a part of it such as `status`, or of the list."""
        root = "/apis/" if "/" in self.version else "/api/"
        words = [root + self.version]
        words += [] if namespace is None else ["namespaces", quote(namespace, safe="")]
        words += [self.plural, *([] if name is None else [quote(name, safe="")]), *([] if part is None else [part])]
        return "/".join(words)


PODS = Kind("v1", "pods", "Pod")
NODES = Kind("v1", "nodes", "Node")
BUDGETS = Kind("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget")


@dataclass(frozen=True, slots=True)
class Put:
    """An object is there, new or changed."""

    object: Object


@dataclass(frozen=True, slots=True)
class Vanished:
    """An object is there no more, or no longer selected; the last that was seen of it."""

    object: Object


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Nothing happened up to here."""

    version: str


@dataclass(frozen=True, slots=True)
class Expired:
    """The server no longer knows what happened since: list anew (410)."""


Change = Put | Vanished | Bookmark | Expired


class KubernetesApi:
    """One client of the API; a call takes at most `timeout_s` wall seconds from its turn on."""

    def __init__(self, access: Access, *, timeout_s: float = 10.0) -> None:
        self.calls = 0
        """Requests that were sent, watches included."""
        self._access = access
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(CALLS_AT_ONCE)
        self._spared_until_s = float("-inf")

    async def get(self, path: str) -> Object:
        """Return the object at a path."""
        return await self._exchange("GET", path)

    async def items(self, path: str, *, labels: str = "", fields: str = "") -> tuple[tuple[Object, ...], str]:
        """Return the objects that are there now, and the version from which a watch continues."""
        query = _query(labelSelector=labels, fieldSelector=fields, limit=str(PAGE_ITEMS))
        found: list[Object] = []
        while True:
            page = await self._exchange("GET", path, query=query)
            found += page.get("items") or ()
            if not page["metadata"].get("continue"):
                return tuple(found), str(page["metadata"]["resourceVersion"])
            query = {**query, "continue": page["metadata"]["continue"]}

    async def create(self, path: str, body: Object) -> Object:
        """Create an object; `Conflict` where one of its name is there."""
        return await self._exchange("POST", path, body, query=_query(fieldManager=MANAGED_BY))

    async def apply(self, path: str, body: Object, *, force: bool = False) -> Object:
        """Have the fields of `body` be ours (server-side apply); `Conflict` where others hold some, unless `force`."""
        query = _query(fieldManager=MANAGED_BY, force="true" if force else "false")
        return await self._exchange("PATCH", path, body, query=query, content_type="application/apply-patch+yaml")

    async def merge(self, path: str, body: Object) -> Object:
        """Change the fields of `body` alone (JSON merge patch), such as a status."""
        query = _query(fieldManager=MANAGED_BY)
        return await self._exchange("PATCH", path, body, query=query, content_type="application/merge-patch+json")

    async def delete(self, path: str, *, uid: str | None = None, grace_s: int | None = None) -> Object:
        """Ask for an object's end; with `uid` of that very one, else `Conflict`."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        return await self._exchange("DELETE", path, options)

    async def watch(
        self, path: str, version: str, *, labels: str = "", fields: str = "", last_s: float = 300.0
    ) -> AsyncGenerator[Change, None]:
        """Yield what happens after `version`, for about `last_s` wall seconds; ends early where the server ends it."""
        query = _query(
            watch="true",
            resourceVersion=version,
            allowWatchBookmarks="true",
            timeoutSeconds=str(max(1, round(last_s))),
            labelSelector=labels,
            fieldSelector=fields,
        )
        limit = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=min(WATCH_IDLE_S, last_s + 10.0))
        await self._spare(time.monotonic() + self._timeout_s, path)
        self.calls += 1
        try:
            asking = self._opened().get(
                self._access.server + path, params=query, headers=self._access.headers(), timeout=limit
            )
            async with asyncio.timeout(self._timeout_s):  # a server begins to answer before there is anything to tell
                answer = await asking
            async with answer:
                if answer.status == 410:
                    yield Expired()
                    return
                if answer.status != 200:
                    self._judge("WATCH", path, answer.status, answer.headers, await answer.read())
                async for line in _lines(answer.content):
                    change = _change(path, line)
                    yield change
                    if isinstance(change, Expired):
                        return
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise KubernetesUnavailable(f"watch of {path} broke off: {foreign(repr(error))}") from error

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _exchange(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """Return the answer to one call, when its turn has come; what a busy server did not take is sent again."""
        async with self._turns:
            return await self._sent(method, path, body, query, content_type)

    async def _sent(
        self, method: str, path: str, body: Object | None, query: Mapping[str, str] | None, content_type: str
    ) -> Object:
        end_s = time.monotonic() + self._timeout_s
        data = None if body is None else json.dumps(body).encode()
        while True:
            await self._spare(end_s, path)
            headers = {**self._access.headers(), **({} if data is None else {"content-type": content_type})}
            limit = aiohttp.ClientTimeout(total=max(0.001, end_s - time.monotonic()), sock_connect=CONNECT_S)
            self.calls += 1
            try:
                async with self._opened().request(
                    method, self._access.server + path, params=query, data=data, headers=headers, timeout=limit
                ) as answer:
                    content = await answer.read()
                    status, said = answer.status, answer.headers
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise KubernetesUnavailable(f"{method} {path} got no answer: {foreign(repr(error))}") from error
            if self._judge(method, path, status, said, content):
                return _read(method, path, content)

    async def _spare(self, end_s: float, path: str) -> None:
        """Wait as long as the server asked for; raises where that is longer than there is time."""
        left_s = self._spared_until_s - time.monotonic()
        if left_s <= 0:
            return
        if time.monotonic() + left_s > end_s:
            raise KubernetesUnavailable(f"{path}: the Kubernetes API asks to be spared for {left_s:.1f} s more")
        await asyncio.sleep(left_s)

    def _judge(self, method: str, path: str, status: int, headers: Mapping[str, str], content: bytes) -> bool:
        """Return whether a call was taken; False where it shall be sent again. Raises for all else."""
        if 200 <= status < 300:
            return True
        wait = headers.get("retry-after", "")
        if status == 429 or (status == 503 and wait):
            # An eviction that a disruption budget refuses is 429 as well; nobody asks for one here.
            self._spared_until_s = time.monotonic() + (min(SPARED_MOST_S, float(wait)) if wait.isdigit() else SPARED_S)
            return False
        said = f"{method} {path} was answered {status}: {_message(content)}"
        if status == 404:
            raise NotFound(said)
        if status == 409:
            raise Conflict(said)
        if status >= 500 or status == 401:  # a token that was renewed while it was used
            self._access.read_at_s = float("-inf")
            raise KubernetesUnavailable(said)
        raise KubernetesRefused(said)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            ssl = True if self._access.context is None else self._access.context
            connector = aiohttp.TCPConnector(limit=0, ssl=ssl, socket_factory=_lively)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session


def _lively(address: tuple[Any, ...]) -> socket.socket:
    """Return a socket that notices a peer which is cut off."""
    made = socket.socket(*address[:3])
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _query(**words: str) -> dict[str, str]:
    return {name: word for name, word in words.items() if word}


async def _lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Yield whole lines, however long; what the end of a stream cuts off is no line."""
    rest = b""
    async for piece in content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > LINE_BYTES:
            raise KubernetesUnavailable(f"an event of a watch has more than {LINE_BYTES} bytes")
        for line in lines:
            yield line


def _change(path: str, line: bytes) -> Change:
    event = _read("WATCH", path, line)
    found = event.get("object") or {}
    match event.get("type"):
        case "ADDED" | "MODIFIED":
            return Put(found)
        case "DELETED":
            return Vanished(found)
        case "BOOKMARK":
            return Bookmark(str(found["metadata"]["resourceVersion"]))
        case "ERROR" if found.get("code") == 410:
            return Expired()
    raise KubernetesUnavailable(f"watch of {path} was ended: {foreign(found.get('message', event.get('type')))}")


def _read(method: str, path: str, content: bytes) -> Object:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise KubernetesUnavailable(f"{method} {path} was answered by what is no JSON: {foreign(error)}") from error
    if not isinstance(found, dict):
        raise KubernetesUnavailable(f"{method} {path} was answered by {type(found).__name__}, an object is expected")
    return found


def _message(content: bytes) -> str:
    """Return what a Status says, or else the beginning of the answer."""
    try:
        return foreign(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return foreign(content[:512].decode(errors="replace"))
