"""Counts, latency and fairness of a run: each request has one fate, and what did not finish counts with its age."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.contracts.readings import Outcome, Status
from fairlead.policy.measuring import Window, latencies
from fairlead.twin.clusters import cluster, default_ports
from testbed.client_log import ClientLog, ClientRecord, End, read_client_log
from testbed.client_stats import Counts, count, join, read_outcomes, summarise

CITY7 = cluster("city7", default_ports("city7"))
WINDOW = Window(1000.0, 1600.0)


def record(
    name: str, end: End | None, sent_at_s: float = 1000.0, ended_at_s: float | None = None, model: str = "small-text"
) -> ClientRecord:
    """Return what a client knows of one request."""
    return ClientRecord(name, model, "site-1", sent_at_s, sent_at_s, None, ended_at_s, end, "", 1)


def outcome(name: str, status: Status, ended_at_s: float = 1005.0, site: str = "site-1") -> Outcome:
    """Return what a gateway knows of one request."""
    return Outcome(
        request=name,
        attempts=1,
        model="small-text",
        site=site,
        node="node-1",
        status=status,
        reason="",
        arrived_at_s=1000.0,
        ended_at_s=ended_at_s,
        wait_s=0.0,
        service_s=1.0,
        response_bytes=10,
        table_generation=1,
        propensity=None,
    )


@pytest.mark.parametrize(
    ("end", "status", "fate"),
    [
        ("finished", "finished", "finished"),
        ("finished", None, "finished"),
        ("failed", None, "failed"),
        ("failed", "finished", "failed"),
        ("open", "cancelled", "open"),
        ("open", "finished", "open"),
        ("open", "failed", "failed"),
        ("open", None, "lost"),
        (None, None, "lost"),
        (None, "cancelled", "open"),
        (None, "finished", "finished"),
        (None, "refused", "failed"),
    ],
)
def test_a_request_has_the_fate_that_both_sides_together_tell(
    end: End | None, status: Status | None, fate: str
) -> None:
    """The client's word counts where it saw an end; lost is what no gateway knows either."""
    outcomes = {} if status is None else {"a": outcome("a", status)}
    (one,) = join([record("a", end, ended_at_s=1004.0)], outcomes)
    assert one.fate == fate


def test_a_failure_has_the_gateways_reason_where_it_gave_one() -> None:
    """The client sees a status; the gateway knows why."""
    seen = replace(record("a", "failed", ended_at_s=1004.0), reason="status-503")
    why = outcome("a", "refused").model_copy(update={"reason": "hold-timeout"})
    assert [one.reason for one in join([seen], {"a": why})] == ["hold-timeout"]
    assert [one.reason for one in join([seen], {"a": outcome("a", "failed")})] == ["status-503"]
    assert [one.reason for one in join([seen], {})] == ["status-503"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["finished", "failed", "open", None]),
            st.sampled_from(["finished", "failed", "cancelled", "refused", None]),
        )
    )
)
def test_invariant_01_the_four_fates_add_up_to_what_arrived(cases: list[tuple[End | None, Status | None]]) -> None:
    """Each request is counted once, whatever each side says."""
    records = [record(str(at), end, ended_at_s=1004.0) for at, (end, _) in enumerate(cases)]
    outcomes = {str(at): outcome(str(at), status) for at, (_, status) in enumerate(cases) if status is not None}
    counts = count(join(records, outcomes))
    assert counts.arrived == len(cases)
    assert counts.finished + counts.failed + counts.open + counts.lost == counts.arrived


def test_what_did_not_finish_counts_with_its_age_at_the_windows_end() -> None:
    """Failed, open, and finished only after the end: else a policy that refuses looks fast."""
    records = [
        record("a", "finished", 1000.0, 1010.0),
        record("b", "failed", 1100.0, 1101.0),
        record("c", "finished", 1590.0, 1605.0),
    ]
    stats = latencies(join(records, {}), WINDOW)
    assert stats.mean == pytest.approx((10 + 500 + 10) / 3)
    assert stats.p50 == 10


