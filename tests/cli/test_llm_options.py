"""`--llm`, `--llm-model`, `--mode` and OPENAI_BASE_URL: what they come to, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from fairlead.contracts.errors import ConfigError
from fairlead.contracts.settings import LlmEndpoint, LlmSettings, Settings
from fairlead_cli.llm_options import checked_mode, with_llm
from fairlead_cli.main import invoke
from tests.testbed.real_text import missing

CONFIGURED = Settings(llm=LlmSettings(endpoints=(LlmEndpoint(url="http://set/v1", planner_model="p"),)))


def urls(settings: Settings) -> list[str]:
    """Return the addresses that are asked, in order."""
    return [one.url for one in settings.llm.endpoints]


def test_without_options_the_settings_stand() -> None:
    """No endpoint, none asked; those of the settings stay; nothing is started."""
    chosen = with_llm(Settings(), None, None, {})
    assert (chosen.settings, chosen.local) == (Settings(), False)
    assert with_llm(CONFIGURED, None, None, {}).settings == CONFIGURED


def test_the_environment_counts_where_nothing_else_is_configured() -> None:
    """OPENAI_BASE_URL is an endpoint then; a key alone configures nothing."""
    around = {"OPENAI_BASE_URL": "http://env:1234/v1/", "OPENAI_API_KEY": "sk"}
    assert urls(with_llm(Settings(), None, None, around).settings) == ["http://env:1234/v1"]
    assert urls(with_llm(CONFIGURED, None, None, around).settings) == ["http://set/v1"]
    assert urls(with_llm(Settings(), ["http://given/v1"], None, around).settings) == ["http://given/v1"]
    assert urls(with_llm(Settings(), None, None, {"OPENAI_API_KEY": "sk"}).settings) == []
    assert with_llm(Settings(llm=LlmSettings(replay="/r")), None, None, around).settings.llm.endpoints == ()


def test_addresses_stand_in_their_order_with_a_path() -> None:
    """Where there is no path it is /v1, as all such servers have it; the option replaces the settings' endpoints."""
    chosen = with_llm(CONFIGURED, ["http://a", "https://b.example/api/v1"], None, {})
    assert urls(chosen.settings) == ["http://a/v1", "https://b.example/api/v1"]
    assert all(one.key_variable == "OPENAI_API_KEY" for one in chosen.settings.llm.endpoints)


def test_a_model_may_be_named_for_both_agents() -> None:
    """For endpoints of whatever origin; what else they have stays."""
    (one,) = with_llm(CONFIGURED, None, "m-1", {}).settings.llm.endpoints
    assert (one.url, one.planner_model, one.slot_agent_model) == ("http://set/v1", "m-1", "m-1")


def test_local_is_started_by_who_runs_it(tmp_path: Path) -> None:
    """Its address is not known yet, so it is no endpoint yet; it may be recorded."""
    file = tmp_path / "asks.jsonl"
    chosen = with_llm(CONFIGURED, ["local", f"record:{file}"], None, {"OPENAI_BASE_URL": "http://env/v1"})
    assert chosen.local
    assert (urls(chosen.settings), chosen.settings.llm.record) == ([], str(file))


