"""What both runtimes do alike with pods and nodes: each check on the running system that the one before it left."""

import os
import signal
import time

import psutil

from fairlead.adapters import process_table
from testbed.client_stats import read_outcomes
from tests.acceptance.asking import all_whole, call_of
from tests.acceptance.case import hold
from tests.acceptance.live import until
from tests.acceptance.on_runtime import WITHIN_S, Kill, Scene, Where, fix, let_go, nodes, now_s, snapshot, unfix, views
from tests.acceptance.stored import agent_reports

MODEL = "vision-language"
"""What the topics turn on: at seed 7 four nodes begin with it, three without can make room for it."""

LONG_S = 12.0
"""Work of a request that is still in its pod when something happens to that: three times the model's mean."""

STREAM_S = 32.0
"""Work of a stream that outlasts by far the order to stop its pod: at speed 8 three seconds and more."""

LAG_S = 1.0
"""Wall seconds by which a client may hear of its answer's end later than we see what followed; the stream is ordered
away three seconds before its end."""

CLOSE_S = 0.001
"""Domain seconds: instants in messages are sums and differences of floats."""


def start(scene: Scene) -> str:
    """Hold that a role change starts a pod which serves once it is ready and not before, while requests flow."""
    system, before = scene.system, scene.ready()
    where = (_roomiest(scene, before), MODEL)
    asked_s, pin = time.monotonic(), fix(system, where, "pin")
    took_s = scene.until(lambda: where in scene.ready(), f"{where} is ready")
    meanwhile = sum(one.ended_s > asked_s for one in tuple(scene.clients.trickled))
    ready_at_s = until(lambda: _ready_since(scene, where), f"{where} serves", WITHIN_S, system.alive)
    after_s = scene.until(lambda: _granted(scene, where), f"{where} is given requests")
    early = [at_s for at_s in _granted(scene, where) if at_s < ready_at_s - CLOSE_S]
    hold(not early, f"served at {early[:3]}, before it was ready at {ready_at_s}")
    hold(meanwhile > 0, f"nobody asked for {MODEL} while it started")
    unfix(system, pin)
    return (
        f"{where[0]} ready after {took_s:.1f} s, {meanwhile} requests elsewhere meanwhile, "
        f"first there {after_s:.1f} s later"
    )


def _roomiest(scene: Scene, ready: dict[Where, str]) -> str:
    """Return of the nodes that have not the model the one with most room."""
    items = {kind: scene.system.call("GET", kind).json()["items"] for kind in ("nodes", "models")}
    claim = {one["id"]: one["memory_bytes"] for one in items["models"]}
    room: dict[str, int] = {
        one["id"]: one["memory_bytes"] - sum(claim[model] for node, model in ready if node == one["id"])
        for one in items["nodes"]
        if (one["id"], MODEL) not in ready
    }
    return max(sorted(room), key=lambda node: room[node])


def _ready_since(scene: Scene, where: Where) -> float:
    """Return the domain instant since which a pod has been ready; 0 while nobody says that it is."""
    view = views(snapshot(scene.system)).get(where)
    return view.since_at_s if view is not None and view.phase == "ready" else 0.0


def _granted(scene: Scene, where: Where) -> list[float]:
    """Return when a pod was given each of the requests that it has served, domain instants."""
    outcomes = read_outcomes(scene.system.state / "outcomes").values()
    return [o.ended_at_s - o.service_s for o in outcomes if (o.node, o.model) == where and o.service_s is not None]