def test_without_requests_there_is_no_latency() -> None:
    """Absent is None, never 0."""
    assert latencies((), WINDOW).mean is None


def test_timely_service_is_judged_only_where_the_deadline_fell_inside_the_window() -> None:
    """Arrivals of the last minute are not judged; a late answer is untimely."""
    records = [
        record("a", "finished", 1000.0, 1059.0),
        record("b", "finished", 1000.0, 1061.0),
        record("c", "failed", 1000.0, 1001.0),
        record("d", "finished", 1545.0, 1550.0),
    ]
    summary = summarise(records, {}, CITY7, WINDOW)
    small = next(stats for stats in summary.models if stats.model == "small-text")
    assert (small.arrived, small.judged, small.timely, small.finished) == (4, 3, 1, 3)
    assert small.unloaded_s == pytest.approx(2.0 * 7 / 6.4)
    assert summary.requests == Counts(arrived=4, finished=3, failed=1, open=0, lost=0)


def test_only_what_was_due_inside_the_window_is_measured() -> None:
    """Warm-up is left out; what was due before the end and sent a moment later is not."""
    late = replace(record("c", "finished", 1600.2, 1605.0), due_at_s=1599.9)
    records = [record("a", "finished", 900.0, 905.0), record("b", "finished", 1000.0, 1005.0), late]
    summary = summarise(records, {}, CITY7, WINDOW)
    assert summary.requests.arrived == 2
    assert summary.latency_s.p50 == 2.5


def test_fairness_is_one_where_all_models_are_served_alike_and_less_where_one_starves() -> None:
    """x1 and x2 of CONTROL §1 from the client's records."""
    even = [record(m.id, "finished", 1000.0, 1000.0 + m.work_s, m.id) for m in CITY7.models]
    fair = summarise(even, {}, CITY7, WINDOW).fairness
    assert (fair.x1, fair.x2, fair.x3) == pytest.approx((1.0, 1.0, 1.0))
    starved = [*even[1:], record("x", "failed", 1000.0, 1001.0, CITY7.models[0].id)]
    assert summarise(starved, {}, CITY7, WINDOW).fairness.x1 < 1.0


def test_outcomes_of_all_gateways_are_read_past_torn_lines(tmp_path: Path) -> None:
    """A finished outcome counts before one of a site that was killed; half a line and garbage are passed over."""
    (tmp_path / "site-1.jsonl").write_text(
        outcome("a", "failed").to_json() + "\n" + outcome("b", "finished").to_json()[:40]
    )
    (tmp_path / "site-3.jsonl").write_text(
        "garbage\n"
        + outcome("a", "finished", site="site-3").to_json()
        + "\n"
        + outcome("c", "cancelled").to_json()
        + "\n"
    )
    (tmp_path / "site-5.jsonl").write_text(outcome("a", "cancelled").to_json() + "\n")
    found = read_outcomes(tmp_path)
    assert {name: one.status for name, one in found.items()} == {"a": "finished", "c": "cancelled"}
    assert read_outcomes(tmp_path / "nowhere") == {}


def test_a_torn_log_still_tells_of_every_request_that_was_sent(tmp_path: Path) -> None:
    """The last line may be half; all before it stand."""
    path = tmp_path / "client.jsonl"
    log = ClientLog(path)
    for name in ("a", "b"):
        log.sent(record(name, None))
    log.ended(record("a", "finished", 1000.0, 1005.0))
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event":"ended","id":"b","at')
    first, second = read_client_log(path)
    assert (first.id, first.end, first.ended_at_s) == ("a", "finished", 1005.0)
    assert (second.id, second.end, second.ended_at_s) == ("b", None, None)
    assert read_client_log(tmp_path / "nowhere.jsonl") == ()
