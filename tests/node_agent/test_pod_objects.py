"""The Pod that an order becomes, and what a Pod says in the words of a runtime."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fairlead.contracts.containers import Container, GpuShare, Toleration, Variable, WeightsVolume
from fairlead.contracts.errors import PodFault
from fairlead.contracts.plans import EpochPlan, Intent, Warm
from fairlead.contracts.ports import PodOrder
from node_agent.image_pulls import expected
from node_agent.pod_objects import Place, pod_name, pod_of
from node_agent.pod_reading import annotated, instance_of, model_of, sign_of
from tests.node_agent.pods import contained, model, node

PLACE = Place("models", node(keeper_url="http://10.0.0.1:8801"), None)
IDS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


def a_pod(container: Container | None = None, place: Place = PLACE) -> dict[str, Any]:
    """Return the pod of an order."""
    spec = contained("a")
    if container is not None:
        spec = spec.model_copy(update={"container": container})
    return pod_of(PodOrder("n1", spec, "a-1"), place, "uid-1", 7.5)


def told(**status: Any) -> dict[str, Any]:
    """Return a pod with a status."""
    pod = a_pod()
    pod["metadata"]["uid"] = "0123456789abcdef"
    return {**pod, "status": status}


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    """Return a pod whose container waits."""
    return told(
        phase="Pending",
        containerStatuses=[{"name": "model", "state": {"waiting": {"reason": reason, "message": message}}, **more}],
    )


@given(IDS, IDS, IDS, IDS)
def test_a_name_is_of_one_model_on_one_node(model_a: str, node_a: str, model_b: str, node_b: str) -> None:
    """It is a DNS label, and two pairs share none."""
    first, second = pod_name(model_a, node_a), pod_name(model_b, node_b)
    assert (first == second) == ((model_a, node_a) == (model_b, node_b))
    assert len(first) <= 63
    assert not first.endswith("-")


def test_hyphens_do_not_make_two_pairs_one() -> None:
    """The ids alone, joined, would."""
    assert pod_name("a-b", "c") != pod_name("a", "b-c")


def test_a_pod_is_bound_to_its_node_and_outlives_its_silence() -> None:
    """By affinity to the node's name; owned by the node, so that drains take it for what it is."""
    pod = a_pod()
    (term,) = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}
    assert all("tolerationSeconds" not in one for one in pod["spec"]["tolerations"])
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("Node", "node-1", "uid-1", True)
    assert pod["spec"]["restartPolicy"] == "Never"
    assert (model_of(pod), instance_of(pod)) == ("a", "a-1")
    assert annotated(pod, "fairlead.dev/ordered-at-s", 0.0) == 7.5
    assert annotated(pod, "fairlead.dev/absent", 3.0) == 3.0


