"""What each resource answers, and that what is refused changes nothing."""

import json

import httpx
import pytest

from fairlead.contracts.cluster import NodeSpec
from fairlead.contracts.events import Problem
from fairlead.contracts.plans import EpochPlan
from fairlead.contracts.readings import KeeperState
from fairlead.contracts.resources import RouteStates
from tests.adapters import store_examples as some
from tests.control_api.conftest import BODY_LIMIT, Api

ROOT = "/api/v1"
DRAFT = {
    "intents": [
        {"node": name, "role": "generalist", "prefer": [], "avoid": [], "bias": 0} for name in ("node-1", "node-2")
    ],
    "priorities": [],
    "warm": [],
    "why": "by hand",
}


def refused(response: httpx.Response, status: int, code: str) -> str:
    """Return the detail of a problem document, which must be one of these."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = Problem.from_json(response.content)
    assert (problem.status, problem.code) == (status, code)
    return problem.detail


async def test_a_node_is_created_changed_with_its_tag_and_deleted(api: Api) -> None:
    """The tag of each answer is what the next change names."""
    new = some.node("node-3")
    made = await api.admin.post(f"{ROOT}/nodes", content=new.to_json(), headers={"content-type": "application/json"})
    assert (made.status_code, made.headers["etag"], NodeSpec.from_json(made.content)) == (201, '"0"', new)
    changed = await api.admin.put(
        f"{ROOT}/nodes/node-3", json=new.to_document() | {"zone": "east"}, headers={"if-match": '"0"'}
    )
    assert (changed.status_code, changed.headers["etag"], changed.json()["zone"]) == (200, '"1"', "east")
    read = await api.admin.get(f"{ROOT}/nodes/node-3")
    assert (read.headers["etag"], read.json()) == ('"1"', changed.json())
    gone = await api.admin.delete(f"{ROOT}/nodes/node-3", headers={"if-match": '"1"'})
    assert (gone.status_code, gone.content) == (204, b"")
    refused(await api.admin.get(f"{ROOT}/nodes/node-3"), 404, "not-found")


@pytest.mark.parametrize(
    ("what", "name", "document"),
    [
        ("nodes", "node-1", some.node().to_document()),
        ("models", "text", some.model().to_document()),
        ("sites", "site-1", some.site().to_document()),
    ],
)
async def test_a_change_needs_the_revision_that_is_there(api: Api, what: str, name: str, document: object) -> None:
    """Without a tag 428, with another 412, and nothing is changed."""
    path = f"{ROOT}/{what}/{name}"
    refused(await api.admin.put(path, json=document), 428, "precondition-required")
    refused(await api.admin.delete(path), 428, "precondition-required")
    refused(await api.admin.put(path, json=document, headers={"if-match": '"9"'}), 412, "revision-mismatch")
    refused(await api.admin.delete(path, headers={"if-match": '"9"'}), 412, "revision-mismatch")
    refused(await api.admin.put(path, json=document, headers={"if-match": "x"}), 422, "bad-input")
    refused(await api.admin.post(f"{ROOT}/{what}", json=document), 409, "conflict")
    other = f"{ROOT}/{what}/another"
    refused(await api.admin.put(other, json=document, headers={"if-match": '"0"'}), 422, "bad-input")
    assert await api.store.cluster() == some.cluster()


async def test_a_model_larger_than_every_node_is_refused(api: Api) -> None:
    """The answer names the model, the largest node and both sizes."""
    giant = some.model("giant", 9 * some.GB).to_document()
    detail = refused(await api.admin.post(f"{ROOT}/models", json=giant), 422, "bad-input")
    assert detail.startswith("model 'giant' needs 9000000000 bytes, the largest node 'node-1' has 8000000000")
    assert await api.store.cluster() == some.cluster()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "Invalid JSON"),
        (b"[]", "object"),
        (b'{"id": "node-3"}', "memory_bytes: Field required"),
        (json.dumps(some.node("node-3").to_document() | {"colour": 1}).encode(), "colour: Extra inputs"),
        (json.dumps(some.node("node-3").to_document() | {"speed": "1"}).encode(), "speed: Input should be a valid"),
        (some.node("node-3").to_json().replace("1.0", "NaN").encode(), "speed"),
        (some.node("node-3").to_json().replace("node-3", "Node_3").encode(), "id: String should match"),
    ],
)
async def test_a_body_that_is_not_the_message_is_refused_with_the_place(api: Api, body: bytes, words: str) -> None:
    """Strictly: no coercion, no unknown field, no NaN; what was sent is not repeated."""
    response = await api.admin.post(f"{ROOT}/nodes", content=body, headers={"content-type": "application/json"})
    assert words in refused(response, 422, "bad-input")
    assert await api.store.cluster() == some.cluster()


async def test_a_report_with_nan_is_refused(api: Api) -> None:
    """It is not kept: the same sequence is taken when it comes rightly."""
    right = some.node_report(1, observed_at_s=1234.5)
    wrong = right.to_json().replace("1234.5", "NaN")
    headers = {"content-type": "application/json"}
    refused(await api.admin.post(f"{ROOT}/reports/node", content=wrong, headers=headers), 422, "bad-input")
    answers = [
        (await api.admin.post(f"{ROOT}/reports/node", content=right.to_json(), headers=headers)).json()
        for _ in range(2)
    ]
    assert answers == [{"accepted": True}, {"accepted": False}]


async def test_a_body_over_the_limit_is_refused(api: Api) -> None:
    """With and without a declared length."""

    async def parts() -> object:
        for _ in range(3):
            yield b" " * (BODY_LIMIT // 2)

    headers = {"content-type": "application/json"}
    declared = await api.admin.post(f"{ROOT}/nodes", content=b" " * (BODY_LIMIT + 1), headers=headers)
    streamed = await api.admin.post(f"{ROOT}/nodes", content=parts(), headers=headers)  # type: ignore[arg-type]
    for response in (declared, streamed):
        assert f"larger than {BODY_LIMIT} bytes" in refused(response, 413, "too-large")


async def test_http_itself_refuses_with_problems_too(api: Api) -> None:
    """Unknown paths, methods, media types, parameters and cursors."""
    refused(await api.admin.get("/nowhere"), 404, "not-found")
    wrong = await api.admin.patch(f"{ROOT}/nodes")
    refused(wrong, 405, "method-not-allowed")
    assert set(wrong.headers["allow"].split(", ")) >= {"GET"}
    refused(
        await api.admin.post(f"{ROOT}/nodes", content=b"a=1", headers={"content-type": "text/csv"}),
        415,
        "unsupported-media-type",
    )
    assert "query.limit" in refused(await api.admin.get(f"{ROOT}/decisions?limit=0"), 422, "bad-input")
    refused(await api.admin.get(f"{ROOT}/decisions?cursor=xyz"), 422, "bad-input")
    near = refused(await api.admin.get(f"{ROOT}/decisions?limits=3"), 422, "bad-input")
    assert near == "query parameter 'limits' is unknown: did you mean 'limit'?"
    twice = refused(await api.admin.get(f"{ROOT}/decisions?limit=1&limit=2"), 422, "bad-input")
    assert twice == "query parameter 'limit' stands 2 times: give one"
    refused(await api.admin.get(f"{ROOT}/decisions?agent=nobody"), 422, "bad-input")
    refused(await api.admin.get(f"{ROOT}/mode/nobody"), 422, "bad-input")
    refused(await api.admin.get(f"{ROOT}/events?kinds=plan,colour"), 422, "bad-input")


async def test_listings_come_in_pages(api: Api) -> None:
    """Following the cursor gives everything once, newest first; without a limit the setting holds."""
    for n in range(1, 6):
        await api.store.publish_slot(some.placement(n), some.table(n), some.slot_record(n))
    seen: list[str] = []
    cursor = None
    while True:
        params: dict[str, str] = {} if cursor is None else {"cursor": cursor}
        answer = (await api.admin.get(f"{ROOT}/decisions", params=params)).json()
        assert len(answer["items"]) <= 2
        seen += [one["id"] for one in answer["items"]]
        cursor = answer["cursor"]
        if cursor is None:
            break
    assert seen == [f"slot-{n}" for n in (5, 4, 3, 2, 1)]


async def test_a_decision_is_read_whole_and_replayed(api: Api) -> None:
    """A record that nobody decided replays with the first difference."""
    await api.store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
    read = await api.admin.get(f"{ROOT}/decisions/slot-1")
    assert read.text == some.slot_record(1).to_json()
    replayed = (await api.admin.post(f"{ROOT}/decisions/slot-1/replay")).json()
    assert replayed["id"] == "slot-1"
    assert replayed["identical"] is False
    assert replayed["difference"]
    refused(await api.admin.post(f"{ROOT}/decisions/slot-9/replay"), 404, "not-found")


async def test_an_operators_plan_is_judged_then_put_in_force(api: Api) -> None:
    """It follows the plan in force, ends with its epoch, and names its source."""
    await api.store.publish_plan(some.plan(1))
    judged = (await api.admin.post(f"{ROOT}/plans:validate", json=DRAFT)).json()
    assert judged == {"valid": True, "reasons": []}
    made = await api.by_role["operator"].post(f"{ROOT}/plans", json=DRAFT)
    plan = EpochPlan.from_json(made.content)
    assert (made.status_code, plan.generation, plan.parent, plan.source) == (201, 2, 1, "operator")
    assert plan.created_at_s < plan.expires_at_s <= plan.created_at_s + 330.0
    assert (await api.admin.get(f"{ROOT}/plans/current")).text == plan.to_json()
    assert (await api.admin.get(f"{ROOT}/plans/1")).text == some.plan(1).to_json()
    refused(await api.admin.get(f"{ROOT}/plans/3"), 404, "not-found")
    refused(await api.admin.get(f"{ROOT}/plans/newest"), 422, "bad-input")


async def test_a_plan_that_is_not_feasible_is_refused_with_reasons(api: Api) -> None:
    """Nothing is published."""
    draft = DRAFT | {"intents": [DRAFT["intents"][0]]}
    judged = (await api.admin.post(f"{ROOT}/plans:validate", json=draft)).json()
    assert judged["valid"] is False
    assert [reason["node"] for reason in judged["reasons"]] == ["node-2"]
    assert "node-2" in refused(await api.admin.post(f"{ROOT}/plans", json=draft), 422, "bad-input")
    assert await api.store.current_plan() is None


async def test_a_table_is_read_by_generation_or_as_the_one_in_force(api: Api) -> None:
    """Before there is one, 404; for those who know a generation, 204."""
    refused(await api.admin.get(f"{ROOT}/tables/current"), 404, "not-found")
    assert (await api.admin.get(f"{ROOT}/tables/current?newer_than=0")).status_code == 204
    await api.store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
    for path in ("tables/current", "tables/1"):
        assert (await api.admin.get(f"{ROOT}/{path}")).text == some.table(1).to_json()
    refused(await api.admin.get(f"{ROOT}/tables/2"), 404, "not-found")
    assert (await api.admin.get(f"{ROOT}/placements/current")).text == some.placement(1).to_json()
    assert (await api.admin.get(f"{ROOT}/placements/current?newer_than=1")).status_code == 204


async def test_overrides_are_made_and_lifted(api: Api) -> None:
    """A pin of a model or node that is not there is refused."""
    made = await api.admin.post(f"{ROOT}/overrides", json=some.override().to_document())
    assert made.status_code == 201
    assert (await api.admin.get(f"{ROOT}/overrides")).json() == {"items": [made.json()], "cursor": None}
    unknown = some.override("o2").to_document() | {"model": "nothing"}
    assert "no model 'nothing'" in refused(await api.admin.post(f"{ROOT}/overrides", json=unknown), 422, "bad-input")
    assert (await api.admin.delete(f"{ROOT}/overrides/o1")).status_code == 204
    refused(await api.admin.delete(f"{ROOT}/overrides/o1"), 404, "not-found")


async def test_a_mode_is_switched_with_its_tag(api: Api) -> None:
    """Both agents are listed; each is shadow at first, until proposals are judged by the twin."""
    modes = (await api.admin.get(f"{ROOT}/mode")).json()["items"]
    assert [(mode["agent"], mode["mode"]) for mode in modes] == [("planner", "shadow"), ("slot-agent", "shadow")]
    read = await api.admin.get(f"{ROOT}/mode/planner")
    body = read.json() | {"mode": "auto", "by": "ann"}
    changed = await api.admin.put(f"{ROOT}/mode/planner", json=body, headers={"if-match": read.headers["etag"]})
    assert (changed.status_code, changed.json()["mode"], changed.headers["etag"]) == (200, "auto", '"1"')
    again = await api.admin.put(f"{ROOT}/mode/planner", json=body, headers={"if-match": read.headers["etag"]})
    refused(again, 412, "revision-mismatch")


async def test_the_snapshot_tells_what_was_reported(api: Api) -> None:
    """A node that reported just now is up, the other is not."""
    now_s = api.parts.clock.now_s()
    report = some.node_report(1, observed_at_s=now_s)
    await api.admin.post(f"{ROOT}/reports/node", json=report.to_document())
    snapshot = (await api.admin.get(f"{ROOT}/snapshot")).json()
    assert {node["node"]: node["observed_at_s"] for node in snapshot["nodes"]}["node-2"] is None
    assert [model["model"] for model in snapshot["models"]] == ["image", "text"]


async def test_routes_of_the_clusters_gateway_are_told(api: Api) -> None:
    """That nothing is exported, until something is."""
    assert RouteStates.from_json((await api.admin.get(f"{ROOT}/routes")).content) == RouteStates()
    states = RouteStates(gateway="infra/edge", observed_at_s=12.5, reason="", items=(some.route_state(),))
    await api.store.put_routes(states)
    assert RouteStates.from_json((await api.admin.get(f"{ROOT}/routes")).content) == states


async def test_outcomes_of_reports_are_listed(api: Api) -> None:
    """The last first."""
    outcomes = (some.outcome("r1", 1001.0), some.outcome("r2", 1002.0))
    report = some.gateway_report(1, outcomes=outcomes)
    await api.admin.post(f"{ROOT}/reports/gateway", json=report.to_document())
    listed = (await api.admin.get(f"{ROOT}/outcomes")).json()
    assert [one["request"] for one in listed["items"]] == ["r2", "r1"]


async def test_queues_of_nodes_are_known_by_their_gateways_reports(api: Api) -> None:
    """All, or those that an ingress asks for; unknown ones are passed over."""
    state = KeeperState(node="node-1", instance="k", sequence=1, observed_at_s=1.0, speed=1.0, pods=())
    report = some.gateway_report(1).model_copy(update={"keeper": state})
    await api.admin.post(f"{ROOT}/reports/gateway", json=report.to_document())
    for query, found in (("", 1), ("?nodes=node-1,node-9", 1), ("?nodes=node-2", 0)):
        assert (await api.admin.get(f"{ROOT}/keepers{query}")).json() == {"items": [state.to_document()] * found}


async def test_metrics_tell_of_calls_and_reports_with_known_labels_only(api: Api) -> None:
    """A reporter that the cluster does not have is `other`, so that nobody can blow the labels up."""
    for name in ("node-1", "stranger"):
        await api.admin.post(f"{ROOT}/reports/node", json=some.node_report(1, name=name).to_document())
    text = (await api.admin.get("/metrics")).text
    assert 'fairlead_node_memory_bytes{node="node-1"} 8e+09' in text
    assert 'fairlead_node_memory_bytes{node="other"} 8e+09' in text
    assert "stranger" not in text
    assert 'fairlead_control_calls_total{operation="report_node",status="200"} 2.0' in text
    assert all(line.startswith(("#", "fairlead_")) for line in text.splitlines())
