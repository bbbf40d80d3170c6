"""Agents with a language model in the loop: hostile, local, away and back, replayed, on a budget, fuzzed."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from fairlead.contracts.decisions import DecisionRecord, EpochInput, SlotInput
from fairlead.contracts.dialogue import Answer, AnswerCode
from fairlead.twin.streams import stream
from fairlead.twin.voices.reading import read
from testbed.scripted_behaviours import BEHAVIOURS, said
from testbed.scripted_join import differences, verdicts
from testbed.scripted_llm import Line
from tests.acceptance.case import ROOT, Broken, Case, Ledger, hold
from tests.acceptance.live import Up, until, up
from tests.acceptance.loop import check_contract
from tests.acceptance.scripted import compiled, journal, report_of, scripted
from tests.acceptance.scripted import said as in_words
from tests.policy.dialogues import answer
from tests.policy.fuzz import scenes, weigh

CITY7 = ("--scenario", "city7-rotating", "--load", "0.8", "--speed", "30", "--seed", "7", "--json")
QUIET = ("--scenario", "city7-stationary", "--load", "0.000001", "--speed", "30", "--seed", "7", "--json")
"""A load at which nobody asks for anything: in mode shadow, where no plan differs, many questions of a run come again
in another one."""


class Gate(TypedDict):
    """Settings of the twin's gate, as the environment has them."""

    FAIRLEAD_CONTROLLER__GATE__SCENARIOS: str
    FAIRLEAD_CONTROLLER__GATE__CLOSE_SCENARIOS: str
    FAIRLEAD_CONTROLLER__GATE__VARIATIONS: str
    FAIRLEAD_CONTROLLER__GATE__GUIDE_HORIZON_S: str


QUICK = Gate(
    FAIRLEAD_CONTROLLER__GATE__SCENARIOS="4",
    FAIRLEAD_CONTROLLER__GATE__CLOSE_SCENARIOS="0",
    FAIRLEAD_CONTROLLER__GATE__VARIATIONS="false",
    FAIRLEAD_CONTROLLER__GATE__GUIDE_HORIZON_S="60",
)
"""The twin judges on few and short demands: at speed 30 a slot is a second, and it has a part of that."""

LENIENT = "0.5"
"""Margin of a gate that refuses real harm alone: where the endpoint is what is tried, what it says acts."""

SEEDS = ("1", "4242")
"""Hash seeds under which decisions are executed again."""

SCRIPTED_S = 60
HOME3_S = 300
BUDGET_S = 25
QUIET_S = 12
"""More than an epoch of 10 s: the planner asks in it too."""

BUDGET_TOKENS = 10_000
FUZZED = 100_000
ROUNDS = 100
"""Of all scripted behaviours in all scenes: 8800 dialogues."""

BACK_S = 90.0
"""Wall seconds within which a change must show in the decisions: seconds on a free machine (three failures in a row, a
breaker's 2 s, a slot; an agent that starts again), more where others work beside it."""


def _scripted() -> str:
    """Run at a server of which 40 % of the replies are bad, and hold its log against the journal."""
    ledger = Ledger.of_now()
    compiled()
    with scripted("good=0.6,bad=0.4") as server:
        options = (*CITY7, "--duration", str(SCRIPTED_S), "--llm", server.url, "--mode", "auto")
        with up(*options, **QUICK) as system:
            report = report_of(system, SCRIPTED_S)
            log = server.end()
            check_contract(report, 7)
            with journal(system) as kept:
                records = kept.records()
                found = _joined(report, records, log)
                ledger.write("agents-replayed", [_replayed(kept.command, seed, len(records)) for seed in SEEDS])
    return f"{found}; {in_words(report)}"