def drain(scene: Scene) -> str:
    """Hold that a pod stops by routes first, then the stream inside to its end, then the process; nothing is resent."""
    system = scene.system
    hold(len(scene.having(MODEL)) > 1, f"{MODEL} has no second pod")
    stream, again = scene.clients.stream(call_of(MODEL, STREAM_S, stream=True)), scene.sent_again()
    where, asked_s = (stream.node, MODEL), time.monotonic()
    process = scene.processes()[where]
    ban = fix(system, where, "ban")
    routed_s = scene.until(lambda: stream.node not in scene.row(MODEL), f"routes leave {where}")
    hold(process_table.is_alive(process.pid, process.start_ticks), "the pod had gone before its routes")
    scene.until(lambda: _phase(scene, where) == "draining", f"{where} drains")
    scene.until(lambda: _phase(scene, where) != "draining", f"{where} has drained")
    stopped_s = time.monotonic()
    scene.until(lambda: not process_table.is_alive(process.pid, process.start_ticks), f"{where} ends")
    ended = stream.ending.result()
    all_whole([ended], "the stream")
    hold(ended.ended_s < stopped_s + LAG_S, f"stopped {ended.ended_s - stopped_s:.1f} s before its stream had ended")
    hold(scene.sent_again() == again, "requests were lost by a drain and sent again")
    unfix(system, ban)
    return (
        f"{where[0]} off the routes after {routed_s:.1f} s, its stream whole after {ended.ended_s - asked_s:.1f} s, "
        f"stopped {stopped_s - asked_s:.1f} s after the order, none sent again"
    )


def _phase(scene: Scene, where: Where) -> str:
    view = views(snapshot(scene.system)).get(where)
    return "off" if view is None else view.phase


def crash(scene: Scene) -> str:
    """Hold that a killed pod is noticed and replaced, and that its requests are answered all the same."""
    before, again = scene.having(MODEL), scene.sent_again()
    asked = scene.clients.ask([call_of(MODEL, LONG_S)] * (len(before) + 2))
    where = max(_busy(scene), key=lambda one: one[1])[0]
    process = scene.processes()[where]
    scene.kills.append(Kill(*where, now_s(scene.settings)))
    os.kill(process.pid, signal.SIGKILL)
    noticed_s = scene.until(lambda: _phase(scene, where) != "ready", f"the end of {where} is noticed")
    others = {(node, MODEL) for node in before} - {where}
    back_s = scene.until(
        lambda: any(one[1] == MODEL and one not in others for one in scene.ready()), f"one is in the place of {where}"
    )
    all_whole([one.result() for one in asked], "requests around a crash")
    resent = scene.sent_again() - again
    hold(resent > 0, "the pod had requests, and none was sent again")
    return f"{where[0]} noticed after {noticed_s:.1f} s, replaced {back_s:.1f} s later, {resent:.0f} sent again"


def _busy(scene: Scene) -> list[tuple[Where, int]]:
    """Return pods of the model that have a request inside, and how many they have in all, once there are any."""
    found: list[tuple[Where, int]] = []

    def look() -> bool:
        seen = views(snapshot(scene.system)).items()
        found[:] = [(w, v.count) for w, v in seen if w[1] == MODEL and v.phase == "ready" and v.running]
        return bool(found)

    scene.until(look, f"requests are inside pods of {MODEL}")
    return found


def orphan(scene: Scene) -> str:
    """Hold that pods outlive a killed agent and its successor has the same ones, none twice, and can stop them."""
    system, serving = scene.system, scene.ready()
    node = max(scene.having(MODEL), key=lambda one: sum(at == one for at, _ in serving))
    hold(len(scene.having(MODEL)) > 1, f"{MODEL} has no second pod")
    agent, former = f"node-agent-{node}", agent_reports(scene.settings)[node]
    before = {where: one for where, one in scene.processes().items() if where[0] == node and where in serving}
    since_s = now_s(scene.settings)
    pid = system.named()[agent]
    os.kill(pid, signal.SIGKILL)
    back_s = scene.until(lambda: system.named().get(agent, pid) != pid, f"{agent} is started again")
    adopted_s = scene.until(
        lambda: agent_reports(scene.settings)[node].instance != former.instance, f"a successor of {agent} reports", 0.3
    )
    after = scene.processes()
    told = {pod.instance for pod in agent_reports(scene.settings)[node].pods}
    changed = {where for where, one in before.items() if after.get(where) != one or one.instance not in told}
    hold(not (changed - let_go(system, since_s)), f"pods that did not outlive their agent, or unknown to it: {changed}")
    ban = fix(system, (node, MODEL), "ban")
    stopped_s = scene.until(lambda: (node, MODEL) not in scene.processes(), f"the adopted {MODEL} of {node} stops")
    unfix(system, ban)
    scene.former = former
    return (
        f"{len(before)} pods of {node} adopted {back_s + adopted_s:.1f} s after the kill, none twice, "
        f"one stopped {stopped_s:.1f} s after the order"
    )


