"""The command as people meet it: help that teaches, errors on one line, exit 0, 1 or 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.settings import Settings
from fairlead_cli import pointer
from fairlead_cli.main import invoke
from fairlead_cli.services import node_called
from tests.adapters import store_examples as some

PROCESSES = ("control", "planner", "slot-agent", "kube-sync", "node-agent", "gateway")
COMMANDS = (
    "up",
    *PROCESSES,
    "decisions",
    "plan",
    "mode",
    "agents",
    "proposals",
    "cases",
    "episodes",
    "doctor",
    "token",
    "scenarios",
    "schema",
)


def fairlead(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a directory, with nothing of this process's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAIRLEAD_", "OPENAI_"))}
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "fairlead_cli", *arguments],
        cwd=cwd,
        env=kept | {"XDG_STATE_HOME": str(cwd / "xdg"), "PYTHONPATH": root} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_every_command_and_loads_no_service(tmp_path: Path) -> None:
    """`--help` answers from names alone: no service, no database, no message is imported for it."""
    script = (
        "import sys\nfrom fairlead_cli.main import invoke\ninvoke(['--help'])\n"
        "heavy = {'pydantic', 'pymongo', 'fastapi', 'aiohttp', 'numpy', 'rich'} & set(sys.modules)\n"
        "print('LOADED', sorted(heavy))\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    for command in COMMANDS:
        assert command in done.stdout
    assert "LOADED []" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Help that teaches: each command, or each below it, has a line to paste."""
    groups = {
        "decisions": ["list", "show", "replay"],
        "plan": ["show", "validate"],
        "token": ["create", "list", "delete"],
        "agents": ["status"],
        "proposals": ["list", "show", "approve", "decline"],
        "cases": ["list", "show", "export", "import", "delete"],
        "episodes": ["import", "export", "list", "show"],
    }
    for below in groups.get(command, [""]):
        assert invoke([word for word in (command, below, "--help") if word]) == 0
        assert "Examples:" in capsys.readouterr().out


def test_a_node_may_be_named_as_kubernetes_names_it() -> None:
    """By the cluster of the settings; without one there, or where it says nothing else, both names are the same."""
    nodes = (some.node("attic"), some.node("barn", kubernetes_node="barn.example.com"))
    settings = Settings(cluster=Cluster(nodes=nodes, models=(), sites=()))
    assert [node_called(settings, name) for name in ("attic", "barn.example.com")] == ["attic", "barn"]
    assert node_called(Settings(), "node-1") == "node-1"


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (("upp",), 2, "Did you mean 'up'"),
        (("up", "--nope"), 2, "--nope"),
        (("up", "--speed", "fast"), 2, "--speed"),
        (("up", "--speed", "0"), 2, "speed is 0"),
        (("up", "--load", "0"), 2, "--load 0"),
        (("up", "--duration", "-1"), 2, "--duration"),
        (("up", "--seed", "-1"), 2, "seed is -1"),
        (("up", "--policy", "lruu"), 2, "'lru'"),
        (("up", "--scenario", "city8"), 2, "city7-rotating"),
        (("up", "--scenario", "home3", "--speed", "30"), 2, "leave --speed at 1"),
        (("up", "--trace", "azure", "missing.csv"), 2, "no such file"),
        (("up", "--trace", "other", "missing.csv"), 2, "azure"),
        (("up", "--record", "nowhere/run.jsonl"), 2, "in no directory"),
        (("up", "--record", "."), 2, "exists already"),
        (("up", "--policy", "sed-static", "--scenario", "catalogue-roomy"), 2, "searched placement"),
        (("gateway",), 2, "--node"),
        (("node-agent",), 2, "--node"),
        (("node-agent", "--node", "n"), 2, "FAIRLEAD_TOKEN"),
        (("planner",), 2, "FAIRLEAD_MONGODB_URI"),
        (("kube-sync",), 2, "FAIRLEAD_MONGODB_URI"),
        (("routes",), 1, "fairlead up"),
        (("mode", "planner", "maybe"), 2, "shadow"),
        (("mode", "planner", "shadwo"), 2, "did you mean 'shadow'?"),
        (("mode", "slotagent"), 2, "did you mean 'slot-agent'?"),
        (("proposals", "approve"), 2, "Missing argument"),
        (("proposals", "aprove", "p1"), 2, "Did you mean 'approve'"),
        (("agents", "status"), 1, "fairlead up"),
        (("token", "create", "--role", "king"), 2, "viewer"),
        (("decisions", "replay"), 2, "--file"),
        (("decisions", "replay", "--file", "missing.json"), 2, "missing.json"),
        (("decisions", "list"), 1, "fairlead up"),
        (("plan", "show"), 1, "FAIRLEAD_CONTROL_URL"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...], status: int, word: str,
) -> None:  # fmt: skip
    """Nothing on standard output, one line on standard error, no traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    for name in [name for name in os.environ if name.startswith(("FAIRLEAD_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    assert invoke(list(arguments)) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert word in said.err
    assert said.err.count("\n") == 1


def test_a_real_invocation_ends_with_its_status(tmp_path: Path) -> None:
    """The process itself: an unknown key in ./fairlead.yaml is refused before anything starts."""
    (tmp_path / "fairlead.yaml").write_text("spede: 1\n")
    done = fairlead("up", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "fairlead: fairlead.yaml: unknown key `spede`: did you mean `speed`?\n"
    assert not (tmp_path / "xdg").exists()


def test_an_api_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """Exit 1 with the URL that was tried."""
    done = fairlead("mode", cwd=tmp_path, FAIRLEAD_CONTROL_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "http://127.0.0.1:9 does not answer" in done.stderr


def test_scenarios_and_schema_are_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """What can be played and what can be set, for programs."""
    assert invoke(["scenarios", "--json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)["items"]]
    assert "city7-rotating" in names
    assert invoke(["schema"]) == 0
    assert "clock_origin_s" in json.loads(capsys.readouterr().out)["properties"]


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the name and a version."""
    assert invoke(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fairlead ")


def test_pointers_of_the_dead_are_removed(tmp_path: Path) -> None:
    """A run that was killed leaves a pointer; the next look removes it and does not follow it."""
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(30)
    alive = pointer.Pointer(os.getpid(), "http://127.0.0.1:1", "secret", "/s", ("http://127.0.0.1:2",))
    dead = pointer.Pointer(ended.pid, "http://127.0.0.1:3", "secret", "/s", ())
    file = pointer.write(alive, environ)
    gone = pointer.write(dead, environ)
    assert file.stat().st_mode & 0o777 == 0o600
    assert pointer.read(environ) == (alive,)
    assert not gone.exists()


def test_two_running_systems_must_be_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With two, a command does not guess."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("FAIRLEAD_CONTROL_URL", raising=False)
    for pid in (os.getpid(), os.getppid()):
        pointer.write(pointer.Pointer(pid, f"http://127.0.0.1:{pid}", "", "/s", ()), os.environ)
    assert invoke(["decisions", "list"]) == 2
    assert "2 systems are running" in capsys.readouterr().err


def test_doctor_finds_a_wrong_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finding that fails makes the command fail, and says what to do."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fairlead.yaml").write_text("speed: -1\n")
    assert invoke(["doctor", "--json"]) == 1
    findings = {one["what"]: one for one in json.loads(capsys.readouterr().out)["items"]}
    assert findings["settings"]["state"] == "fail"
    assert "speed is -1" in findings["settings"]["words"]
