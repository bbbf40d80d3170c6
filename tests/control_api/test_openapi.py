"""The OpenAPI document is held to: whatever it allows is answered as it says, and never with a fault."""

import asyncio
from typing import Any

import hypothesis
import schemathesis
from fastapi import FastAPI
from schemathesis.checks import CHECKS

from control_api.access import digest
from control_api.app import context, create_app
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.events import TokenRecord
from fairlead.contracts.settings import ControlSettings, Settings
from tests.adapters import store_examples as some
from tests.control_api import dialogue_examples as example

EXAMPLES = 12
"""Requests for each operation."""

SECRET = "a-secret-of-this-test"

LOOSER = frozenset(("positive_data_acceptance",))
"""Left out: rows that must sum to 1 and models that must fit are more than a schema can say."""


async def _filled() -> MemoryStore:
    """Return a store with something of each kind."""
    store = MemoryStore()
    await store.replace_cluster(some.cluster())
    await store.publish_plan(some.plan(1))
    await store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
    await store.publish_slot(None, None, example.advice_record())
    await store.put_proposal(example.proposal(1, expires_at_s=1e12), if_revision=None)
    await store.put_agent_status(example.status())
    await store.put_override(some.override("o1"), if_revision=None)
    await store.add_case(some.case("c1"), capacity=9)
    await store.append_node_report(some.node_report(1))
    await store.append_gateway_report(some.gateway_report(1, outcomes=(some.outcome(),)))
    await store.add_token(TokenRecord(id="t1", role="admin", sha256=digest(SECRET), note="", created_at_s=0.0))
    return store


def _application() -> FastAPI:
    """Return an application whose long polls end at once."""
    parts = context(Settings(control=ControlSettings()), asyncio.run(_filled()), ScaledClock())
    parts.watch.close()
    parts.watch.store_up = True
    return create_app(parts, "0")


schema = schemathesis.openapi.from_asgi("/openapi.json", _application())
LEFT_OUT: list[Any] = [check for check in CHECKS.get_all() if check.__name__ in LOOSER]


@schema.parametrize()
@hypothesis.settings(max_examples=EXAMPLES, suppress_health_check=list(hypothesis.HealthCheck))
def test_whatever_the_document_allows_is_answered_as_it_says(case: schemathesis.Case[Any]) -> None:
    """Status, media type, headers and body, for right and for wrong requests."""
    case.call_and_validate(headers={"Authorization": f"Bearer {SECRET}"}, excluded_checks=LEFT_OUT)
