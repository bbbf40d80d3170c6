"""What is written when the Kubernetes API does not take everything, and how many calls are under way."""

from typing import Any

from kube_sync.kinds import SERVICES, TABLES
from kube_sync.metrics import SyncMetrics
from kube_sync.writing import AT_ONCE, Writer
from tests.kube_sync.picky_api import picky


def service(name: str, port: int = 80) -> dict[str, Any]:
    """Return a service."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": port}]}}


async def test_an_object_that_is_refused_keeps_no_other_from_being_written() -> None:
    """It is told with its reason, left alone while it is the same, and tried again once it is another."""
    metrics = SyncMetrics()
    async with picky() as (server, api):
        writer = Writer(api, "edge", metrics)
        server.refused = {"b"}
        for _ in range(2):
            await writer.put(SERVICES, [service("a"), service("b"), service("c")], server.objects)
        assert sorted(server.asked) == ["a", "b", "c"]
        assert sorted(server.objects) == ["a", "c"]
        assert "b is invalid" in writer.refusal(SERVICES, "b")
        assert writer.refusal(SERVICES, "a") == writer.refusal(TABLES, "b") == ""
        writer.count_refused()
        assert metrics.refused._value.get() == metrics.refusals.labels("Service")._value.get() == 1
        await writer.put(SERVICES, [service("b", 81)], server.objects)
        assert server.asked.count("b") == 2
        server.refused = set()
        await writer.put(SERVICES, [service("b", 82)], server.objects)
        assert server.objects["b"]["spec"]["ports"] == [{"port": 82}]
        assert writer.refusal(SERVICES, "b") == ""
        writer.count_refused()
        assert metrics.refused._value.get() == 0


async def test_a_status_or_a_deletion_that_is_refused_is_left_alone_too() -> None:
    """Also a status whose conditions have the instant of now in them."""
    async with picky() as (server, api):
        writer = Writer(api, "edge", SyncMetrics())
        await writer.put(SERVICES, [service("a"), service("b")], {})
        server.refused, server.asked = {"a"}, []
        condition = {"type": "Accepted", "status": "True", "reason": "Declared", "message": ""}
        for _ in range(2):
            await writer.tell(SERVICES, server.objects["a"], {"conditions": [condition]})
            await writer.delete(SERVICES, list(server.objects.values()))
            await writer.finalizers(SERVICES, server.objects["a"], ["x"])
        assert sorted(server.asked) == ["a", "a", "a", "b"]
        assert sorted(server.objects) == ["a"]


async def test_calls_are_under_way_together_but_not_too_many() -> None:
    """Written, told and deleted."""
    async with picky() as (server, api):
        writer = Writer(api, "edge", SyncMetrics())
        await writer.put(SERVICES, [service(f"s{at}") for at in range(3 * AT_ONCE)], {})
        assert server.most_at_once == AT_ONCE
        server.most_at_once = 0
        await writer.delete(SERVICES, list(server.objects.values()))
        assert (server.most_at_once, server.objects) == (AT_ONCE, {})
