"""`fairlead cases`, as people and programs meet it, on a control API that answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fairlead.contracts.cases import Advantage, Case
from fairlead.contracts.plans import Intent, ModelPriority, Rate, Warm
from fairlead_cli.main import invoke
from tests.adapters import store_examples as some
from tests.cli.conftest import System
from tests.policy import remembering


def told(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> tuple[str, str]:
    """Return what a command printed that must end so: result and notes, or its error."""
    assert invoke(["cases", *arguments]) == status
    out, err = capsys.readouterr()
    return out, err


def keep(system: System, *cases: Case) -> None:
    """Put cases into the store."""
    for one in cases:
        system.does(system.store.add_case(one, capacity=100))


def kept(system: System) -> dict[str, Case]:
    """Return all cases by id."""
    page = system.does(system.store.cases(cluster=None, limit=1000, cursor=None))
    return {one.id: one for one in page.items}


def test_the_list_says_what_came_of_each_epoch(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Newest first, for people and for programs; a page at a time."""
    assert "no case yet" in told(capsys, "list")[0]
    advantage = Advantage(value=0.02, low=-0.01, high=0.05, twin="1")
    keep(system, some.case("c1", 1000.0), some.case("c2", 2000.0, cluster="d2", quarantined=True, advantage=advantage))
    lines = told(capsys, "list")[0].splitlines()
    assert lines[0].split()[:3] == ["ID", "BEGAN", "AT"]
    assert lines[1].startswith("c2 (quarantined)")
    assert "+0.020 (-0.010 to +0.050)" in lines[1]
    assert "not known" in lines[2]
    assert told(capsys, "list", "--cluster", "d1")[0].splitlines()[1].startswith("c1 ")
    page = json.loads(told(capsys, "list", "--limit", "1", "--json")[0])
    assert [one["id"] for one in page["items"]] == ["c2"]
    assert f"more: --cursor {page['cursor']}" in told(capsys, "list", "--limit", "1")[0]
    assert told(capsys, "list", "--cursor", page["cursor"])[0].splitlines()[1].startswith("c1 ")


