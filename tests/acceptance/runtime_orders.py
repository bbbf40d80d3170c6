"""What both runtimes do alike with orders: old ones are refused, changes keep to their budget, shares are followed."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from fairlead.contracts.decisions import DecisionRecord, SlotDecision, SlotInput
from fairlead.contracts.errors import FairleadError
from fairlead.contracts.tickets import PodSet
from fairlead.policy.slot import decide
from tests.acceptance.asking import all_whole, call_of
from tests.acceptance.case import Broken, hold
from tests.acceptance.live import ask
from tests.acceptance.on_runtime import Scene, fix, let_go, nodes, now_s, unfix
from tests.acceptance.runtime_topics import MODEL
from tests.acceptance.stored import agent_reports, publish_row, stale_orders

LATER = 1_000
"""By so much is the sequence of a late word above all that were heard."""

QUICK = 300
QUICK_S = 0.02
"""Requests by which shares are counted, and the work of each: a hundredth of what the quickest model takes."""

SHARES = (0.5, 0.3, 0.2)
"""Of three nodes; all others get 0, those too that have the model or are about to."""

DEVIATIONS = 4.0
"""A count of independent draws is further from its mean than so many standard deviations in 6 of 100 000."""

TRIES = 3
"""The slot agent may publish between our reading and our writing, or be stopped inside a transaction."""

RULE_2 = "rule2-worth"

LOOK_S = 0.5
"""Wall seconds between looks at the journal: a slot lasts eight times as long."""


def fencing(scene: Scene) -> str:
    """Hold that words of an agent that has a successor, and orders before those in force, change nothing."""
    system, former = scene.system, scene.former
    assert former is not None
    since_s = now_s(scene.settings)
    node, before = former.node, {where: one for where, one in scene.ready().items() if where[0] == former.node}
    hold(bool(before), f"{node} has no pod that an old word could put out of service")
    token = system.call("POST", "tokens", {"role": "agent", "note": "tests"}).json()["token"]
    repeated = system.call("POST", "reports/node", former.to_document(), token=token)
    hold(repeated.status == 200 and not repeated.json()["accepted"], f"a report of before: {repeated.body!r}")
    late = {"sequence": former.sequence + LATER, "observed_at_s": former.observed_at_s + 0.001, "pods": ()}
    empty = former.model_copy(update=late).to_document()
    hold(system.call("POST", "reports/node", empty, token=token).status == 200, "a late report is no error")
    refused = [
        _declared(scene, node, former.instance, former.sequence + LATER),
        _declared(scene, node, agent_reports(scene.settings)[node].instance, 1),
    ]
    hold(refused == [(409, "stale-generation")] * 2, f"pods declared by an old agent, and by an old word: {refused}")
    taken = stale_orders(scene.settings)
    hold(not taken, f"orders that are not newer were taken: {taken}")
    lost = dict(before.items() - scene.ready().items())
    for where in lost.keys() & let_go(system, since_s):  # the slot agent goes on meanwhile
        del lost[where]
    hold(not lost, f"pods of {node} that old words put out of service: {lost}")
    return f"2 reports, 2 sets of pods, 4 orders of before changed nothing on {node}: {len(before)} pods serve on"


def _declared(scene: Scene, node: str, instance: str, sequence: int) -> tuple[int, str]:
    """Tell a keeper, as an agent would, that its node has no pods; return status and code of its answer."""
    keeper = psutil.Process(scene.system.named()[f"gateway-{node}"])
    headers = {"Authorization": f"Bearer {keeper.environ()['FAIRLEAD_KEEPER_TOKEN']}"}
    spec = scene.system.call("GET", f"nodes/{node}").json()
    pods = PodSet(node=node, instance=instance, sequence=sequence, speed=spec["speed"], pods=())
    said = ask("PUT", f"{spec['keeper_url']}/keeper/v1/pods", pods.to_json().encode(), headers)
    return said.status, str(json.loads(said.body).get("code", ""))


def weights(scene: Scene) -> str:
    """Hold that gateways send by a strict row's shares, and nothing where a share is 0 though a pod is ready there."""
    having = _widened(scene, len(SHARES) + 1)
    shares = dict.fromkeys(nodes(scene.system), 0.0) | dict(zip(having, SHARES, strict=False))
    with _still(scene, "slot-agent"):
        generation = _published(scene, shares)
        known = r'fairlead_gateway_table_generation\{site="[^"]*"\}'
        scene.until(lambda: min(scene.measured(known)) >= generation, f"all sites have table {generation}")
        found = [one.result() for one in scene.clients.ask([call_of(MODEL, QUICK_S)] * QUICK)]
    all_whole(found, "quick requests")
    served = Counter(one.node for one in found)
    for node, share in shares.items():
        off, most = abs(served[node] - QUICK * share), DEVIATIONS * math.sqrt(QUICK * share * (1.0 - share))
        hold(off <= most, f"{node} served {served[node]} of {QUICK}, its share is {share}: {dict(served)}")
    idle = set(having) - set(having[: len(SHARES)])
    hold(bool(idle), "no ready pod had a share of 0")
    later_s = scene.until(
        lambda: scene.system.call("GET", "tables/current").json()["generation"] > generation, "the slot agent goes on"
    )
    told = ", ".join(f"{share:g}: {served[node] / QUICK:.3f}" for node, share in shares.items() if share)
    return f"of {QUICK} requests {told}, 0: 0 on {sorted(idle)}; the slot agent's next table {later_s:.1f} s later"


