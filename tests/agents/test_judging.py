"""The twin in a process of its own: ready or not, late, lost, failing; what it says is what the twin's gate says."""

import asyncio
import io
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.memory_judging import MemoryJudging
from fairlead.agents.frames import Question, Verdict
from fairlead.agents.judging import TwinProcess, twin_command
from fairlead.agents.metrics import DialogueMetrics
from fairlead.agents.twin_child import Twin, serve
from fairlead.contracts.cluster import SiteSpec
from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.dialogue import Judge, Judgement
from fairlead.contracts.plans import Guide, GuideRow, Share
from fairlead.contracts.settings import LlmSettings, Settings
from fairlead.twin.court import Means
from fairlead.twin.engines import brancher
from fairlead.twin.gate import judged
from tests.agents.world import count
from tests.policy.dialogues import slot_asked

LIMIT_S = 20.0
"""Wall seconds that anything of a child may take on a busy machine."""


def odd(behaviour: str) -> tuple[str, ...]:
    """Return the command of a child that behaves so."""
    return (sys.executable, "-S", str(Path(__file__).with_name("odd_twin.py")), behaviour)


class Heard:
    """What is told of each state."""

    def __init__(self) -> None:
        self.states = 0

    def __call__(self) -> None:
        """Count."""
        self.states += 1


@asynccontextmanager
async def twin(command: tuple[str, ...], heard: Heard | None = None) -> AsyncIterator[TwinProcess]:
    """Give a twin that is wanted and kept; it is gone afterwards."""
    registry = CollectorRegistry()
    made = TwinProcess(command, ScaledClock(1.0, 0.0), DialogueMetrics(registry, "planner"), heard or Heard())
    task = asyncio.create_task(made.run())
    made.wanted()
    try:
        yield made
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        judgements = made.status().no_worse + made.status().worse + made.status().unjudged
        assert count(registry, "fairlead_gate_judgements") == judgements


async def state(made: TwinProcess, wanted: str) -> None:
    """Return once it is in a state."""
    async with asyncio.timeout(LIMIT_S):
        while made.status().state != wanted:
            await asyncio.sleep(0.01)


JUDGE = Judge(agent="slot-agent", proposal="{}")


async def ask(made: TwinProcess, deadline_s: float = LIMIT_S) -> Judgement:
    """Return what is said of a proposal."""
    return await made.judge(slot_asked(), JUDGE, deadline_s=deadline_s)


async def test_it_is_started_when_it_is_wanted_and_judges_one_after_the_other() -> None:
    """Nothing runs before; what it says of itself is shown."""
    heard = Heard()
    idle = TwinProcess(odd("good"), ScaledClock(1.0, 0.0), DialogueMetrics(CollectorRegistry(), "planner"), heard)
    assert (idle.status().state, idle.status().starts) == ("idle", 0)
    async with twin(odd("good"), heard) as made:
        await state(made, "ready")
        assert [(await ask(made)).text for _ in range(3)] == ["question 1", "question 2", "question 3"]
        status = made.status()
        assert (status.no_worse, status.unjudged, status.starts) == (3, 0, 1)
        assert (status.twin, status.memory_bytes) == ("odd 1", 1234)
        assert status.seconds > 0.0
        assert heard.states == 2


async def test_until_it_is_ready_the_answer_is_absent_at_once() -> None:
    """Nobody waits for what begins."""
    async with twin(odd("silent")) as made:
        await state(made, "starting")
        said = await ask(made)
        assert said.code == "absent"
        assert said.text.startswith("the twin is not ready: its process begins")
        assert made.status().unjudged == 1


async def test_past_its_deadline_it_is_late_and_what_it_says_then_is_dropped() -> None:
    """While it still judges the next is late too; afterwards it goes on."""
    async with twin(odd("slow")) as made:
        await state(made, "ready")
        assert (await ask(made, 0.0)).text == "no time was left"
        late = await ask(made, 0.05)
        assert (late.code, late.text) == ("late", "the twin has not judged within 0.05 s")
        assert (await ask(made)).text == "the twin is still busy with a proposal before"
        async with asyncio.timeout(LIMIT_S):
            while (said := await ask(made)).code == "late":
                await asyncio.sleep(0.05)
        assert (said.code, said.text) == ("no-worse", "question 2")


async def test_what_fails_is_absent_with_its_reason() -> None:
    """The next question is asked as if nothing had been."""
    async with twin(odd("failing")) as made:
        await state(made, "ready")
        for _ in range(2):
            said = await ask(made)
            assert (said.code, said.text) == ("absent", "judging failed: ValueError: odd")


async def test_a_child_that_ends_is_started_again() -> None:
    """The question that it had is absent; the status says how it ended."""
    async with twin(odd("dying")) as made:
        await state(made, "ready")
        said = await ask(made)
        assert (said.code, said.text) == ("absent", "judging failed: its process ended")
        await state(made, "away")
        assert made.status().text == "it ended with status 3"
        await state(made, "ready")
        assert made.status().starts == 2


