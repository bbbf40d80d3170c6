"""A recorded run beside its twin: the same where live was as declared, and as calibrated where it was not."""

import json
from pathlib import Path

import pytest

from fairlead.contracts.errors import InputError
from fairlead.studies.calibration import AS_DECLARED, calibrated
from fairlead.studies.compare import compared
from fairlead.studies.services import read_log, services_of
from fairlead_cli.main import invoke
from tests.studies.recorded_run import Course, ordered, recorded, reported
from tests.twin.scene import cluster, model

SHAPE = cluster((model("a", work_s=4.0), model("b", work_s=2.0)), speeds=(1.0, 2.0))

SHARED = (
    Course("a", "n1", 4.0, sent_s=0.0, had_s=0.0, ended_s=6.0),
    Course("b", "n1", 2.0, sent_s=1.0, had_s=1.0, ended_s=5.0),
    Course("a", "n1", 4.0, sent_s=3.0, had_s=6.0, ended_s=10.0),
)
"""On one node: `a` alone for a second, half of it beside `b` for four, alone again; the third waits for the first."""

BOTH = ordered(-1.0, SHAPE, (("a", "b"), ()))
READY = reported(-0.5, "n1", ("a", "ready", -50.0), ("b", "ready", -50.0))


def pods_of(path: Path) -> dict[str, float]:
    """Return what each request has attained."""
    log = read_log(path)
    return {
        one.request: one.attained_s for one in services_of(log.header, (a.outcome for a in log.requests if a.outcome))
    }


def test_the_sharing_of_the_processor_is_taken_out(tmp_path: Path) -> None:
    """Each attains its work, however long it took."""
    assert pods_of(recorded(tmp_path / "a.jsonl", SHAPE, SHARED)) == pytest.approx({"r0": 4.0, "r1": 2.0, "r2": 4.0})


def test_those_inside_one_pod_share_its_part(tmp_path: Path) -> None:
    """Two in a pod of concurrency 2, for 8 s: 4 each."""
    shape = cluster((model("a", concurrency=2),))
    both = [Course("a", "n1", 4.0, sent_s=0.0, had_s=0.0, ended_s=8.0)] * 2
    assert pods_of(recorded(tmp_path / "a.jsonl", shape, both)) == pytest.approx({"r0": 4.0, "r1": 4.0})


def test_a_pod_that_was_waited_for_begins_with_its_last_end(tmp_path: Path) -> None:
    """Handed over after 0.3 s: they belong to the service, for the pod could serve nobody else."""
    late = (SHARED[0], SHARED[1], Course("a", "n1", 4.0, sent_s=3.0, had_s=6.3, ended_s=10.3))
    assert pods_of(recorded(tmp_path / "a.jsonl", SHAPE, late))["r2"] == pytest.approx(4.3)


def test_the_twin_repeats_a_run_that_was_as_declared(tmp_path: Path) -> None:
    """Request by request; the client's 0.1 s on the way back is the only difference."""
    found = compared(recorded(tmp_path / "a.jsonl", SHAPE, SHARED, [BOTH, READY]), AS_DECLARED)
    assert [one.model for one in found.models] == ["all", "a", "b"]
    for one in found.models:
        assert one.twin_mean_s == pytest.approx(one.live_mean_s - 0.1)
        assert one.twin_p99_s == pytest.approx(one.live_p99_s - 0.1)
    assert (found.left_out, found.moved, found.astray) == (0, 0, 0)


def test_placements_take_effect_when_they_were_made(tmp_path: Path) -> None:
    """At second 20 `a` is ordered on n2 and takes 10 s to start: who was sent there at 21 s waits for it."""
    late = Course("a", "n2", 4.0, sent_s=21.0, had_s=30.0, ended_s=32.0)
    turn = ordered(20.0, SHAPE, (("a", "b"), ("a",)), number=2)
    found = compared(recorded(tmp_path / "a.jsonl", SHAPE, (*SHARED, late), [BOTH, READY, turn]), AS_DECLARED)
    assert found.models[1].twin_p99_s == pytest.approx(found.models[1].live_p99_s - 0.1)
    assert found.astray == 0


