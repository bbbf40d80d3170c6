"""The clients' log as lines of an episode."""

from pathlib import Path

from fairlead.contracts.episodes import AnswerLine, RequestLine
from fairlead.twin.demand import Demand
from testbed.client_log import ClientLog, ClientRecord
from testbed.recording import client_lines


def record(name: str, sent_at_s: float, ended_at_s: float | None) -> ClientRecord:
    """Return what a client knows of a request for an image."""
    return ClientRecord(
        id=name,
        model="image",
        site="site-1",
        due_at_s=sent_at_s,
        sent_at_s=sent_at_s,
        first_byte_at_s=None if ended_at_s is None else ended_at_s - 0.5,
        ended_at_s=ended_at_s,
        end=None if ended_at_s is None else "finished",
        reason="",
        sends=1,
    )


def test_a_log_becomes_requests_and_answers(tmp_path: Path) -> None:
    """In the log's order, counted from the demand's begin; a torn last line is left out."""
    path = tmp_path / "client.jsonl"
    log = ClientLog(path)
    asked = Demand(1.0, "site-1", "image", 24.5, 13, 1)
    log.sent(record("a", 1001.0, None), asked)
    log.sent(record("b", 1002.0, None), asked)
    log.ended(record("a", 1001.0, 1040.0))
    log.close()
    with path.open("ab") as file:
        file.write(b'{"event":"ended","id":"b"')
    assert list(client_lines(path, 1000.0)) == [
        RequestLine(at_s=1.0, id="a", site="site-1", model="image", work_s=24.5, prompt_tokens=13, output_tokens=1),
        RequestLine(at_s=2.0, id="b", site="site-1", model="image", work_s=24.5, prompt_tokens=13, output_tokens=1),
        AnswerLine(at_s=40.0, id="a", end="finished", reason="", first_byte_s=39.5, sends=1),
    ]


def test_a_clock_that_was_set_back_is_not_followed(tmp_path: Path) -> None:
    """What was written later did not happen earlier: lines stay in order."""
    log = ClientLog(tmp_path / "client.jsonl")
    asked = Demand(1.0, "site-1", "image", 24.5, 13, 1)
    for name, at_s in (("a", 999.9), ("b", 1005.0), ("c", 1004.0)):
        log.sent(record(name, at_s, None), asked)
    log.close()
    assert [line.at_s for line in client_lines(tmp_path / "client.jsonl", 1000.0)] == [0.0, 5.0, 5.0]


def test_a_run_without_clients_has_no_lines(tmp_path: Path) -> None:
    """There is no log before the first request."""
    assert list(client_lines(tmp_path / "nothing.jsonl", 1000.0)) == []
