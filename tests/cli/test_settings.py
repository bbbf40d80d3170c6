"""What fairlead.yaml and the environment may say, and how anything else is refused."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import ConfigError
from fairlead.contracts.settings import Settings
from fairlead_cli.settings import leaves, load, with_options

NODE = "{{id: {id}, memory_bytes: 5, speed: 1, keeper_url: 'http://127.0.0.1:{port}'}}"
MODEL = (
    "{{id: {id}, kind: text, memory_bytes: {bytes}, work_s: 1, start_delay_s: 2, "
    "launch: {{launcher: exec, command: [x]}}}}"
)


def cluster(nodes: tuple[str, ...], *, model_bytes: int = 5) -> str:
    """Return YAML of a cluster with these nodes and one model."""
    rows = ", ".join(NODE.format(id=one, port=9000 + at) for at, one in enumerate(nodes))
    model = MODEL.format(id="m", bytes=model_bytes)
    return f"cluster: {{nodes: [{rows}], models: [{model}], sites: []}}\n"


def settings(tmp_path: Path, text: str, **environ: str) -> Settings:
    """Return the settings that a file of `text` gives under `environ`."""
    file = tmp_path / "fairlead.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, environ)


def test_without_a_file_and_environment_all_is_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty directory gives the defaults; a fairlead.yaml in it is read without being named."""
    monkeypatch.chdir(tmp_path)
    assert load(None, {}) == Settings()
    (tmp_path / "fairlead.yaml").write_text("seed: 4\n")
    assert load(None, {}).seed == 4


def test_the_environment_stands_above_the_file(tmp_path: Path) -> None:
    """Both spellings of a nested name are known; numbers, words and nothing are read as their setting needs."""
    got = settings(
        tmp_path,
        "speed: 3\nmongodb: {uri: 'mongodb://a'}\n",
        FAIRLEAD_SPEED="30",
        FAIRLEAD_MONGODB_URI="mongodb://b",
        FAIRLEAD_MONGODB__DATABASE="123",
        FAIRLEAD_CONTROL__PORT="9000",
        FAIRLEAD_CONTROL__AUTH="false",
        FAIRLEAD_TOKEN="not a setting",
        HOME="/nowhere",
    )
    assert (got.speed, got.mongodb.uri, got.mongodb.database) == (30.0, "mongodb://b", "123")
    assert (got.control.port, got.control.auth) == (9000, False)


def test_the_url_of_the_control_api_follows_its_port(tmp_path: Path) -> None:
    """Who sets a port alone need not say it twice; who sets a URL is taken at their word."""
    assert settings(tmp_path, "control: {port: 9000}").control.url == "http://127.0.0.1:9000"
    assert settings(tmp_path, "control: {port: 9000, url: 'https://c.example:1'}").control.url == "https://c.example:1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("spede: 30", ("unknown key `spede`", "`speed`")),
        ("slot_s: 30", ("unknown key `slot_s`", "`controller.slot_s`")),
        ("control: {prot: 1}", ("unknown key `control.prot`", "`control.port`")),
        ("cluster: {nodes: [{id: a, sped: 1}]}", ("`cluster.nodes.0.sped`", "`cluster.nodes.0.speed`")),
        ("zzz: 1", ("unknown key `zzz`", "nearest known one is")),
        ("control: {port: 70000}", ("control.port is 70000", "65535")),
        ("control: 5", ("control is 5",)),
        ("speed: 0", ("speed is 0", "greater than 0")),
        ("speed: .nan", ("speed is nan",)),
        ("speed: 'fast'", ("speed is 'fast'", "number")),
        ("policy: lruu", ("policy is 'lruu'", "'lru'")),
        ("speed: 1\nspeed: 2", ("'speed' stands twice", "line 2")),
        ("a: [", ("is not YAML",)),
        ("- 1", ("holds list",)),
        (cluster(("a", "a")), ("node 'a' is defined twice",)),
        (cluster(("a",), model_bytes=50), ("model 'm' needs 50 bytes", "'a' has 5")),
        (cluster(("a",)) + "controller: {hold_timeout_s: 10}", ("hold_timeout_s is 10", "deadline")),
    ],
)
def test_what_cannot_be_set_is_refused_on_one_line(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    """The message names the file, the path of the setting, what was found and what is allowed."""
    with pytest.raises(ConfigError) as refused:
        settings(tmp_path, text)
    message = str(refused.value)
    assert "fairlead.yaml: " in message
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"FAIRLEAD_SPEEED": "1"}, ("FAIRLEAD_SPEEED is unknown", "FAIRLEAD_SPEED?")),
        ({"FAIRLEAD_SPEED": "fast"}, ("speed is 'fast'",)),
        ({"FAIRLEAD_SPEED": "["}, ("FAIRLEAD_SPEED", "cannot be read")),
        ({"FAIRLEAD_CONTROL__PORT": "1", "FAIRLEAD_CONTROL_PORT": "2"}, ("control.port is set twice",)),
    ],
)
def test_a_wrong_variable_is_refused_by_name(environ: dict[str, str], words: tuple[str, ...], tmp_path: Path) -> None:
    """An unknown FAIRLEAD_ variable is a mistake, not something to pass over."""
    with pytest.raises(ConfigError) as refused:
        settings(tmp_path, "", **environ)
    for word in words:
        assert word in str(refused.value)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    """`--config` of a file that is not there is an error, not the defaults."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "missing.yaml", {})


def test_a_cluster_need_not_be_sorted(tmp_path: Path) -> None:
    """People write nodes in any order; the message that goes around is sorted by id."""
    got = settings(tmp_path, cluster(("b", "a"))).cluster
    assert isinstance(got, Cluster)
    assert [node.id for node in got.nodes] == ["a", "b"]


def test_every_setting_has_a_variable_of_its_own() -> None:
    """No two settings share a name in either spelling."""
    names = [leaf.variable for leaf in leaves()]
    short = ["FAIRLEAD_" + "_".join(leaf.path).upper() for leaf in leaves()]
    assert len(set(names)) == len(names)
    assert len(set(short)) == len(short)


@given(speed=st.floats(0.1, 1000), seed=st.integers(0, 10**6), port=st.integers(0, 65535))
def test_what_is_written_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, speed: float, seed: int, port: int
) -> None:
    """The settings file that `up` writes for its processes means to them what it meant to it."""
    options = {("speed",): speed, ("seed",): seed, ("control", "port"): port}
    wanted = with_options(Settings(), options)
    assert (wanted.speed, wanted.seed, wanted.control.port) == (speed, seed, port)
    assert wanted.control.url.endswith(f":{port}")
    text = yaml.safe_dump(wanted.to_document(), sort_keys=False)
    assert settings(tmp_path_factory.mktemp("written"), text) == wanted
