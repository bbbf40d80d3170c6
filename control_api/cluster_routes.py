"""Nodes, models and sites: listed, read, created, changed and deleted, each change with its revision. And routes."""

from typing import TypeVar

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from control_api.context import ControlRoute, context_of
from control_api.messages import answer, body_of, everything, expected_revision
from control_api.parameters import IdPath, IfMatch, described
from fairlead.contracts.cluster import Cluster, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.errors import InputError, NotFound
from fairlead.contracts.events import Wake
from fairlead.contracts.resources import RouteStates

Spec = TypeVar("Spec", NodeSpec, ModelSpec, SiteSpec)

CHANGE = (404, 409, 412, 428)

router = APIRouter(prefix="/api/v1", route_class=ControlRoute)


def _one(what: str, items: tuple[Spec, ...], name: str) -> Response:
    for item in items:
        if item.id == name:
            return answer(item, revision=item.revision)
    raise NotFound(f"there is no {what} {name!r}")


def _same(name: str, item: Spec) -> Spec:
    if item.id != name:
        raise InputError(f"the path names {name!r}, the body {item.id!r}: an id cannot change")
    return item


@router.post("/models/{model}:wake", operation_id="wake_model", tags=["cluster"], **described(status=204, body=Wake))
async def wake_model(request: Request, model: IdPath) -> Response:
    """Tell the slot agent that a model is missed."""
    wake = await body_of(request, Wake)
    if wake.model != model:
        raise InputError(f"the path names model {model!r}, the body {wake.model!r}")
    await context_of(request).store.wake(wake)
    return Response(status_code=204)


