"""The control API as the edge side reaches it: REST over aiohttp, with a bearer token, every wait timed out."""

from collections.abc import Sequence
from typing import Any, TypeVar

import aiohttp
from pydantic import ValidationError

from fairlead.contracts.base import Message
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import (
    ControlUnavailable,
    Denied,
    InputError,
    NotFound,
    foreign,
)
from fairlead.contracts.events import Wake
from fairlead.contracts.plans import EpochPlan, Placement, RoutingTable
from fairlead.contracts.readings import GatewayReport, KeeperState, KeeperStates, NodeReport

Answer = TypeVar("Answer", bound=Message)

ROOT = "/api/v1"


class HttpControl:
    """The port `Control` over HTTP.

    Raises `ControlUnavailable` where trying again later may help (no connection, time-out, 429, 5xx, an answer that
    cannot be read), `Denied` for 401 and 403, `NotFound` for 404, `InputError` for what will never be accepted.
    """

    def __init__(self, url: str, token: str | None, *, timeout_s: float = 5.0, connect_timeout_s: float = 2.0) -> None:
        """Reach the API at `url`; an exchange takes at most `timeout_s` wall seconds beyond what it asked to wait."""
        self._url = url.rstrip("/") + ROOT
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def cluster(self) -> Cluster:
        """Return all nodes, models and sites."""
        return self._read(Cluster, await self._exchange("GET", "/cluster"))

    async def placement(self, *, newer_than: int, wait_s: float) -> Placement | None:
        """Return the placement in force once it is newer than `newer_than`; None after `wait_s` wall seconds."""
        return await self._newer(Placement, "/placements/current", newer_than, wait_s)

    async def table(self, *, newer_than: int, wait_s: float) -> RoutingTable | None:
        """Return the table in force once it is newer than `newer_than`; None after `wait_s` wall seconds."""
        return await self._newer(RoutingTable, "/tables/current", newer_than, wait_s)

    async def plan(self, *, newer_than: int, wait_s: float) -> EpochPlan | None:
        """Return the plan in force once it is newer than `newer_than`; None after `wait_s` wall seconds."""
        return await self._newer(EpochPlan, "/plans/current", newer_than, wait_s)

    async def report_node(self, report: NodeReport) -> None:
        """Deliver a node's report."""
        await self._exchange("POST", "/reports/node", body=report.to_json())

    async def report_gateway(self, report: GatewayReport) -> None:
        """Deliver a gateway's report."""
        await self._exchange("POST", "/reports/gateway", body=report.to_json())

    async def wake(self, wake: Wake) -> None:
        """Say that a model is missed."""
        await self._exchange("POST", f"/models/{wake.model}:wake", body=wake.to_json())

    async def keepers(self, nodes: Sequence[str]) -> tuple[KeeperState, ...]:
        """Return what the newest reports say of the queues of these nodes."""
        content = await self._exchange("GET", "/keepers", query={"nodes": ",".join(nodes)})
        return self._read(KeeperStates, content).items

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _newer(self, kind: type[Answer], path: str, newer_than: int, wait_s: float) -> Answer | None:
        query = {"newer_than": str(newer_than), "wait_s": f"{wait_s:g}"}
        body = await self._exchange("GET", path, query=query, wait_s=wait_s)
        return self._read(kind, body) if body else None

    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: str | None = None,
        wait_s: float = 0.0,
    ) -> bytes:
        """Return the body of a 2xx answer, empty for 204; raise what the class says for all else."""
        limit = aiohttp.ClientTimeout(total=self._timeout_s + wait_s, connect=self._connect_timeout_s)
        headers = self._headers if body is None else {**self._headers, "content-type": "application/json"}
        what = f"{method} {self._url}{path}"
        try:
            async with self._client().request(
                method, self._url + path, params=query, data=body, headers=headers, timeout=limit
            ) as answer:
                content = await answer.read()
                status = answer.status
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ControlUnavailable(
                f"{what} got no answer ({type(error).__name__}: {foreign(error)}): is the control API up?"
            ) from error
        if status < 300:
            return content
        raise _refusal(what, status, content)

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=16), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    def _read(self, kind: type[Answer], content: bytes) -> Answer:
        try:
            return kind.from_json(content)
        except ValidationError as error:
            raise ControlUnavailable(
                f"{self._url} sent a {kind.__name__} that cannot be read: {foreign(error)}; do the versions agree?"
            ) from error


def _refusal(what: str, status: int, content: bytes) -> Exception:
    """Return the error that a status stands for."""
    words = f"{what} was answered with {status}: {foreign(content.decode(errors='replace'))}"
    kinds: dict[int, Any] = {401: Denied, 403: Denied, 404: NotFound, 408: ControlUnavailable, 429: ControlUnavailable}
    kind = kinds.get(status, InputError if 400 <= status < 500 else ControlUnavailable)
    error: Exception = kind(words)
    return error