def node_loss(scene: Scene) -> str:
    """Hold that the requests of a node that goes with all that is on it are answered elsewhere; back, it is used."""
    system, node, again = scene.system, _apart(scene), scene.sent_again()
    models = {model for at, model in scene.ready() if at == node}
    asked = scene.clients.ask([call_of(MODEL, LONG_S)] * (len(scene.having(MODEL)) + 2))
    scene.until(lambda: node in {where[0] for where, _ in _busy(scene)}, f"requests are on {node}")
    frozen = _taken_away(scene, node)
    noticed_s = scene.until(lambda: not _is_up(scene, node), f"the loss of {node} is noticed")
    since_s = time.monotonic()
    scene.until(lambda: node not in scene.row(MODEL), f"routes leave {node}")
    all_whole([one.result() for one in asked], "requests around the loss of a node")
    scene.until(lambda: all(scene.having(model) for model in models), f"{models} are ready elsewhere")
    scene.until(lambda: sum(one.began_s > since_s for one in tuple(scene.clients.trickled)) > 3, "requests flow on")
    astray = [one for one in tuple(scene.clients.trickled) if one.began_s > since_s and one.node == node]
    hold(not astray, f"answered by a node that is away: {astray[:3]}")
    for process in frozen:
        process.resume()
    back_s = scene.until(lambda: _is_up(scene, node), f"{node} is back")
    pin = fix(system, (node, MODEL), "pin")
    used_s = scene.until(lambda: (node, MODEL) in scene.ready(), f"{node} is used again")
    unfix(system, pin)
    resent = scene.sent_again() - again
    hold(resent > 0, f"{node} had requests, and none was sent again")
    return (
        f"{node} missed after {noticed_s:.1f} s, {resent:.0f} requests sent again, "
        f"back {back_s:.1f} s after its return, a pod {used_s:.1f} s later"
    )


def _apart(scene: Scene) -> str:
    """Return a node that has the model and stands beside no site; where there is none, have the model start on one."""
    beside = {site["node"] for site in scene.system.call("GET", "sites").json()["items"]}
    having = [node for node in scene.having(MODEL) if node not in beside]
    if having:
        return having[0]
    node = next(one for one in nodes(scene.system) if one not in beside)
    pin = fix(scene.system, (node, MODEL), "pin")
    scene.until(lambda: (node, MODEL) in scene.ready(), f"{MODEL} is ready on {node}")
    unfix(scene.system, pin)
    return node


def _is_up(scene: Scene, node: str) -> bool:
    return next(one.up for one in snapshot(scene.system).nodes if one.node == node)


def _taken_away(scene: Scene, node: str) -> list[psutil.Process]:
    """Kill keeper, agent and pods of a node; return the successors of the first two, stopped before they can speak."""
    system, names = scene.system, (f"gateway-{node}", f"node-agent-{node}")
    pods = [one.pid for where, one in scene.processes().items() if where[0] == node]
    first = {name: system.named()[name] for name in names}
    scene.kills.append(Kill(node, None, now_s(scene.settings)))
    for pid in (*first.values(), *pods):
        os.kill(pid, signal.SIGKILL)
    return [_successor(scene, name, pid) for name, pid in first.items()]


def _successor(scene: Scene, name: str, pid: int) -> psutil.Process:
    """Return what was started in the place of a killed process, stopped."""
    scene.until(lambda: scene.system.named().get(name, pid) != pid, f"{name} is started again")
    successor = psutil.Process(scene.system.named()[name])
    successor.suspend()
    return successor
