"""`fairlead episodes`, as people and programs meet it: files in, files out, and nothing half done."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.adapters.mongo import connect
from fairlead.contracts.settings import MongoSettings
from fairlead.studies.episodes.files import checked
from fairlead_cli.main import invoke
from tests.adapters import store_examples as some
from tests.adapters.mongo_fixture import mongo_settings, mongo_store, mongo_uri
from tests.studies.trace_files import azure_row, gentd26_row, request, write_azure, write_episode, write_gentd26

__all__ = ["mongo_settings", "mongo_store", "mongo_uri"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory of traces, in which commands run."""
    write_azure(tmp_path / "conv.csv", [azure_row(at / 4) for at in range(2400)])
    write_gentd26(tmp_path / "images.csv.gz", [gentd26_row(15, at * 8) for at in range(900)])
    (tmp_path / "mine.csv").write_text("at_s,model\n0,image\n2000,image\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> tuple[str, str]:
    """Return what a command printed that must end so: result and error."""
    assert invoke(["episodes", *arguments]) == status
    out, err = capsys.readouterr()
    return out, err


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Return the JSON that a command printed."""
    return json.loads(told(capsys, *arguments, "--json")[0])


SHORT = ("--duration", "1200", "--warm-up", "200")


def test_traces_become_an_episode_that_is_listed_and_shown(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """With the factors, for people and for programs; a plot for people."""
    mixed = ("import", "azure", "conv.csv", "--with", "gentd26:image=images.csv.gz", "--seed", "3", *SHORT)
    made = printed(capsys, *mixed)
    assert made["path"] == "azure-3.jsonl.gz"
    assert [(one["trace"], one["model"]) for one in made["sources"]] == [
        ("gentd26", "image"), ("azure", "large-text"), ("azure", "small-text"),
    ]  # fmt: skip
    assert made["load"] == pytest.approx(0.8, rel=0.3)
    assert sum(one["requests"] for one in made["demand"]) <= made["counts"]["request"]
    (item,) = printed(capsys, "list")["items"]
    assert (item["path"], item["wrong"], item["sha256"]) == ("azure-3.jsonl.gz", None, made["sha256"])
    line = told(capsys, "list", ".")[0].splitlines()[1]
    assert line.split()[1:5] == ["azure-3", "20", str(made["counts"]["request"]), "0"]
    words = told(capsys, "show", "azure-3.jsonl.gz")[0]
    assert "source: azure conv.csv for small-text: 4 rows/s over 1 stretches" in words
    assert "requests a minute, over minutes: o image" in words
    assert printed(capsys, "show", "azure-3.jsonl.gz") == made
    again = told(capsys, *mixed, status=2)[1]
    assert "is there already" in again
    assert printed(capsys, *mixed, "--force") == made


def test_a_table_of_ones_own_is_taken_as_it_is(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Every request; load and models are its own."""
    made = printed(capsys, "import", "csv", "mine.csv", "--out", "Mine (1).jsonl")
    assert (made["name"], made["counts"], made["window_s"]) == ("mine--1", {"request": 2}, [1200.0, 2001.0])
    assert "from" not in told(capsys, "list")[0].splitlines()[1]
    assert "taken as it is" in told(capsys, "import", "csv", "mine.csv", "--load", "0.5", status=2)[1]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("import", "dream", "conv.csv"), "none of azure, servegen, gentd26, mooncake, csv"),
        (("import", "azure", "nowhere.csv"), "cannot be read"),
        (("import", "azure", "mine.csv"), "mine.csv line 1 column 1"),
        (("import", "gentd26", "conv.csv"), "conv.csv line 1 column 1"),
        (("import", "mooncake", "conv.csv"), "conv.csv line 1 column 1"),
        (("import", "servegen", "conv.csv", "--model", "image"), "tar.gz"),
        (("import", "azure", "conv.csv", "--model", "dream"), "no model 'dream'"),
        (("import", "azure", "conv.csv", "--work", "hard"), "neither mean nor sizes"),
        (("import", "azure", "conv.csv", "--with", "images.csv.gz"), "not of the form"),
        (("import", "azure", "conv.csv", "--cluster", "moon"), "no cluster is named"),
        (("import", "azure", "conv.csv", "--load", "0"), "--load"),
        (("import", "azure", "conv.csv", "--warm-up", "6000"), "leaves nothing"),
        (("import", "azure", "conv.csv", "--out", "."), "is there already"),
        (("show", "conv.csv"), "this is no episode"),
        (("list", "nowhere.jsonl"), "cannot be read"),
        (("export", "--out", "x.jsonl", "--last", "5", "--since", "5"), "not both"),
        (("export", "--out", "conv.csv"), "is there already"),
        (("export", "--out", "x.jsonl"), "FAIRLEAD_MONGODB_URI"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: tuple[str, ...], word: str
) -> None:
    """What is there stays as it is; nothing is added."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    out, err = told(capsys, *arguments, status=2)
    assert out == ""
    assert word in err
    assert err.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_broken_episode_is_named_in_the_list(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """With what is wrong and where; the others are listed all the same."""
    whole = write_episode(folder / "a.jsonl", [request(float(at)) for at in range(50)])
    (folder / "b.jsonl").write_bytes(whole.read_bytes()[:-20])
    listed = told(capsys, "list")[0]
    assert "b.jsonl line 52 column" in listed
    assert [bool(one["wrong"]) for one in printed(capsys, "list")["items"]] == [False, True]
    assert "b.jsonl line 52 column" in told(capsys, "show", "b.jsonl", status=2)[1]


async def _fill(settings: MongoSettings) -> None:
    store = await connect(settings)
    outcomes = tuple(some.outcome(f"r{n}", 1010.0 + n, arrived_at_s=1005.0 + n) for n in range(20))
    await store.append_gateway_report(some.gateway_report(outcomes=outcomes, observed_at_s=1020.0))
    await store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
    await store.close()


def test_a_database_becomes_an_episode(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch, mongo_settings: MongoSettings
) -> None:
    """All that it has, or the last seconds of it; an empty one has nothing."""
    assert mongo_settings.uri is not None
    monkeypatch.setenv("FAIRLEAD_MONGODB_URI", mongo_settings.uri)
    monkeypatch.setenv("FAIRLEAD_MONGODB__DATABASE", mongo_settings.database)
    assert "no request that has ended" in told(capsys, "export", "--out", "a.jsonl", status=2)[1]
    asyncio.run(_fill(mongo_settings))
    made = printed(capsys, "export", "--out", "a.jsonl.gz")
    assert made["begins_at_s"] == 1005.0
    assert made["counts"]["request"] == 20
    assert made["counts"]["decision"] == 1
    assert checked(folder / "a.jsonl.gz").header.recorded is not None
    last = printed(capsys, "export", "--out", "b.jsonl", "--last", "5")
    assert last["counts"]["request"] == 5
    assert "nothing lies between" in told(capsys, "export", "--out", "c.jsonl", "--since", "5000", status=2)[1]
    assert "0.3 min: " in told(capsys, "export", "--out", "d.jsonl")[0]