@pytest.mark.parametrize("command", [odd("babbling"), ("/nowhere/python",)])
async def test_what_is_no_twin_is_away(command: tuple[str, ...]) -> None:
    """It says why, and nothing is judged."""
    async with twin(command) as made:
        await state(made, "away")
        said = await ask(made)
        assert said.code == "absent"
        assert "no verdict" in said.text or "status" in said.text


def real_question() -> tuple[SlotInput, Judge]:
    """Return a slot's input in a cluster with a site, and rows that lean to one node."""
    asked = slot_asked()
    site = SiteSpec(id="s1", node=None, url="http://127.0.0.1:1")
    asked = asked.model_copy(update={"cluster": asked.cluster.model_copy(update={"sites": (site,)})})
    ready = [(v.node, p.model) for v in asked.snapshot.nodes for p in v.pods if p.phase == "ready"]
    node, model = ready[0]
    row = GuideRow(zone="*", model=model, shares=(Share(node=node, probability=1.0),))
    return asked, Judge(agent="slot-agent", proposal=Guide(slot=asked.slot, rows=(row,), why="a test").to_json())


class Ticking:
    """A clock that is read, and has gone on by a tick each time."""

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        self._now_s += self._tick_s
        return self._now_s


def verdicts(
    asked: SlotInput | EpochInput, *judges: Judge, deadline_s: float = LIMIT_S, tick_s: float = 1e-4
) -> list[Verdict]:
    """Return what a twin in this process answers to questions that come as bytes, by a clock that ticks."""
    said = io.BytesIO()
    asks = [Question(k + 1, asked, one, deadline_s).lines() for k, one in enumerate(judges)]
    serve(Twin(Ticking(tick_s)), io.BytesIO(b"".join(asks) + b"9 slot 1.0\n{"), said)
    return [Verdict.from_json(line) for line in said.getvalue().splitlines()]


def test_what_the_process_says_is_what_the_twin_s_gate_says() -> None:
    """Question by question until its input ends, also amid one; a proposal that is none is a fault."""
    asked, judge = real_question()
    right, fault, again = verdicts(asked, judge, judge.model_copy(update={"proposal": "{}"}), judge)
    assert right.judgement is not None
    assert again.judgement is not None
    direct = judged(asked, judge, asked.settings.gate, Means(brancher("reference")))
    plain = {"took_s": 0.0, "twin": ""}
    assert right.judgement.model_copy(update=plain) == again.judgement.model_copy(update=plain) == direct
    assert direct.trials
    assert right.judgement.twin.startswith("reference ")
    assert right.memory_bytes > 1e7
    assert fault.judgement is None
    assert fault.fault.startswith("ValidationError")
    assert [v.number for v in (right, fault, again)] == [1, 2, 3]


def test_a_judgement_past_its_deadline_is_given_up() -> None:
    """Before the next branch, so that the next question need not wait."""
    asked, judge = real_question()
    (late,) = verdicts(asked, judge, deadline_s=0.0, tick_s=0.2)
    assert (late.judgement, late.fault, late.late) == (None, "", True)


def test_a_judgement_is_made_to_end_in_its_time() -> None:
    """By what its branches took so far: on fewer demands, or not at all, said at once; a whole branch took a second."""
    asked, judge = real_question()
    fewer, never = (verdicts(asked, judge, deadline_s=s, tick_s=0.2)[0] for s in (11.0, 3.0))
    assert fewer.judgement is not None
    assert fewer.judgement.text.startswith("in its time 1 of 1, 120 s ahead; proposal: gain ")
    assert 4 <= fewer.judgement.trials[0].scenarios < asked.settings.gate.scenarios
    assert 0.0 < fewer.judgement.took_s < 11.0
    assert never.judgement is not None
    assert (never.judgement.code, never.judgement.trials, never.late) == ("no-time", (), False)
    assert never.judgement.text.startswith("even the least takes too long: 8 branches of some ")


async def test_the_real_process_judges(tmp_path: Path) -> None:
    """Started by the command of the settings, with the engine that needs no compiling."""
    settings = Settings(state_dir=str(tmp_path), llm=LlmSettings(gate_engine="reference"))
    asked, judge = real_question()
    async with twin(twin_command(settings)) as made:
        await state(made, "ready")
        said = await made.judge(asked, judge, deadline_s=LIMIT_S)
        assert said.code in ("no-worse", "worse")
        assert said.trials == judged(asked, judge, asked.settings.gate, Means(brancher("reference"))).trials
        assert said.took_s > 0.0


async def test_the_fake_says_what_it_is_told() -> None:
    """One after the other, or by a function; late without time."""
    told = MemoryJudging([Judgement(code="worse", text="first")])
    asked, judge = real_question()
    assert (await told.judge(asked, judge, deadline_s=1.0)).text == "first"
    assert (await told.judge(asked, judge, deadline_s=1.0)).code == "absent"
    assert (await MemoryJudging().judge(asked, judge, deadline_s=0.0)).code == "late"
    assert (await MemoryJudging().judge(asked, judge, deadline_s=1.0)).code == "no-worse"
    assert told.status().state == "ready"