def test_files_are_known_by_their_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes with another working directory find them."""
    monkeypatch.chdir(tmp_path)
    Path("asks.jsonl").write_text("")
    chosen = with_llm(CONFIGURED, ["replay:asks.jsonl"], None, {})
    assert (chosen.settings.llm.replay, urls(chosen.settings)) == (str(tmp_path / "asks.jsonl"), [])
    recorded = with_llm(CONFIGURED, ["record:asks.jsonl"], None, {}).settings
    assert (recorded.llm.record, urls(recorded)) == (str(tmp_path / "asks.jsonl"), ["http://set/v1"])


@pytest.mark.parametrize(
    ("given", "model", "words"),
    [
        (["locl"], None, "'locl' is none of: local"),
        (["ftp://a/v1"], None, "is none of: local"),
        (["replay:"], None, "is none of: local"),
        (["local", "http://a/v1"], None, "do not go together"),
        (["local", "replay:asks"], None, "do not go together"),
        (["replay:asks", "record:b"], None, "do not go together"),
        (["http://a/v1", "record:a", "record:b"], None, "do not go together"),
        (["replay:/nowhere/asks"], None, "no such file"),
        (["local", "record:/nowhere/asks"], None, "no directory"),
        (["record:asks"], None, "none is named"),
        (["http://"], None, "is no address"),
        (["http://a:99999/v1"], None, "is no address"),
        (["http://a/v1?key=hidden"], None, "no credentials"),
        (["https://me:hidden@a/v1"], None, "no credentials"),
        (None, "m", "of no server"),
        (["http://a/v1"], "m" * 300, "planner_model"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    given: list[str] | None, model: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In words that say what is allowed, without a credential that was given."""
    monkeypatch.chdir(tmp_path)
    Path("asks").write_text("")
    with pytest.raises(ConfigError) as refused:
        with_llm(Settings(), given, model, {})
    assert words in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_a_base_address_with_credentials_is_refused_without_showing_them() -> None:
    """Whatever the environment says."""
    with pytest.raises(
        ConfigError, match="OPENAI_BASE_URL http://…@h/v1: an address carries no credentials"
    ) as refused:
        with_llm(Settings(), None, None, {"OPENAI_BASE_URL": "http://me:hidden@h/v1"})
    assert "hidden" not in str(refused.value)


def test_a_baseline_asks_no_model() -> None:
    """`--llm` with it is a contradiction; without, it runs as it always did."""
    with pytest.raises(ConfigError, match="marginal-dpp only, lru is a baseline"):
        with_llm(Settings(policy="lru"), ["local"], None, {})
    assert with_llm(Settings(policy="lru"), None, None, {}).settings.policy == "lru"


def test_a_mode_is_one_of_four() -> None:
    """The nearest is named."""
    assert [checked_mode(one) for one in ("auto", "assist", "shadow", "off", None)] == [
        "auto",
        "assist",
        "shadow",
        "off",
        None,
    ]
    with pytest.raises(ConfigError, match=r"'shadw' is none of .*did you mean 'shadow'"):
        checked_mode("shadw")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("up", "--llm", "local", "--speed", "30"), "allowed is 10 s or more"),
        (("up", "--llm", "locl"), "none of: local"),
        (("up", "--mode", "maybe"), "none of auto"),
        (("up", "--policy", "lru", "--llm", "local"), "baseline"),
        (("planner", "--llm", "local"), "FAIRLEAD_MONGODB_URI"),
        (("llm", "serve", "nowhere.gguf"), "no such file"),
        (("llm", "serve", "--threads", "0"), "--threads"),
        (("llm", "serv"), "Did you mean 'serve'"),
    ],
)
def test_commands_refuse_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...], word: str,
) -> None:  # fmt: skip
    """Exit 2 before anything is started."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("FAIRLEAD_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    assert invoke(list(arguments)) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert word in said.err


@pytest.mark.parametrize("arguments", [("llm", "serve"), ("up",), ("planner",), ("slot-agent",)])
def test_help_says_where_a_model_comes_from(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """With a line to paste."""
    assert invoke([*arguments, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Examples:" in said
    assert ("OPENAI_BASE_URL" in said and "configures nothing" in said) or arguments[0] == "llm"


@pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")
def test_a_model_is_served_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """`fairlead llm serve`: the address as JSON, answers in OpenAI's shape with a schema held, SIGTERM ends it."""
    command = [sys.executable, "-m", "fairlead_cli", "llm", "serve", "--port", "0", "--threads", "1", "--json"]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        facts = json.loads(server.stdout.readline())
        assert facts["model"] == "smollm2-135m"
        schema = {
            "type": "object",
            "properties": {"n": {"enum": [1, 2]}},
            "required": ["n"],
            "additionalProperties": False,
        }
        form = {"type": "json_schema", "json_schema": {"name": "r", "strict": True, "schema": schema}}
        call = {"messages": [{"role": "user", "content": "One or two?"}], "max_tokens": 60, "response_format": form}
        request = urllib.request.Request(
            f"{facts['url']}/chat/completions", json.dumps(call).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            assert json.loads(json.load(answer)["choices"][0]["message"]["content"])["n"] in (1, 2)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        assert "answers at" in server.stderr.read()