def _joined(report: dict[str, Any], records: Sequence[DecisionRecord], log: dict[str, list[Line]]) -> str:
    """Return how report, journal and log agree; raises `Broken` where they do not."""
    wrong = differences(records, log)
    hold(not wrong, f"{len(wrong)} questions where ladder and log differ: {wrong[:5]}")
    known = {exchange.id for one in records if one.dialogue is not None for exchange in one.dialogue.exchanges}
    cut = {ask.rpartition(".")[0] for ask in log if ask not in known}
    hold(len(cut) <= 2, f"dialogues that are in no decision, more than the one of each agent at the end: {sorted(cut)}")
    newest = [one for one in records if one.made_at_s >= report["decisions"]["since_at_s"]]
    window = newest[: report["decisions"]["total"]]
    steps = Counter(f"{step.name}:{step.code}" for one in window for step in one.output.steps)
    hold(
        dict(sorted(steps.items())) == report["decisions"]["by_step"],
        f"by_step {report['decisions']['by_step']}, journal {steps}",
    )
    asks = [exchange for one in window if one.dialogue is not None for exchange in one.dialogue.exchanges]
    calls = {name: count for name, count in steps.items() if name.startswith("call:")}
    by_code = {f"call:{code}": count for code, count in report["llm"]["by_code"].items()}
    hold(by_code == calls, f"by_code {by_code}, by_step {calls}")
    hold(len(asks) == report["llm"]["asks"], f"{report['llm']['asks']} asked, {len(asks)} exchanges in the journal")
    hold(report["decisions"]["by_source"]["llm"] > 0, f"nothing was decided by a reply: {report['decisions']}")
    hold(report["decisions"]["by_source"]["fallback"] > 0, f"the fallback never acted: {report['decisions']}")
    seen = Counter(line.behaviour for lines in log.values() for line in lines)
    return f"{len(known)} questions joined with {sum(map(len, log.values()))} requests of {len(seen)} behaviours"


def _replayed(command: Callable[..., Any], seed: str, count: int) -> dict[str, Any]:
    """Return what comes of executing a whole journal again under a hash seed."""
    done = command("decisions", "replay", "--all", "--json", PYTHONHASHSEED=seed)
    hold(done.status == 0, f"hash seed {seed}: exit status {done.status}: {done.out[-600:]}{done.err[-400:]}")
    found: dict[str, Any] = json.loads(done.out)
    hold(found["replayed"] == found["identical"] == count, f"hash seed {seed}: {found}, there are {count}")
    return found


def _replay() -> str:
    """Execute a recorded run again, then let a run be answered from a file."""
    ledger = Ledger.of_now()
    if ledger.read("agents-replayed") is None:
        _scripted()
    again = ledger.read("agents-replayed")
    hold(len({json.dumps(one, sort_keys=True) for one in again}) == 1, f"hash seeds differ: {again}")
    compiled()
    quiet = (*QUIET, "--duration", str(QUIET_S), "--mode", "shadow")
    with scripted("good=1") as server:
        file = server.log.parent / "recorded.jsonl"
        with up(*quiet, "--llm", server.url, "--llm", f"record:{file}") as system:
            recorded = report_of(system, QUIET_S)["llm"]
        server.end()
        lines = file.read_text("utf-8").splitlines()
        hold(len(lines) >= recorded["asks"] > 0, f"{len(lines)} exchanges recorded, {recorded['asks']} asked")
        lines = [line for line in lines if json.loads(line)["ask"]["agent"] == "slot-agent"]
        file.write_text("".join(f"{line}\n" for line in lines), "utf-8")  # what the planner asks is not in it
        with up(*quiet, "--llm", f"replay:{file}") as system:
            report = report_of(system, QUIET_S)
    codes = report["llm"]["by_code"]
    hold(set(codes) == {"ok", "diverged"}, f"answered from the file or diverged, nothing else: {codes}")
    steps = report["decisions"]["by_step"]
    hold(steps["call:diverged"] == codes["diverged"], f"by_step does not count them: {steps}")
    hold(report["llm"]["accepted"] > 0, f"no answer from the file passed the gates: {report['llm']}")
    return (
        f"{again[0]['identical']} decisions identical under {len(SEEDS)} hash seeds; live from a file of "
        f"{len(lines)} exchanges: {codes['ok']} answered, {codes['diverged']} diverged"
    )