@router.api_route("/models/{model}:wake", methods=["GET", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def wake_is_posted() -> Response:
    """Refuse the methods of a model: its path, tried after this one, would take `:wake` for a part of the id."""
    raise HTTPException(405, headers={"Allow": "POST"})


@router.get("/cluster", operation_id="read_cluster", tags=["cluster"], **described(Cluster))
async def read_cluster(request: Request) -> Response:
    """Return all nodes, models and sites."""
    return answer(await context_of(request).store.cluster())


@router.get("/routes", operation_id="read_routes", tags=["cluster"], **described(RouteStates))
async def read_routes(request: Request) -> Response:
    """Return what became of the routes of the cluster's own gateway."""
    return answer(await context_of(request).store.routes())


@router.get("/nodes", operation_id="list_nodes", tags=["cluster"], **described(pages=NodeSpec))
async def list_nodes(request: Request) -> Response:
    """List the nodes, by id."""
    return everything((await context_of(request).store.cluster()).nodes)


@router.post(
    "/nodes",
    operation_id="create_node",
    tags=["cluster"],
    **described(NodeSpec, status=201, body=NodeSpec, refusals=(409,), tagged=True),
)
async def create_node(request: Request) -> Response:
    """Create a node; the revision in the body is not looked at."""
    made = await context_of(request).store.put_node(await body_of(request, NodeSpec), if_revision=None)
    return answer(made, 201, made.revision)


@router.get(
    "/nodes/{node}", operation_id="read_node", tags=["cluster"], **described(NodeSpec, refusals=(404,), tagged=True)
)
async def read_node(request: Request, node: IdPath) -> Response:
    """Return a node."""
    return _one("node", (await context_of(request).store.cluster()).nodes, node)


@router.put(
    "/nodes/{node}",
    operation_id="change_node",
    tags=["cluster"],
    **described(NodeSpec, body=NodeSpec, refusals=CHANGE, tagged=True),
)
async def change_node(request: Request, node: IdPath, if_match: IfMatch = None) -> Response:
    """Change a node that still has the revision of `If-Match`."""
    revision = expected_revision(if_match)
    given = _same(node, await body_of(request, NodeSpec))
    made = await context_of(request).store.put_node(given, if_revision=revision)
    return answer(made, revision=made.revision)


@router.delete("/nodes/{node}", operation_id="delete_node", tags=["cluster"], **described(status=204, refusals=CHANGE))
async def delete_node(request: Request, node: IdPath, if_match: IfMatch = None) -> Response:
    """Take out a node that still has the revision of `If-Match`."""
    await context_of(request).store.delete_node(node, if_revision=expected_revision(if_match))
    return Response(status_code=204)


@router.get("/models", operation_id="list_models", tags=["cluster"], **described(pages=ModelSpec))
async def list_models(request: Request) -> Response:
    """List the models, by id."""
    return everything((await context_of(request).store.cluster()).models)


@router.post(
    "/models",
    operation_id="create_model",
    tags=["cluster"],
    **described(ModelSpec, status=201, body=ModelSpec, refusals=(409,), tagged=True),
)
async def create_model(request: Request) -> Response:
    """Create a model, which must fit the largest node; the revision in the body is not looked at."""
    made = await context_of(request).store.put_model(await body_of(request, ModelSpec), if_revision=None)
    return answer(made, 201, made.revision)


@router.get(
    "/models/{model}",
    operation_id="read_model",
    tags=["cluster"],
    **described(ModelSpec, refusals=(404,), tagged=True),
)
async def read_model(request: Request, model: IdPath) -> Response:
    """Return a model."""
    return _one("model", (await context_of(request).store.cluster()).models, model)


@router.put(
    "/models/{model}",
    operation_id="change_model",
    tags=["cluster"],
    **described(ModelSpec, body=ModelSpec, refusals=CHANGE, tagged=True),
)
async def change_model(request: Request, model: IdPath, if_match: IfMatch = None) -> Response:
    """Change a model that still has the revision of `If-Match`."""
    revision = expected_revision(if_match)
    given = _same(model, await body_of(request, ModelSpec))
    made = await context_of(request).store.put_model(given, if_revision=revision)
    return answer(made, revision=made.revision)


@router.delete(
    "/models/{model}", operation_id="delete_model", tags=["cluster"], **described(status=204, refusals=CHANGE)
)
async def delete_model(request: Request, model: IdPath, if_match: IfMatch = None) -> Response:
    """Take out a model that still has the revision of `If-Match`."""
    await context_of(request).store.delete_model(model, if_revision=expected_revision(if_match))
    return Response(status_code=204)


@router.get("/sites", operation_id="list_sites", tags=["cluster"], **described(pages=SiteSpec))
async def list_sites(request: Request) -> Response:
    """List the sites, by id."""
    return everything((await context_of(request).store.cluster()).sites)


@router.post(
    "/sites",
    operation_id="create_site",
    tags=["cluster"],
    **described(SiteSpec, status=201, body=SiteSpec, refusals=(409,), tagged=True),
)
async def create_site(request: Request) -> Response:
    """Create a site; the revision in the body is not looked at."""
    made = await context_of(request).store.put_site(await body_of(request, SiteSpec), if_revision=None)
    return answer(made, 201, made.revision)


@router.get(
    "/sites/{site}", operation_id="read_site", tags=["cluster"], **described(SiteSpec, refusals=(404,), tagged=True)
)
async def read_site(request: Request, site: IdPath) -> Response:
    """Return a site."""
    return _one("site", (await context_of(request).store.cluster()).sites, site)


@router.put(
    "/sites/{site}",
    operation_id="change_site",
    tags=["cluster"],
    **described(SiteSpec, body=SiteSpec, refusals=CHANGE, tagged=True),
)
async def change_site(request: Request, site: IdPath, if_match: IfMatch = None) -> Response:
    """Change a site that still has the revision of `If-Match`."""
    revision = expected_revision(if_match)
    given = _same(site, await body_of(request, SiteSpec))
    made = await context_of(request).store.put_site(given, if_revision=revision)
    return answer(made, revision=made.revision)


@router.delete("/sites/{site}", operation_id="delete_site", tags=["cluster"], **described(status=204, refusals=CHANGE))
async def delete_site(request: Request, site: IdPath, if_match: IfMatch = None) -> Response:
    """Take out a site that still has the revision of `If-Match`."""
    await context_of(request).store.delete_site(site, if_revision=expected_revision(if_match))
    return Response(status_code=204)