def test_taints_that_are_set_keep_no_pod_away() -> None:
    """In the API's own words; the silence of a node never does."""
    edge = Toleration(key="edge", operator="Exists", effect="NoSchedule")
    gpu = Toleration(key="nvidia.com/gpu", value="present")
    pod = a_pod(place=replace(PLACE, tolerations=(edge, gpu)))
    assert pod["spec"]["tolerations"][2:] == [
        {"key": "edge", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu", "operator": "Equal", "value": "present"},
    ]
    assert pod["spec"]["tolerations"][:2] == a_pod()["spec"]["tolerations"]


@pytest.mark.parametrize(
    ("field", "refused"),
    [
        ({"key": "edge", "operator": "Exists", "value": "yes"}, "has the value 'yes'"),
        ({"value": "yes"}, "without key"),
        ({"key": "edge", "tolerationSeconds": 30}, "let its effect be NoExecute"),
    ],
)
def test_a_toleration_that_the_api_would_refuse_is_no_setting(field: dict[str, Any], refused: str) -> None:
    """Each start would fail by it."""
    with pytest.raises(ValidationError, match=refused):
        Toleration(**field)


def test_what_a_container_takes_is_asked_for() -> None:
    """Cores, main memory, a share of a GPU, weights; words in braces are filled in."""
    container = Container(
        image="vision:1",
        command=("serve", "--port={port}"),
        args=("{model}", "{other}"),
        environment=(Variable(name="NODE", value="{node}"),),
        port=9000,
        cpu=1.5,
        host_memory_bytes=4_000_000_000,
        gpu=GpuShare(resource="nvidia.com/mig-1g.5gb", count=2),
        weights=WeightsVolume(source="claim", name="weights", mount_path="/weights"),
        stop_grace_s=12.5,
    )
    pod = a_pod(container)
    (one,) = pod["spec"]["containers"]
    assert (one["command"], one["args"]) == (["serve", "--port=9000"], ["a", "{other}"])
    assert one["env"] == [{"name": "NODE", "value": "n1"}]
    assert one["resources"]["requests"] == {"cpu": "1500m", "memory": "4000000000"}
    assert one["resources"]["limits"] == {"memory": "4000000000", "nvidia.com/mig-1g.5gb": "2"}
    assert one["volumeMounts"] == [{"name": "weights", "mountPath": "/weights", "readOnly": True}]
    claim = {"claimName": "weights", "readOnly": True}
    assert pod["spec"]["volumes"] == [{"name": "weights", "persistentVolumeClaim": claim}]
    assert pod["spec"]["terminationGracePeriodSeconds"] == 13


@pytest.mark.parametrize(
    ("source", "name", "volume"),
    [
        ("host-path", "/models", {"hostPath": {"path": "/models", "type": "Directory"}}),
        ("image", "weights:1", {"image": {"reference": "weights:1", "pullPolicy": "IfNotPresent"}}),
    ],
)
def test_weights_come_from_a_machine_or_an_image(source: Any, name: str, volume: dict[str, Any]) -> None:
    """As from a claim."""
    weights = WeightsVolume(source=source, name=name, mount_path="/weights")
    pod = a_pod(Container(image="vision:1", weights=weights))
    assert pod["spec"]["volumes"] == [{"name": "weights", **volume}]


def test_the_hook_asks_a_keeper_that_the_machine_can_reach() -> None:
    """By address; a name of the cluster's DNS means nothing to the kubelet."""
    hook = a_pod()["spec"]["containers"][0]["lifecycle"]["preStop"]["httpGet"]
    assert hook == {"host": "10.0.0.1", "port": 8801, "path": "/keeper/v1/pods/a/drained", "scheme": "HTTP"}
    named = Place("models", node(keeper_url="http://keeper.fairlead.svc:8801"), None)
    assert "lifecycle" not in a_pod(place=named)["spec"]["containers"][0]


def test_a_pod_to_which_routes_lead_serves_on_while_its_endpoint_is_withdrawn() -> None:
    """Half of its grace at most, then it has its signal and the rest; the keeper pauses where it is asked anyway."""
    at_address = node(keeper_url="http://10.0.0.1:8801")
    place = Place("models", at_address, None, routed=True)
    hook = a_pod(place=place)["spec"]["containers"][0]["lifecycle"]["preStop"]["httpGet"]
    assert hook["path"] == "/keeper/v1/pods/a/drained?after_s=5"
    brief = a_pod(Container(image="vision:1", stop_grace_s=7.5), place=place)["spec"]["containers"][0]
    assert brief["lifecycle"]["preStop"]["httpGet"]["path"] == "/keeper/v1/pods/a/drained?after_s=4"
    named = Place("models", node(keeper_url="http://keeper.fairlead.svc:8801"), None, routed=True)
    assert a_pod(place=named)["spec"]["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": 5}}
    at_once = Container(image="vision:1", stop_grace_s=1.0)
    assert "lifecycle" not in a_pod(at_once, place=named)["spec"]["containers"][0]


def test_a_service_account_is_named_and_no_token_is_there() -> None:
    """A model server needs no API; the account is for what it may pull."""
    assert "serviceAccountName" not in a_pod()["spec"]
    spec = a_pod(place=Place("models", node(), "puller"))["spec"]
    assert (spec["automountServiceAccountToken"], spec["serviceAccountName"]) == (False, "puller")


def test_a_model_without_a_container_is_a_fault() -> None:
    """Named, with what to do."""
    with pytest.raises(PodFault, match="has a launch and no container"):
        pod_of(PodOrder("n1", model("a"), "a-1"), PLACE, "uid-1", 0.0)


def test_a_plan_may_start_what_it_warms_and_what_it_prefers() -> None:
    """On its own node, soonest first, each once; a node that drains starts nothing."""
    plan = EpochPlan(
        generation=1,
        parent=0,
        epoch=0,
        created_at_s=0.0,
        expires_at_s=60.0,
        source="operator",
        intents=(
            Intent(node="n1", role="specialist", prefer=("c", "a"), avoid=(), bias=2),
            Intent(node="n2", role="drain", prefer=("d",), avoid=(), bias=2),
        ),
        priorities=(),
        warm=(Warm(model="b", node="n1", at_s=9.0), Warm(model="a", node="n1", at_s=5.0)),
        why="",
    )
    assert expected(plan, "n1") == ("a", "b", "c")
    assert expected(plan, "n2") == ()


# --- what a pod says