def test_a_case_tells_its_whole_story(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """What was seen, what was decided, what came of it; --json is the case itself."""
    made = remembering.case(
        7,
        0.25,
        remembering.situation(nodes=(remembering.node("n1", "m1", "m2"), remembering.node("n2", up=False))),
        intents=(Intent(node="n1", role="specialist", prefer=("m1",), avoid=("m2", "m3"), bias=3),),
        priorities=(
            ModelPriority(model="m1", priority=2, expected="same"),
            ModelPriority(model="m2", priority=4, expected="rising"),
        ),
        warm=(Warm(model="m2", node="n1", at_s=2200.0),),
    )
    source = made.provenance.model_copy(update={"source": "llm", "llm": "tiny", "imported": True})
    made = made.model_copy(update={"rates": (Rate(model="m1", per_s=0.125),), "provenance": source})
    keep(system, made)
    words = told(capsys, "show", made.id)[0]
    for part in (
        "c-007-1  epoch 7, 1970-01-01 00:35:00 to 1970-01-01 00:40:00",
        "plan 1 by llm (tiny), decision epoch-1, policy marginal-dpp, Fairlead 0, seed 0; cited 0 times, imported",
        "F 0.250: latency 9.0 s, fairness 0.950, service 0.970, 3 starts and stops; 97 of 100 requests finished",
        "against the fallback not known",
        "m1     0.1353/s  0.1250/s  +0.00",
        "specialist  m1      m2 m3",
        "n2    not heard",
        "priority of m2: 4 of 4, expected rising",
        "warm: m2 on n1 at 1970-01-01 00:36:40",
    ):
        assert part in words
    assert "priority of m1" not in words
    assert Case.from_json(told(capsys, "show", made.id, "--json")[0]) == made


def test_a_case_is_quarantined_and_released(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """With its reason; the twin's word and what it rests on are told too."""
    gain = Advantage(value=0.06, low=0.02, high=0.1, twin="compiled 0.1.0", demands=8)
    made = remembering.case(7, 0.3).model_copy(
        update={"advantage": gain, "replayed": remembering.realised(0.28), "fallback": remembering.realised(0.34)}
    )
    keep(system, made, some.case("c2"))
    out = told(capsys, "quarantine", made.id, "c2", "--why", "the counters lied")[0]
    assert out == f"case {made.id} is in quarantine\ncase c2 is in quarantine\n"
    words = told(capsys, "show", made.id)[0]
    assert (
        "against the fallback +0.060 (+0.020 to +0.100) in F on 8 demands, by the twin compiled 0.1.0: 0.280 against "
        "0.340 on the one recorded, -0.020 from what was measured\nin quarantine: the counters lied\n"
    ) in words
    assert told(capsys, "release", made.id)[0] == f"case {made.id} may be shown again\n"
    assert kept(system)[made.id] == made
    assert kept(system)["c2"].quarantine == "the counters lied"
    assert "did you mean 'c-007-1'?" in told(capsys, "quarantine", "c-007-2", "--why", "x", status=1)[1]


def test_the_nearest_id_is_named_for_one_that_is_unknown(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """For show and for delete; what comes before it is done."""
    keep(system, some.case("0f3a5c7d9e1b2468-193-194"))
    assert "did you mean '0f3a5c7d9e1b2468-193-194'?" in told(capsys, "show", "0f3a5c7d9e1b2468-193-19", status=1)[1]
    out, err = told(capsys, "delete", "0f3a5c7d9e1b2468-193-194", "0f3a5c7d9e1b2468-193-194", status=1)
    assert out == "case 0f3a5c7d9e1b2468-193-194 is deleted\n"
    assert "there is no case" in err
    assert not kept(system)


def test_what_was_exported_and_deleted_comes_back_by_an_import(
    system: System, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Equal but for the mark that it was imported; a second import changes nothing."""
    keep(system, *(remembering.case(n, 0.1 * n) for n in range(1, 6)), some.case("other", cluster="d2"))
    before = kept(system)
    file = tmp_path / "cases.jsonl"
    assert told(capsys, "export", str(file), "--cluster", "c") == ("", "5 cases exported\n")
    ours = [one for one in before if one != "other"]
    assert [Case.from_json(line).id for line in file.read_text("utf-8").splitlines()] == sorted(ours, reverse=True)
    told(capsys, "delete", *ours)
    assert set(kept(system)) == {"other"}
    assert told(capsys, "import", str(file)) == ("5 cases imported\n", "")
    after = kept(system)
    for name in ours:
        assert after[name].provenance.imported
        assert after[name] == before[name].model_copy(update={"provenance": after[name].provenance})
    told(capsys, "delete", ours[0])
    assert told(capsys, "import", str(file)) == ("1 case imported, 4 there already\n", "")
    assert kept(system) == after


def test_cases_go_through_a_pipe(system: System, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Standard output and standard input; blank lines are none."""
    keep(system, some.case("c1"), some.case("c2", 2000.0))
    out, err = told(capsys, "export", "-")
    assert err == "2 cases exported\n"
    told(capsys, "delete", "c1", "c2")
    command = [sys.executable, "-m", "fairlead_cli", "cases", "import", "-"]
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        command, input=f"\n{out}\n", cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "2 cases imported\n"
    assert set(kept(system)) == {"c1", "c2"}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 2 is no case: Invalid JSON"),
        ('{"id": "c9"}', "line 2 is no case: epoch Field required"),
        (some.case("c9").to_json().replace('"cited":0', '"cited":-1'), "line 2 is no case: cited Input should be"),
        (some.case("c9").to_json().replace('"log_rate":-0.0', '"log_rate":NaN'), "line 2 is no case"),
    ],
)
def test_a_bad_line_imports_nothing(
    system: System, capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, why: str
) -> None:
    """Its number and what is wrong with it; not even the good lines before it are sent."""
    file = tmp_path / "cases.jsonl"
    file.write_text(f"{some.case('c1').to_json()}\n{line}\n{some.case('c3').to_json()}\n", "utf-8")
    out, err = told(capsys, "import", str(file), status=2)
    assert out == ""
    assert why in err
    assert "nothing was imported" in err
    assert not kept(system)


def test_a_refusal_in_the_middle_says_how_far_it_came(
    system: System, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The control API may know better than the vocabulary: the line, its reason, and the counts."""
    file = tmp_path / "cases.jsonl"
    keep(system, some.case("c1"))
    cases = (some.case("c1"), some.case("c2"), some.case("a/b"), some.case("c3"))
    file.write_text("".join(one.to_json() + "\n" for one in cases), "utf-8")
    err = told(capsys, "import", str(file), status=2)[1]
    assert "line 3: POST cases: the id 'a/b' cannot stand in a path" in err
    assert "1 of 4 imported before it, 1 were there already" in err
    assert set(kept(system)) == {"c1", "c2"}


def test_files_that_cannot_be_read_or_written_are_told(
    system: System, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """On one line; a binary file is no text."""
    assert "cannot be read" in told(capsys, "import", str(tmp_path / "none.jsonl"), status=2)[1]
    assert "cannot be written" in told(capsys, "export", str(tmp_path), status=2)[1]
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "line 1 is no text" in told(capsys, "import", str(binary), status=2)[1]
