"""Both agents as they run: their services on a real MongoDB, with a model's server over HTTP, at speed 30."""

import asyncio
import time
from pathlib import Path

import planner.service
import slot_agent.service
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.mongo import MongoStore
from fairlead.adapters.prompt_files import prompt_texts
from fairlead.contracts.decisions import DecisionRecord
from fairlead.contracts.dialogue import AgentName
from fairlead.contracts.events import Mode
from fairlead.contracts.settings import LlmEndpoint, LlmSettings, MongoSettings, Settings
from fairlead.policy.replay import again
from testbed.scripted_behaviours import mix_of
from testbed.scripted_llm import Script, serving
from tests.slot_agent.edge import Edge, cluster
from tests.slot_agent.test_on_mongo import SPEED, report, reporting, within

AGENTS: tuple[AgentName, ...] = ("planner", "slot-agent")


async def test_good_and_bad_replies_over_http_are_journaled_ask_by_ask(
    mongo_settings: MongoSettings, mongo_store: MongoStore, tmp_path: Path
) -> None:
    """Every slot is decided, proposals act, each question of the journal is in the server's log, all of it replays."""
    script = Script(mix_of("good=0.6,bad=0.4"), seed=5, slot_s=30.0 / SPEED)
    async with serving(script, 0) as (url, server):
        settings = Settings(
            clock_origin_s=time.time(),
            speed=SPEED,
            mongodb=mongo_settings,
            state_dir=str(tmp_path),
            llm=LlmSettings(endpoints=(LlmEndpoint(url=url, key_variable=None),)),
        )
        clock = ScaledClock(SPEED, settings.clock_origin_s)
        for agent in AGENTS:
            mode = Mode(agent=agent, mode="auto", by="a test", at_s=clock.now_s())
            await mongo_store.put_mode(mode, if_revision=0)
        edge = Edge(cluster(), clock.now_s())
        for node in ("n1", "n2"):
            edge.awake(node, "m1")
        await mongo_store.replace_cluster(edge.cluster)
        await report(mongo_store, edge, clock.now_s())
        tasks = [
            asyncio.create_task(reporting(mongo_store, edge, clock)),
            asyncio.create_task(slot_agent.service.serve(settings)),
            asyncio.create_task(planner.service.serve(settings)),
        ]

        async def journal(agent: AgentName) -> list[DecisionRecord]:
            page = await mongo_store.decisions(agent=agent, limit=1000, cursor=None)
            return list(reversed(page.items))

        async def lived() -> bool:
            planned, routed = await journal("planner"), await journal("slot-agent")
            acted = any(r.source == "llm" for r in planned) and any(r.source == "llm" for r in routed)
            return acted and sum(r.kind == "advice" for r in routed) >= 6

        try:
            await within(60.0, lived)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(e, asyncio.CancelledError) for e in ended), ended
        records = [r for agent in AGENTS for r in await journal(agent)]
        dialogues = [r.dialogue for r in records if r.dialogue is not None]
        assert len({d.id for d in dialogues}) == len(dialogues)
        logged = {line.ask for line in server.lines}
        asked = [e for d in dialogues for e in d.exchanges if e.answer.attempts]
        assert {e.id for e in asked} <= logged
        assert {e.answer.model for e in asked} == {"scripted"}
        slots = [r.input.slot for r in records if r.kind == "slot" and not hasattr(r.input, "epoch")]
        assert slots == list(range(slots[0], slots[-1] + 1))
        statuses = await mongo_store.agent_statuses()
        assert [s.agent for s in statuses] == ["planner", "slot-agent"]
        assert all(s.dialogues and s.llm.endswith(url) for s in statuses)
        for record in records:
            replayed = again(DecisionRecord.from_json(record.to_json()), prompt_texts())
            assert replayed.identical, replayed.difference
