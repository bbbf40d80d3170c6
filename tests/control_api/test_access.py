"""Who may do what."""

import asyncio
import re

import httpx
import pytest

from control_api.access import WHO_MAY, Access, Unauthenticated, digest, is_loopback
from control_api.app import context, create_app
from control_api.service import check, listening, server_of
from fairlead.adapters.clock import ScaledClock, VirtualClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.errors import ConfigError, Denied
from fairlead.contracts.events import Role, TokenRecord
from fairlead.contracts.settings import ControlSettings, Settings
from tests.adapters import store_examples as some
from tests.control_api.conftest import ROLES, Api
from tests.control_api.test_resources import ROOT, refused

OPEN = {"healthz", "readyz", "metrics"}


async def test_every_operation_stands_in_the_table_of_roles(api: Api) -> None:
    """And nothing else does; only health and metrics are open."""
    document = (await api.admin.get("/openapi.json")).json()
    operations = {op["operationId"] for path in document["paths"].values() for op in path.values()}
    assert operations == set(WHO_MAY) | OPEN
    assert all("admin" in roles for roles in WHO_MAY.values())


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_do_what_the_table_says_and_nothing_else(api: Api, role: Role) -> None:
    """Whoever may not is told 403 before anything is looked at, whoever may is not."""
    document = (await api.admin.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            name = operation["operationId"]
            if name in OPEN or name == "read_events":
                continue
            url = re.sub(r"\{\w+\}", "nothing", path)
            response = await api.by_role[role].request(method.upper(), url)
            if role in WHO_MAY[name]:
                assert response.status_code != 403, name
            else:
                detail = refused(response, 403, "denied")
                assert f"has the role {role}" in detail


async def test_no_token_or_an_unknown_one_is_refused_with_401(api: Api) -> None:
    """With what the client shall send; the token itself is not repeated."""
    for header in (
        {},
        {"authorization": "Basic abc"},
        {"authorization": "Bearer secret-abc"},
        {"authorization": "Bearer "},
    ):
        client = httpx.AsyncClient(transport=httpx.ASGITransport(create_app(api.parts, "0")), base_url="http://c")
        async with client:
            response = await client.get(f"{ROOT}/nodes", headers=header)
        assert "secret-abc" not in refused(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"] == "Bearer"


async def test_a_token_is_shown_once_and_ends_when_it_is_deleted(api: Api) -> None:
    """Listings carry hashes only."""
    made = (await api.admin.post(f"{ROOT}/tokens", json={"role": "viewer", "note": "demo"})).json()
    listed = (await api.admin.get(f"{ROOT}/tokens")).text
    assert made["token"] not in listed
    assert digest(made["token"]) in listed
    headers = {"authorization": f"Bearer {made['token']}"}
    assert (await api.admin.get(f"{ROOT}/nodes", headers=headers)).status_code == 200
    assert (await api.admin.delete(f"{ROOT}/tokens/{made['id']}")).status_code == 204
    refused(await api.admin.get(f"{ROOT}/nodes", headers=headers), 401, "unauthenticated")


async def test_known_tokens_go_on_while_the_store_is_away() -> None:
    """Those never seen are not let in, and a deleted one ends within the time that is promised."""
    store, clock = MemoryStore(), VirtualClock()
    access = Access(store, clock, auth=True)
    await store.add_token(some.token("t1").model_copy(update={"sha256": digest("abc")}))
    await access.check("list_nodes", "Bearer abc", None)
    store.unavailable = True
    await clock.advance(100.0)
    await access.check("list_nodes", "Bearer abc", None)
    store.unavailable = False
    await store.delete_token("t1")
    await clock.advance(5.1)
    with pytest.raises(Unauthenticated):
        await access.check("list_nodes", "Bearer abc", None)


async def test_a_token_is_known_to_who_comes_while_they_are_read_for_another() -> None:
    """As right after it was made, where somebody else was the first to come."""
    going, hold = asyncio.Event(), asyncio.Event()

    class Slow(MemoryStore):
        async def tokens(self) -> tuple[TokenRecord, ...]:
            going.set()
            await hold.wait()
            return await super().tokens()

    store = Slow()
    access = Access(store, VirtualClock(), auth=True)
    await store.add_token(some.token("t1").model_copy(update={"sha256": digest("abc")}))
    access.forget()
    other = asyncio.create_task(access.check("list_nodes", "Bearer unknown", None))
    await going.wait()
    made = asyncio.create_task(access.check("list_nodes", "Bearer abc", None))
    await asyncio.sleep(0)  # it has come, the other one still reads
    hold.set()
    assert "t1" in await made
    with pytest.raises(Unauthenticated):
        await other


async def test_a_token_made_while_others_are_read_is_known_at_once() -> None:
    """Whoever comes while another call still waits for the store waits for it too, and is not judged by what was."""
    going, hold = asyncio.Event(), asyncio.Event()

    class Slow(MemoryStore):
        async def tokens(self) -> tuple[TokenRecord, ...]:
            found = await super().tokens()
            going.set()
            await hold.wait()
            return found

    store = Slow()
    access = Access(store, VirtualClock(), auth=True)
    early = asyncio.create_task(access.check("list_nodes", "Bearer unknown", None))
    await going.wait()
    await store.add_token(some.token("t1").model_copy(update={"sha256": digest("abc")}))
    access.forget()
    first, second = (asyncio.create_task(access.check("list_nodes", "Bearer abc", None)) for _ in range(2))
    await asyncio.sleep(0)  # both have begun: one reads, the other came meanwhile
    hold.set()
    with pytest.raises(Unauthenticated):
        await early
    assert "t1" in await first
    assert "t1" in await second


async def test_without_authentication_only_this_machine_is_answered() -> None:
    """Whoever comes from elsewhere is denied."""
    access = Access(MemoryStore(), ScaledClock(), auth=False)
    await access.check("delete_token", None, "127.0.0.1")
    await access.check("delete_token", None, "::1")
    for peer in ("10.0.0.7", None, "somewhere"):
        with pytest.raises(Denied):
            await access.check("list_nodes", None, peer)


def test_without_authentication_it_listens_on_loopback_only() -> None:
    """Anything else is a wrong setting, said at the start."""
    check(ControlSettings(auth=False, host="127.0.0.1"))
    check(ControlSettings(auth=True, host="0.0.0.0"))
    with pytest.raises(ConfigError, match=r"control\.auth is off"):
        check(ControlSettings(auth=False, host="0.0.0.0"))
    assert is_loopback("localhost")


def test_a_port_in_use_is_named() -> None:
    """With what to do."""
    with listening(ControlSettings(port=0)) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"),
            listening(ControlSettings(port=port)),
        ):
            pass


def test_tls_needs_both_certificate_and_key() -> None:
    """And files that can be read."""
    app = create_app(context(Settings(), MemoryStore(), ScaledClock()), "0")
    with pytest.raises(ConfigError, match="go together"):
        server_of(app, ControlSettings(tls_certificate="a.pem"))
    with pytest.raises(ConfigError, match="tls_certificate"):
        server_of(app, ControlSettings(tls_certificate="/nowhere/a.pem", tls_key="/nowhere/a.key"))
