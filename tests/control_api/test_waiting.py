"""Long polls and event streams, with the store there and away."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from control_api.watch import BACKLOG
from fairlead.contracts.errors import StoreUnavailable
from fairlead.contracts.events import Event, EventKind
from tests.adapters import store_examples as some
from tests.control_api.conftest import DEADLINE_S, Api
from tests.control_api.test_resources import ROOT, refused
from tests.waiting import until


def waiting(api: Api, kind: str) -> float:
    """Return how many long polls wait."""
    return api.parts.metrics.registry.get_sample_value("fairlead_control_waiting", {"kind": kind}) or 0.0


async def test_a_long_poll_ends_with_the_next_table(api: Api) -> None:
    """All who wait get it, whichever generation they have."""
    await api.store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
    url = f"{ROOT}/tables/current?newer_than=1&wait_s=20"
    polls = [asyncio.create_task(api.admin.get(url)) for _ in range(5)]
    await until(lambda: waiting(api, "table") == 5)
    await api.store.publish_slot(some.placement(2), some.table(2), some.slot_record(2))
    async with asyncio.timeout(DEADLINE_S):
        answers = await asyncio.gather(*polls)
    assert {answer.text for answer in answers} == {some.table(2).to_json()}
    assert waiting(api, "table") == 0


async def test_a_long_poll_ends_empty_after_its_time(api: Api) -> None:
    """204 says that nothing is newer."""
    assert (await api.admin.get(f"{ROOT}/placements/current?newer_than=0&wait_s=0.01")).status_code == 204
    refused(await api.admin.get(f"{ROOT}/placements/current?newer_than=0&wait_s=61"), 422, "bad-input")


async def test_what_was_last_in_force_is_served_while_the_store_is_away(api: Api) -> None:
    """Long polls go on, everything else is 503 with a problem; health stays 200, readiness does not."""
    await api.store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
    await api.admin.get(f"{ROOT}/tables/current")
    poll = asyncio.create_task(api.admin.get(f"{ROOT}/tables/current?newer_than=1&wait_s=20"))
    await until(lambda: waiting(api, "table") == 1)
    api.store.unavailable = True
    await until(lambda: not api.parts.watch.store_up)
    assert (await api.admin.get(f"{ROOT}/tables/current")).text == some.table(1).to_json()
    assert (await api.admin.get(f"{ROOT}/placements/current?newer_than=1")).status_code == 204
    response = await api.admin.get(f"{ROOT}/nodes")
    refused(response, 503, "store-unavailable")
    assert response.headers["retry-after"] == "1"
    refused(await api.admin.get("/readyz"), 503, "store-unavailable")
    assert (await api.admin.get("/healthz")).status_code == 200
    assert not poll.done()
    api.store.unavailable = False
    await api.store.publish_slot(some.placement(2), some.table(2), some.slot_record(2))
    async with asyncio.timeout(DEADLINE_S):
        assert (await poll).text == some.table(2).to_json()
    await until(lambda: api.parts.watch.store_up)
    assert (await api.admin.get("/readyz")).status_code == 200


async def read(events: AsyncIterator[Event], count: int) -> list[Event]:
    """Return the next events."""
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(events) for _ in range(count)]


async def test_an_event_stream_tells_the_kinds_that_were_asked_for(api: Api) -> None:
    """Changes of the store and reports that were taken here; one that comes back gets what it missed."""
    kinds: frozenset[EventKind] = frozenset(("plan", "report"))
    events = api.parts.watch.events(kinds, None)
    reading = asyncio.create_task(read(events, 2))
    await until(lambda: api.parts.watch.listened_to)
    await api.store.publish_plan(some.plan(1))
    await until(lambda: api.parts.watch.told >= 1)
    await api.admin.post(f"{ROOT}/reports/node", json=some.node_report(1).to_document())
    first, second = await reading
    assert (first.kind, first.id, second.kind, second.id) == ("plan", "1", "report", "node-1")
    await events.aclose()
    assert not api.parts.watch.listened_to
    again = api.parts.watch.events(frozenset(("plan",)), first.sequence - 1)
    assert [event.id for event in await read(again, 1)] == ["1"]
    await again.aclose()


async def test_a_reader_that_falls_behind_is_cut_off(api: Api) -> None:
    """It may come back with its last event's id; the others do not wait for it."""
    events = api.parts.watch.events(frozenset(("wake",)), None)
    first = asyncio.create_task(anext(events))
    await until(lambda: api.parts.watch.listened_to)
    for n in range(BACKLOG + 2):
        api.parts.watch.tell("wake", f"m{n}", 1.0, "missing")
    assert (await first).id == "m0"
    assert not api.parts.watch.listened_to
    seen = [event.id async for event in events]
    assert seen[0] == "m1"
    assert len(seen) <= BACKLOG


async def test_events_are_sent_as_server_sent_ones(api: Api) -> None:
    """Each with id, event and data; the stream ends when the process does."""
    request = asyncio.create_task(api.admin.get(f"{ROOT}/events?kinds=wake"))
    await until(lambda: api.parts.watch.listened_to)
    api.parts.watch.tell("wake", "text", 5.0, "missing")
    api.parts.watch.close()
    async with asyncio.timeout(DEADLINE_S):
        response = await request
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in response.text.splitlines() if line and not line.startswith(":")]
    assert lines[:2] == [f"id: {api.parts.watch.told}", "event: wake"]
    event = json.loads(lines[2].removeprefix("data: "))
    assert (event["kind"], event["id"], event["text"]) == ("wake", "text", "missing")


async def test_a_store_that_is_away_is_told_to_those_who_do_not_wait(api: Api) -> None:
    """Nothing has been seen yet, so there is nothing to serve."""
    api.store.unavailable = True
    with pytest.raises(StoreUnavailable):
        await api.parts.watch.newest("table", 0, 0.0)
