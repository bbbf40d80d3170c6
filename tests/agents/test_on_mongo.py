"""Both agents as they run: their services on a real MongoDB, a model's server over HTTP, twins in their processes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import planner.service
import slot_agent.service
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.mongo import MongoStore
from fairlead.adapters.prompt_files import prompt_texts
from fairlead.contracts.decisions import DecisionRecord, SlotInput
from fairlead.contracts.dialogue import AgentName, Approval, ModeName
from fairlead.contracts.events import Mode
from fairlead.contracts.settings import LlmEndpoint, LlmSettings, MongoSettings, Settings
from fairlead.contracts.tuning import GateSettings, PolicySettings
from fairlead.policy.replay import again
from testbed.scripted_behaviours import mix_of
from testbed.scripted_llm import Script, serving
from tests.slot_agent.edge import Edge, cluster
from tests.slot_agent.test_on_mongo import report, reporting, within

JUDGED_SPEED = 15.0
"""A slot lasts two seconds: two reference twins and what else the tests of a machine do leave no time in one."""

LENIENT = GateSettings(scenarios=2, variations=False, margin_ratio=1.0, plan_margin_ratio=1.0, disbelief_ratio=1.0)
"""A gate that plays little and refuses real harm alone: what is tried here is the way of a reply, not its worth."""

AGENTS: tuple[AgentName, ...] = ("planner", "slot-agent")


@asynccontextmanager
async def edge_of_three(settings: Settings, store: MongoStore, mode: ModeName) -> AsyncIterator[ScaledClock]:
    """Give the clock of a small edge that reports, with both agents in a mode."""
    clock = ScaledClock(settings.speed, settings.clock_origin_s)
    for agent in AGENTS:
        await store.put_mode(Mode(agent=agent, mode=mode, by="a test", at_s=clock.now_s()), if_revision=0)
    edge = Edge(cluster(), clock.now_s())
    for node in ("n1", "n2"):
        edge.awake(node, "m1")
    await store.replace_cluster(edge.cluster)
    await report(store, edge, clock.now_s())
    task = asyncio.create_task(reporting(store, edge, clock))
    try:
        yield clock
    finally:
        await cancelled(task)


async def cancelled(*tasks: asyncio.Task[None]) -> None:
    """End tasks; fails if one has ended by itself."""
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(e, asyncio.CancelledError) for e in ended), ended


def settings_of(url: str, mongodb: MongoSettings, state_dir: Path, speed: float) -> Settings:
    """Return the settings of both agents with a model at this address, and a twin that needs not be compiled."""
    return Settings(
        clock_origin_s=time.time(),
        speed=speed,
        mongodb=mongodb,
        state_dir=str(state_dir),
        llm=LlmSettings(endpoints=(LlmEndpoint(url=url, key_variable=None),), gate_engine="reference"),
        controller=PolicySettings(gate=LENIENT),
    )


async def journal(store: MongoStore, agent: AgentName) -> list[DecisionRecord]:
    """Return an agent's decisions, oldest first."""
    return list(reversed((await store.decisions(agent=agent, limit=1000, cursor=None)).items))


async def test_good_and_bad_replies_over_http_are_journaled_ask_by_ask(
    mongo_settings: MongoSettings, mongo_store: MongoStore, tmp_path: Path
) -> None:
    """Every slot is decided, proposals act, each answer of the journal is in the server's log, all of it replays."""
    script = Script(mix_of("good=0.6,bad=0.4"), seed=5, slot_s=30.0 / JUDGED_SPEED)

    async def lived() -> bool:
        planned, routed = await journal(mongo_store, "planner"), await journal(mongo_store, "slot-agent")
        acted = any(r.source == "llm" for r in planned) and any(r.source == "llm" for r in routed)
        return acted and sum(r.kind == "advice" for r in routed) >= 6

    async with serving(script, 0) as (url, server):
        settings = settings_of(url, mongo_settings, tmp_path, JUDGED_SPEED)
        async with edge_of_three(settings, mongo_store, "auto"):
            services = (slot_agent.service.serve(settings), planner.service.serve(settings))
            tasks = [asyncio.create_task(service) for service in services]
            # to read whole journals takes from the time of the agents, which run in this loop
            await within(60.0, lived, every_s=0.25)
            await cancelled(*tasks)
        records = [r for agent in AGENTS for r in await journal(mongo_store, agent)]
        dialogues = [r.dialogue for r in records if r.dialogue is not None]
        assert len({d.id for d in dialogues}) == len(dialogues)
        asked = [e for d in dialogues for e in d.exchanges if e.answer.attempts]
        answered = {e.id for e in asked if e.answer.code != "late"}  # one that gave up early may never have come there
        assert answered <= {line.ask for line in server.lines}
        assert {e.answer.model for e in asked} == {"scripted"}
        slots = [r.input.slot for r in records if r.kind == "slot" and isinstance(r.input, SlotInput)]
        assert slots == list(range(slots[0], slots[-1] + 1))
        statuses = await mongo_store.agent_statuses()
        assert [s.agent for s in statuses] == ["planner", "slot-agent"]
        assert all(s.dialogues and s.llm.endswith(url) for s in statuses)
        assert all(s.gate is not None and s.gate.no_worse and s.gate.twin.startswith("reference") for s in statuses)
        judged = [j for d in dialogues for j in d.judgements]
        assert all(j.trials or "changes nothing" in j.text for j in judged if j.code in ("no-worse", "worse"))
        for record in records:
            replayed = again(DecisionRecord.from_json(record.to_json()), prompt_texts())
            assert replayed.identical, replayed.difference


async def test_a_person_approves_a_proposal_by_way_of_the_database(
    mongo_settings: MongoSettings, mongo_store: MongoStore, tmp_path: Path
) -> None:
    """The stream of changes tells the agent; it acts within the slot, and the status says so."""

    async def approved(clock: ScaledClock) -> bool:
        page = await mongo_store.proposals(limit=1, cursor=None)
        if page.items and page.items[0].approval is None and clock.now_s() < page.items[0].expires_at_s - 10.0:
            said = Approval(answer="approved", by="ada", at_s=clock.now_s())
            left = page.items[0]
            await mongo_store.put_proposal(left.model_copy(update={"approval": said}), if_revision=left.revision)
        return any(r.source == "llm" for r in await journal(mongo_store, "slot-agent"))

    async with serving(Script(mix_of("good=1"), seed=5, slot_s=3.0), 0) as (url, _):
        settings = settings_of(url, mongo_settings, tmp_path, 10.0)
        async with edge_of_three(settings, mongo_store, "assist") as clock:
            task = asyncio.create_task(slot_agent.service.serve(settings))
            await within(60.0, lambda: approved(clock))
            await cancelled(task)
        record = next(r for r in await journal(mongo_store, "slot-agent") if r.source == "llm")
        assert record.kind == "advice"
        assert record.dialogue is not None
        assert record.dialogue.approval is not None
        assert record.dialogue.approval.by == "ada"
        assert again(DecisionRecord.from_json(record.to_json()), prompt_texts()).identical
