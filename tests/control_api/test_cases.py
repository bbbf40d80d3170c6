"""Case memory over HTTP: pages, one in full, import, deletion; what is refused changes nothing."""

import pytest
import structlog

from fairlead.contracts.cases import Case, CaseSummary
from tests.adapters import store_examples as some
from tests.control_api.conftest import Api
from tests.control_api.test_resources import refused

ROOT = "/api/v1/cases"
JSON = {"content-type": "application/json"}


async def keep(api: Api, *cases: Case) -> None:
    """Put cases into the store."""
    for one in cases:
        await api.store.add_case(one, capacity=100)


async def test_cases_are_listed_in_pages_newest_first(api: Api) -> None:
    """As summaries; of one cluster alone if asked."""
    made = [some.case(f"c{n}", 1000.0 * n, cluster="d1" if n < 4 else "d2") for n in range(1, 6)]
    await keep(api, *made)
    found: list[str] = []
    cursor = ""
    while True:
        page = (await api.by_role["viewer"].get(f"{ROOT}?limit=2{cursor}")).json()
        found += [CaseSummary.model_validate(one).id for one in page["items"]]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    assert found == ["c5", "c4", "c3", "c2", "c1"]
    ours = (await api.admin.get(f"{ROOT}?cluster=d2&limit=9")).json()
    assert [one["id"] for one in ours["items"]] == ["c5", "c4"]
    assert len((await api.admin.get(ROOT)).json()["items"]) == 2, "a page of the settings' size"


async def test_a_summary_says_what_a_listing_shows(api: Api) -> None:
    """Who planned, how it went, whether it may be shown."""
    one = some.case("c1", quarantined=True, cited=3)
    await keep(api, one)
    (line,) = (await api.admin.get(ROOT)).json()["items"]
    assert line == {
        "id": "c1",
        "epoch": one.epoch,
        "began_at_s": one.began_at_s,
        "source": one.provenance.source,
        "objective": one.realised.objective,
        "advantage": None,
        "quarantined": True,
        "cited": 3,
        "cluster": one.provenance.cluster,
    }


async def test_what_is_deleted_can_be_imported_again_and_says_so(api: Api) -> None:
    """Export, delete, import: the same case but for the mark; each change is audited."""
    await keep(api, some.case("c1", cited=2))
    before = await api.admin.get(f"{ROOT}/c1")
    with structlog.testing.capture_logs() as logs:
        assert (await api.by_role["operator"].delete(f"{ROOT}/c1")).status_code == 204
        refused(await api.admin.get(f"{ROOT}/c1"), 404, "not-found")
        made = await api.by_role["operator"].post(ROOT, content=before.content, headers=JSON)
    assert made.status_code == 201
    again = await api.admin.get(f"{ROOT}/c1")
    assert again.content == made.content
    was, now = Case.from_json(before.content), Case.from_json(again.content)
    assert now.provenance.imported
    assert now == was.model_copy(update={"provenance": now.provenance})
    assert now.provenance.model_copy(update={"imported": False}) == was.provenance
    audited = [(entry["event"], entry["case"]) for entry in logs if "case" in entry]
    assert audited == [("case deleted", "c1"), ("case imported", "c1")]


async def test_an_import_never_replaces_a_case(api: Api) -> None:
    """What was measured here stays."""
    await keep(api, some.case("c1", objective=0.5))
    other = some.case("c1", objective=0.1)
    assert "delete it first" in refused(
        await api.admin.post(ROOT, content=other.to_json(), headers=JSON), 409, "conflict"
    )
    assert (await api.store.case("c1")).realised.objective == 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "a/b"}, "cannot stand in a path"),
        ({"ended_at_s": 1.0}, "before it begins"),
        ({"cited": 2**60}, "that is no count"),
        ({"id": "a b"}, "id"),
        ({"more": 1}, "more"),
        ({"realised": {}}, "realised"),
    ],
)
async def test_what_is_no_case_is_refused(api: Api, changes: dict[str, object], words: str) -> None:
    """With the field at fault; nothing is kept."""
    document = some.case("c1").to_document() | changes
    assert words in refused(await api.admin.post(ROOT, json=document), 422, "bad-input")
    assert (await api.admin.get(ROOT)).json()["items"] == []


async def test_who_may_read_may_not_change(api: Api) -> None:
    """Viewers read, operators change, gateways and agents have no business here."""
    await keep(api, some.case("c1"))
    viewer = api.by_role["viewer"]
    assert (await viewer.get(f"{ROOT}/c1")).status_code == 200
    refused(await viewer.delete(f"{ROOT}/c1"), 403, "denied")
    refused(await viewer.post(ROOT, content=some.case("c2").to_json(), headers=JSON), 403, "denied")
    for role in ("agent", "gateway"):
        client = next(one for name, one in api.by_role.items() if name == role)
        refused(await client.get(ROOT), 403, "denied")


async def test_a_case_is_quarantined_for_a_reason_and_released(api: Api) -> None:
    """By operators; each change is audited, an unknown case or an empty reason refused."""
    await keep(api, some.case("c1"))
    where = f"{ROOT}/c1/quarantine"
    with structlog.testing.capture_logs() as logs:
        made = await api.by_role["operator"].post(where, json={"why": "the counters lied"})
        assert made.status_code == 200
        assert Case.from_json(made.content) == some.case("c1", quarantined=True, quarantine="the counters lied")
        assert (await api.admin.get(ROOT)).json()["items"][0]["quarantined"] is True
        assert Case.from_json((await api.by_role["operator"].delete(where)).content) == some.case("c1")
    assert [entry["event"] for entry in logs if "case" in entry] == ["case quarantined", "case released"]
    assert "why" in refused(await api.admin.post(where, json={"why": ""}), 422, "bad-input")
    refused(await api.admin.post(f"{ROOT}/c9/quarantine", json={"why": "it is gone"}), 404, "not-found")
    refused(await api.by_role["viewer"].post(where, json={"why": "I say so"}), 403, "denied")
    refused(await api.by_role["viewer"].delete(where), 403, "denied")