def test_a_pod_is_ready_once_its_probe_says_so() -> None:
    """With an address and a port; IPv6 in brackets."""
    ready = [{"type": "Ready", "status": "True"}]
    assert sign_of(told(phase="Running", podIP="10.1.2.3", conditions=ready)).url == "http://10.1.2.3:8000"
    assert sign_of(told(phase="Running", podIP="fd00::1", conditions=ready)).url == "http://[fd00::1]:8000"
    assert sign_of(told(phase="Running", conditions=ready)).state == "starting"


def test_a_container_beside_the_models_is_not_asked() -> None:
    """A mesh puts its own before ours, and may be done while ours serves."""
    ready = [{"type": "Ready", "status": "True"}]
    done = [{"name": "setup", "state": {"terminated": {"exitCode": 0}}}]
    pod = told(phase="Running", podIP="10.1.2.3", conditions=ready, containerStatuses=done)
    pod["spec"]["containers"].insert(0, {"name": "mesh", "ports": [{"containerPort": 15001}]})
    assert (sign_of(pod).state, sign_of(pod).url) == ("ready", "http://10.1.2.3:8000")


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "-1", "1e999", "", "many"])
def test_an_annotation_that_holds_no_quantity_is_as_good_as_none(word: str) -> None:
    """Whoever wrote it."""
    pod = a_pod()
    pod["metadata"]["annotations"]["fairlead.dev/memory-bytes"] = word
    assert annotated(pod, "fairlead.dev/memory-bytes", 3.0) == 3.0


def test_a_container_that_runs_loads() -> None:
    """Before it runs, it is being spawned."""
    assert sign_of(told(phase="Pending")).stage == "spawn"
    running = [{"name": "model", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]
    assert sign_of(told(phase="Running", containerStatuses=running)).stage == "load"


@pytest.mark.parametrize(
    ("reason", "patience"),
    [
        ("CrashLoopBackOff", "none"),
        ("ImagePullBackOff", "none"),
        ("InvalidImageName", "none"),
        ("CreateContainerConfigError", "none"),
        ("ErrImagePull", "soon"),
        ("RunContainerError", "soon"),
        ("ContainerCreating", "wait"),
    ],
)
def test_a_container_that_waits_is_waited_for_as_long_as_it_is_worth(reason: str, patience: str) -> None:
    """A pull or a mount takes its time, a loop does not end."""
    sign = sign_of(waiting(reason, "why"))
    assert (sign.state, sign.patience) == ("starting", patience)
    assert sign.reason == ("" if patience == "wait" else f"{reason}: why")


def test_a_crash_loop_tells_how_the_container_ended() -> None:
    """The loop itself says nothing."""
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    assert sign_of(waiting("CrashLoopBackOff", lastState=last)).reason == (
        "CrashLoopBackOff; last exit status 137 (OOMKilled)"
    )


def test_a_pod_that_no_node_takes_says_what_the_scheduler_says() -> None:
    """It may yet be taken."""
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/7 nodes"}]
    sign = sign_of(told(phase="Pending", conditions=conditions))
    assert (sign.reason, sign.patience) == ("Unschedulable: 0/7 nodes", "soon")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (
            {"phase": "Failed", "containerStatuses": [{"name": "model", "state": {"terminated": {"exitCode": 7}}}]},
            "ended by itself with exit status 7",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    {"name": "mesh", "state": {"running": {}}},
                    {"name": "model", "state": {"terminated": {"exitCode": 7}}},
                ],
            },
            "ended by itself with exit status 7",
        ),
        (
            {
                "phase": "Failed",
                "containerStatuses": [
                    {"name": "mesh", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "model", "state": {"terminated": {"exitCode": 7}}},
                ],
            },
            "ended by itself with exit status 7",
        ),
        ({"phase": "Succeeded"}, "ended by itself"),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "low on memory"},
            "ended by itself, Evicted: low on memory",
        ),
    ],
)
def test_a_pod_that_has_ended_says_how(status: dict[str, Any], reason: str) -> None:
    """By its container, or by its kubelet."""
    sign = sign_of(told(**status))
    assert (sign.state, sign.reason) == ("ended", reason)


def test_a_pod_that_others_end_says_who() -> None:
    """An eviction, a drain or a preemption leaves its mark; a deletion leaves none."""
    mark = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}
    for conditions, reason in (([mark], "EvictionByEvictionAPI: drained"), ([], "deleted by somebody else")):
        pod = told(phase="Running", conditions=conditions)
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        assert (sign_of(pod).state, sign_of(pod).reason) == ("stopping", reason)


def test_a_pod_without_our_labels_is_nobodys_and_has_a_name_still() -> None:
    """One that lost its instance is called by its uid."""
    pod = told(phase="Running")
    pod["metadata"]["labels"] = None
    assert (model_of(pod), instance_of(pod)) == (None, "pod-0123456789ab")
