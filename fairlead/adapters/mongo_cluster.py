"""Nodes, models and sites in MongoDB: each change is checked against the whole cluster, one change at a time.

Also what became of the routes of the cluster's own gateway.
"""

from collections.abc import Callable
from typing import TypeVar

from fairlead.adapters import store_rules as rules
from fairlead.adapters.mongo_driver import Document, Driver, Session
from fairlead.contracts.cluster import Cluster, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.events import EventKind
from fairlead.contracts.ports import Clock
from fairlead.contracts.resources import RouteStates

Given = TypeVar("Given")

ROUTES = "routes"

COLLECTION_OF: dict[EventKind, str] = {"node": "nodes", "model": "models", "site": "sites"}


class ClusterRows:
    """The cluster as three collections; `meta/cluster` counts changes, so that two never interleave."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock

    async def cluster(self) -> Cluster:
        """Return nodes, models and sites as they were at one moment."""
        async with (
            self._driver.asking("read the cluster"),
            self._driver.client.start_session(snapshot=True) as session,
        ):
            return await self._read(session)

    async def change(self, change: Callable[[Cluster], tuple[Cluster, Given]]) -> Given:
        """Put what `change` makes of the cluster in place; whatever it raises leaves everything as it was."""

        async def write(session: Session) -> Given:
            meta = self._driver.collection("meta")
            await meta.update_one({"_id": "cluster"}, {"$inc": {"changes": 1}}, upsert=True, session=session)
            before = await self._read(session)
            after, given = change(before)
            for kind, name, text in rules.differences(before, after):
                await self._put(session, after, kind, name, text)
            return given

        return await self._driver.atomically("change the cluster", write)

    async def put_routes(self, routes: RouteStates) -> None:
        """Keep what became of the routes of the cluster's gateway."""
        row = {"_id": ROUTES, "json": routes.to_json()}
        async with self._driver.asking("keep the routes' states"):
            await self._driver.collection("meta").replace_one({"_id": ROUTES}, row, upsert=True)

    async def routes(self) -> RouteStates:
        """Return what became of the routes of the cluster's gateway; nothing before anything was exported."""
        async with self._driver.asking("read the routes' states"):
            row = await self._driver.collection("meta").find_one({"_id": ROUTES})
        return RouteStates() if row is None else RouteStates.from_json(row["json"])

    async def _read(self, session: Session) -> Cluster:
        rows: dict[str, list[Document]] = {}
        for name in COLLECTION_OF.values():
            rows[name] = await self._driver.collection(name).find({}, session=session).sort("_id", 1).to_list()
        return Cluster(
            nodes=tuple(NodeSpec.from_json(row["json"]) for row in rows["nodes"]),
            models=tuple(ModelSpec.from_json(row["json"]) for row in rows["models"]),
            sites=tuple(SiteSpec.from_json(row["json"]) for row in rows["sites"]),
        )

    async def _put(self, session: Session, after: Cluster, kind: EventKind, name: str, text: str) -> None:
        collection = self._driver.collection(COLLECTION_OF[kind])
        items: tuple[rules.Item, ...] = (*after.nodes, *after.models, *after.sites)
        item = next((i for i in items if i.id == name and COLLECTION_OF[kind] == _collection_of(i)), None)
        if item is None:
            await collection.delete_one({"_id": name}, session=session)
            return
        row = {"_id": name, "json": item.to_json(), "at_s": self._clock.now_s(), "text": text}
        await collection.replace_one({"_id": name}, row, upsert=True, session=session)


def _collection_of(item: rules.Item) -> str:
    match item:
        case NodeSpec():
            return "nodes"
        case ModelSpec():
            return "models"
        case SiteSpec():
            return "sites"
