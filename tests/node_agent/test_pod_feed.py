"""How pods are followed where proxies talk nonsense, and how a server that is busy is asked."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest

from fairlead.adapters.kubernetes_api import PODS, KubernetesApi, Put, Vanished
from fairlead.adapters.kubernetes_mirror import Mirror, Wanted
from fairlead.contracts.errors import KubernetesUnavailable
from node_agent.pod_objects import labels_of
from tests.node_agent.api_stub import NAMESPACE, PODS_PATH, ApiStub, stub_feed, stubbed
from tests.waiting import until


def put(stub: ApiStub, name: str) -> None:
    """Have a pod of node n1 be there."""
    stub.put(f"{PODS_PATH}/{name}", {"metadata": {"name": name, "labels": labels_of(name, "n1", f"{name}-1")}})


async def test_nonsense_from_a_proxy_is_waited_out() -> None:
    """In lists and in watches; what happened meanwhile is told afterwards."""
    async with stubbed() as (stub, api):
        put(stub, "a")
        stub.garbled["GET"] = [{}, {"metadata": {"resourceVersion": "1"}, "items": [{}]}, {"metadata": 1}]
        stub.garbled["WATCH"] = [
            {"type": "ADDED", "object": {"metadata": {}}},
            {"type": "ERROR", "object": "away"},
            {"type": "BOOKMARK", "object": {}},
        ]
        feed = stub_feed(api)
        heard: list[Put | Vanished] = []
        async with asyncio.timeout(20.0):
            (pod,) = await feed.join("n1", heard.append)
        assert pod["metadata"]["name"] == "a"
        await until(lambda: not stub.garbled["WATCH"], "it is followed through all of it")
        put(stub, "b")
        await until(lambda: any(one.object["metadata"]["name"] == "b" for one in heard), "the next pod is told")
        await feed.leave("n1")


async def test_a_watch_that_is_never_answered_is_asked_for_again() -> None:
    """As long as a call may take it is waited for; what happened meanwhile is told once there are answers again."""
    async with stubbed(timeout_s=0.2) as (stub, api):
        heard: list[Put | Vanished] = []
        stub.garbled["WATCH"] = [{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "0"}}}]
        feed = stub_feed(api)
        assert await feed.join("n1", heard.append) == ()
        stub.silent = True
        asked = len(stub.asked)
        await until(lambda: len(stub.asked) >= asked + 3, "the watch is asked for again and again")
        put(stub, "a")
        stub.silent = False
        await until(lambda: [one.object["metadata"]["name"] for one in heard] == ["a"], "the pod is told")
        assert [method for method, _ in stub.asked].count("GET") == 1
        await feed.leave("n1")


async def test_who_comes_after_the_last_has_left_hears_of_the_pods() -> None:
    """The watch goes on where it stood."""
    async with stubbed() as (stub, api):
        put(stub, "a")
        feed = stub_feed(api)
        heard: list[Put | Vanished] = []
        assert len(await feed.join("n1", heard.append)) == 1
        await feed.leave("n1")
        put(stub, "b")
        async with asyncio.timeout(20.0):
            assert len(await feed.join("n1", heard.append)) == 1
        await until(lambda: [one.object["metadata"]["name"] for one in heard] == ["b"], "what came meanwhile is told")
        await feed.leave("n1")


async def test_a_busy_server_is_spared_for_a_minute_at_most() -> None:
    """Though it, or a proxy, asks for a day."""
    async with stubbed() as (stub, api):
        stub.troubled["/"] = 429
        with pytest.raises(KubernetesUnavailable, match=r"spared for (60\.0|5\d\.\d) s more"):
            await api.get(PODS_PATH)


async def test_watches_that_begin_together_do_not_end_together() -> None:
    """Their length is drawn from what was set down to its half, by the seed."""
    async with stubbed() as (stub, api):
        lengths = [await _length_s(stub, api, seed) for seed in ("1/n1", "1/n2", "1/n3", "1/n1")]
    assert all(150 <= length_s <= 300 for length_s in lengths)
    assert len(set(lengths[:3])) == 3
    assert lengths[3] == lengths[0]


async def _length_s(stub: ApiStub, api: KubernetesApi, seed: str) -> int:
    """Return for how long a watch of a seed is asked for."""
    count = len(stub.asked)
    changes = Mirror(api, Wanted(PODS, NAMESPACE), seed=seed).follow()
    await anext(changes)
    following = asyncio.ensure_future(anext(changes))
    await until(lambda: any(method == "WATCH" for method, _ in stub.asked[count:]), "it watches")
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await changes.aclose()
    (path,) = (path for method, path in stub.asked[count:] if method == "WATCH")
    return int(parse_qs(urlsplit(path).query)["timeoutSeconds"][0])