def test_who_cannot_go_where_they_went_goes_elsewhere_and_is_counted(tmp_path: Path) -> None:
    """Nothing ever ran on n2."""
    strange = Course("a", "n2", 4.0, sent_s=50.0, had_s=50.0, ended_s=52.0)
    found = compared(recorded(tmp_path / "a.jsonl", SHAPE, (*SHARED, strange), [BOTH, READY]), AS_DECLARED)
    assert (found.astray, found.left_out) == (1, 0)


def test_who_moved_is_at_the_last_node_from_when_they_came_there(tmp_path: Path) -> None:
    """Sent at 1 s and moved to n1 at 7 s, where nobody is: 4 s of work end at 11 s, ten after it was sent."""
    moved = Course("a", "n1", 4.0, sent_s=1.0, had_s=7.0, ended_s=11.0, attempts=2, queued_s=7.0)
    then = Course("b", "n1", 2.0, sent_s=2.0, had_s=2.0, ended_s=4.0)
    found = compared(recorded(tmp_path / "a.jsonl", SHAPE, (moved, then), [BOTH, READY]), AS_DECLARED)
    assert [one.twin_mean_s for one in found.models] == pytest.approx([6.0, 10.0, 2.0])
    assert found.moved == 1


def test_what_had_no_answer_is_left_out(tmp_path: Path) -> None:
    """And counted."""
    lost = Course("b", "n1", 2.0, sent_s=40.0, had_s=40.0, ended_s=41.0, failed=True)
    found = compared(recorded(tmp_path / "a.jsonl", SHAPE, (*SHARED, lost), [BOTH, READY]), AS_DECLARED)
    assert (found.left_out, found.models[0].requests) == (1, 3)


def test_a_machine_that_adds_to_everything_is_learned_from_another_run(tmp_path: Path) -> None:
    """Work of 4 s takes 4.4, the way there 0.2 s, the way back 0.1, a start 12 in place of 10 s."""
    slow = [Course("a", "n1", 4.0, sent_s=10.0 * k, had_s=10.0 * k + 0.2, ended_s=10.0 * k + 4.6) for k in range(24)]
    starting = [reported(1.0, "n2", ("a", "starting", 0.5)), reported(13.0, "n2", ("a", "ready", 12.5))]
    learned = calibrated(recorded(tmp_path / "a.jsonl", SHAPE, slow, [BOTH, *starting]))
    assert learned.work_ratio == pytest.approx({"a": 1.1})
    assert learned.there_s == pytest.approx({"a": 0.2})
    assert learned.back_s == pytest.approx({"a": 0.1})
    assert learned.start_s == pytest.approx({"a": 12.0})
    other = [Course("a", "n1", 4.0, sent_s=k, had_s=k + 0.2, ended_s=k + 4.6) for k in (3.0, 30.0)]
    found = compared(recorded(tmp_path / "b.jsonl", SHAPE, other, [BOTH, READY]), learned)
    assert found.models[0].mean_error_ratio == pytest.approx(0.0, abs=1e-9)


def test_what_is_no_record_of_a_run_is_refused(tmp_path: Path) -> None:
    """An episode that was imported has demand alone."""
    path = recorded(tmp_path / "a.jsonl", SHAPE, ())
    for what in (calibrated, lambda one: compared(one, AS_DECLARED)):
        with pytest.raises(InputError, match="--record"):
            what(path)


def test_the_command_compares_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In columns and as JSON, which have the same models; a run that is no record is refused in one line."""
    path = str(recorded(tmp_path / "a.jsonl", SHAPE, SHARED, [BOTH, READY]))
    assert invoke(["twin", "compare", path, "--calibrate", path]) == 0
    shown = capsys.readouterr().out
    assert invoke(["twin", "compare", path, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["model"] for one in document["models"]] == ["all", "a", "b"]
    assert all(f"\n{one['model']} " in shown for one in document["models"])
    assert abs(document["models"][0]["mean_error_ratio"]) < 0.02
    assert invoke(["twin", "compare", "--calibrate", path]) == 2
    assert "--calibrate" in capsys.readouterr().err