def _widened(scene: Scene, least: int) -> list[str]:
    """Return the nodes that have the model, after it was started on so many at least."""
    having = scene.having(MODEL)
    without = [node for node in nodes(scene.system) if node not in having]
    names = [fix(scene.system, (node, MODEL), "pin") for node in without[: max(0, least - len(having))]]
    scene.until(lambda: len(scene.having(MODEL)) >= least, f"{MODEL} is ready on {least} nodes")
    unfix(scene.system, *names)
    return scene.having(MODEL)


@contextmanager
def _still(scene: Scene, name: str) -> Iterator[None]:
    """Have a process stand still."""
    process = psutil.Process(scene.system.named()[name])
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def _published(scene: Scene, shares: dict[str, float]) -> int:
    """Publish a table with these shares while the slot agent stands still."""
    said = ""
    for _ in range(TRIES):
        try:
            return publish_row(scene.settings, MODEL, shares, now_s(scene.settings))
        except FairleadError as error:
            said = str(error)
    raise Broken(f"no table of ours could be published: {said}")


@dataclass(frozen=True, slots=True)
class Starts:
    """How many pods rule 2 started in a slot."""

    slot: int
    made: int
    allowed: int
    """Its churn budget: one for each `nodes_per_start` nodes that are up (CONTROL §2)."""
    wanted: int
    """What it starts on the same input with room for one on each node."""


def churn(scene: Scene) -> str:
    """Hold that starts beyond a slot's budget are put off and come later, as the journal shows.

    Each journaled decision is made again, once as it was and once with room for a start on each node.
    """
    found: dict[str, Starts] = {}

    def look() -> bool:
        for name in _slot_decisions(scene):
            if name not in found:
                found[name] = _starts(DecisionRecord.from_json(scene.system.call("GET", f"decisions/{name}").body))
        first = min((one.slot for one in found.values() if one.wanted > one.made), default=math.inf)
        return any(one.made and one.slot > first for one in found.values())

    waited_s = scene.until(look, "starts were put off, and came", LOOK_S)
    over = [one for one in found.values() if one.made > one.allowed]
    hold(not over, f"slots with more starts than their budget: {over}")
    made = sum(one.made for one in found.values())
    put_off = sum(one.wanted > one.made for one in found.values())
    most = max(one.made for one in found.values())
    return (
        f"{made} starts by rule 2 in {len(found)} slots, {most} in one at most; "
        f"{put_off} slots wanted more and put it off, the next came after {waited_s:.1f} s"
    )


def _slot_decisions(scene: Scene) -> list[str]:
    """Return the names of the newest decisions that were made for a slot."""
    items = scene.system.call("GET", "decisions?agent=slot-agent&limit=200").json()["items"]
    return [one["id"] for one in items if one["kind"] == "slot"]


def _starts(record: DecisionRecord) -> Starts:
    given, made = record.input, record.output
    assert isinstance(given, SlotInput)
    assert isinstance(made, SlotDecision)
    again = decide(given)
    hold(again.reasons == made.reasons, f"{record.id} is decided otherwise from its line of the journal")
    roomy = given.model_copy(update={"settings": given.settings.model_copy(update={"nodes_per_start": 1})})
    up = sum(node.up for node in given.snapshot.nodes)
    return Starts(given.slot, _by_rule_2(made), max(1, up // given.settings.nodes_per_start), _by_rule_2(decide(roomy)))


def _by_rule_2(decision: SlotDecision) -> int:
    return sum(reason.rule == RULE_2 for reason in decision.reasons)