def _home3() -> str:
    """Run beside a real language model: asked every slot and epoch, no slot late."""
    compiled()
    with up(
        "--scenario", "home3", "--llm", "local", "--speed", "1", "--duration", str(HOME3_S), "--json"
    ) as system:  # fmt: skip
        report = report_of(system, HOME3_S)
        with journal(system) as kept:
            records = kept.records()
    window = [one for one in records if one.made_at_s >= report["decisions"]["since_at_s"]]
    slots = sorted({one.input.slot for one in window if one.kind == "slot" and isinstance(one.input, SlotInput)})
    asked = {one.input.slot for one in records if isinstance(one.input, SlotInput) and one.dialogue is not None}
    missed = [slot for slot in slots[:-1] if slot not in asked]
    hold(set(missed) <= {slots[0]}, f"no dialogue in slots {missed} of {slots}; asked in {sorted(asked)}")
    epochs = {one.input.epoch for one in records if isinstance(one.input, EpochInput) and one.dialogue is not None}
    hold(len(epochs) >= HOME3_S // 300, f"the planner held dialogues for epochs {sorted(epochs)} only")
    took = [e.answer.took_s for one in records if one.dialogue for e in one.dialogue.exchanges]
    outcomes = Counter(v for one in records if one.dialogue for v in verdicts(one.output.steps))
    words = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    return (
        f"{in_words(report)}; {words}; {sum(took) / len(took):.1f} s a question, most {max(took):.1f} s; "
        f"{report['slots']['total']} slots, none late"
    )


def _outage() -> str:
    """Kill, restore, hang and release the server during a run."""
    compiled()
    with scripted("good=1") as server:
        options = (*CITY7, "--llm", server.url, "--mode", "auto")
        with up(
            *options, FAIRLEAD_LLM__BREAKER_OPEN_S="2", FAIRLEAD_CONTROLLER__GATE__MARGIN_RATIO=LENIENT, **QUICK
        ) as system:
            system.works()
            took = [_acts(system, "a reply acted")]
            server.kill()
            took.append(_fails(system, ("unreachable", "reset"), "killed"))
            server.start_again()
            took.append(_acts(system, "a reply acted again after the server was started again"))
            server.hang()
            took.append(_fails(system, ("late",), "hung"))
            server.go_on()
            took.append(_acts(system, "a reply acted again after the server went on"))
            report = report_of(system, None)
    codes = report["llm"]["by_code"]
    hold(codes.get("late", 0) > 0 and codes.get("breaker-open", 0) > 0, f"not all was seen: {codes}")
    words = ", ".join(f"{one:.1f} s" for one in took)
    return f"acted, fell back, acted, fell back, acted after {words}; {in_words(report)}"


def advices(system: Up) -> list[dict[str, Any]]:
    """Return the slot agent's newest decisions after a dialogue, newest first."""
    items = system.call("GET", "decisions?agent=slot-agent&limit=50").json()["items"]
    return [one for one in items if one["kind"] == "advice"]


def _acts(system: Up, what: str) -> float:
    """Return the wall seconds until a reply that came from now on acted."""
    at_s, seen = time.monotonic(), {one["id"] for one in advices(system)}

    def acted() -> bool:
        return any(one["source"] == "llm" for one in advices(system) if one["id"] not in seen)

    until(acted, what, BACK_S, system.alive)
    return time.monotonic() - at_s


def _fails(system: Up, codes: Sequence[str], how: str) -> float:
    """Return the wall seconds until the fallback acted for one of `codes`, and then because the breaker is open."""
    at_s, seen = time.monotonic(), {one["id"] for one in advices(system)}

    def called(code: str) -> bool:
        new = [one for one in advices(system) if one["id"] not in seen and one["source"] == "fallback"]
        return any(step["name"] == "call" and step["code"] == code for one in new for step in one["steps"])

    until(lambda: any(called(one) for one in codes), f"{how}: {' or '.join(codes)}", BACK_S, system.alive)
    took_s = time.monotonic() - at_s
    until(lambda: called("breaker-open"), f"{how}: the breaker opened", BACK_S, system.alive)
    return took_s


def _budget() -> str:
    """Run on a budget that is soon spent."""
    with scripted("good=0.6,nan=0.1,never=0.1,reset=0.1,error=0.1") as server:
        options = (*CITY7, "--duration", str(BUDGET_S), "--llm", server.url, "--mode", "auto")
        with up(*options, FAIRLEAD_LLM__BUDGET__TOKENS_PER_HOUR=str(BUDGET_TOKENS), **QUICK) as system:
            system.works()
            why = until(lambda: _why(system), "an agent says that the budget is spent", BACK_S, system.alive)
            status = system.call("GET", "agents").json()["budget"]
            report = report_of(system, BUDGET_S)
        log = server.end()
    spent = sum(line.prompt_tokens + line.reply_tokens for lines in log.values() for line in lines)
    hold(0 < spent <= BUDGET_TOKENS, f"the server counted {spent} tokens, allowed are {BUDGET_TOKENS}")
    hold(status["spent"]["tokens_hour"] >= 0.5 * BUDGET_TOKENS, f"little was spent: {status}")
    codes = report["llm"]["by_code"]
    hold(codes.get("budget-tokens", 0) > 0, f"nothing was refused: {codes}")
    hold(report["decisions"]["by_source"]["fallback"] > report["decisions"]["by_source"]["llm"], f"{report}")
    return f"{spent} of {BUDGET_TOKENS} tokens in {sum(map(len, log.values()))} requests; {why!r}; {in_words(report)}"


def _why(system: Up) -> str:
    """Return why the fallback acts, where that is the budget."""
    whys = [str(one["why"]) for one in system.call("GET", "agents").json()["items"] if one["acting"] == "fallback"]
    return next((why for why in whys if "budget" in why), "")


def _fuzz() -> str:
    """Weigh spoilt replies, and what the scripted server says, in clusters small and summarised."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.policy.fuzz", str(FUZZED), str(random.Random(os.getpid()).randrange(10**9))],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    hold(done.returncode == 0, f"{done.args[-1]}: {done.stderr[-800:]}")
    fuzzed = json.loads(done.stdout)
    calls = sum(count for name, count in fuzzed.items() if name.startswith("call:"))
    hold(calls >= FUZZED, f"{calls} replies only")
    counts = _behaved()
    return (
        f"{calls} spoilt replies, {fuzzed.get('mode:auto', 0)} proposals past the gates; {sum(counts.values())} "
        f"scripted ones, {counts['passed']} past the gates"
    )


def _behaved() -> Counter[str]:
    """Return the verdicts over all behaviours in all scenes, each as its log line would allow."""
    found: Counter[str] = Counter()
    for at, scene in enumerate(scenes()):
        prompt = read(scene.opening.question.ask.user)
        for behaviour in BEHAVIOURS:
            for turn in range(ROUNDS):
                chance = stream(turn, behaviour, str(at))
                pair = [said(behaviour, prompt, chance) for _ in range(2)]
                ladder = verdicts(
                    weigh(scene, (_answered(behaviour, pair[0].text), _answered(behaviour, pair[1].text)))
                )
                for verdict, one in zip(ladder, pair, strict=False):
                    if verdict not in one.verdicts:
                        raise Broken(f"{behaviour} in scene {at}, turn {turn}: {verdict}, not {one.verdicts}")
                found.update(ladder)
    return found


CALLED: dict[str, AnswerCode] = {
    "trickle": "late", "never": "late", "late": "late", "busy": "busy", "error": "server-error", "reset": "reset",
    "content-type": "not-openai", "huge": "too-long", "empty": "empty",
}  # fmt: skip
"""What the client makes of a behaviour that does not end in a reply."""


def _answered(behaviour: str, text: str) -> Answer:
    code = CALLED.get(behaviour, "ok")
    return answer(text if code == "ok" else None, code)


CASES = (
    Case(
        "agents-fuzz", "100 000 spoilt replies and the scripted ones: each ends in a valid decision", _fuzz, "offline"
    ),
    Case("agents-scripted", "40 % bad replies: slots in time, none lost, ladder and log agree ask by ask", _scripted),
    Case("agents-replay", "decisions by a model identical under two hash seeds; live replay counts Diverged", _replay),
    Case("agents-budget", "10 000 tokens an hour: not one more, the fallback acts, the status says why", _budget),
    Case("agents-outage", "the endpoint killed, hung and restored: fallback, then the agent again", _outage),
    Case("agents-home3", "a real local model is asked every slot and epoch, no slot late", _home3, "slow"),
)
