"""Directories, ports and programs of a local cluster, and what is refused before anything starts."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import ConfigError
from fairlead.contracts.settings import LlmEndpoint, LlmSettings, Settings
from fairlead.twin.clusters import cluster
from fairlead.twin.scenarios import scenario
from testbed.layout import Keys, Layout, Order, Programs, lay_out, surroundings
from testbed.ports import Ports, is_free
from testbed.processes import clean_environment, llm_environment

KEYS = Keys({"admin": "a", "agent": "b", "gateway": "c"}, "shared", {"OPENAI_API_KEY": "sk-secret"})


def order(directory: Path | None, *, local_llm: bool = False, **settings: object) -> Order:
    """Return an order for city7 with these settings."""
    return Order(
        settings=Settings(**settings),  # type: ignore[arg-type]
        scenario=scenario("city7-rotating"),
        load=0.8,
        duration_s=10.0,
        trace=None,
        directory=directory,
        port=None,
        local_llm=local_llm,
        mode=None,
        record=None,
    )


@pytest.fixture
def laid() -> Iterator[Callable[[Order], Layout]]:
    """Yield what lays out an order; ports and temporary places are given back afterwards."""
    layouts: list[Layout] = []

    def lay(one: Order) -> Layout:
        layouts.append(lay_out(one, now_s=1000.0))
        return layouts[-1]

    yield lay
    for layout in layouts:
        layout.remove()


def test_every_process_reads_one_complete_settings_file(tmp_path: Path, laid: Callable[[Order], Layout]) -> None:
    """What is written reads back as the settings; all ports differ; the cluster stands there in full."""
    layout = laid(order(tmp_path, speed=30.0))
    layout.write()
    assert Settings.model_validate(yaml.safe_load(layout.file.read_text())) == layout.settings
    assert isinstance(layout.settings.cluster, Cluster)
    assert layout.settings.clock_origin_s == 1000.0
    urls = [n.keeper_url for n in layout.cluster.nodes] + [s.url for s in layout.cluster.sites]
    assert len({*urls, layout.settings.control.url, f"mongodb on {layout.mongod_port}"}) == 7 + 3 + 2


def test_the_programs_are_one_of_each_and_one_per_node(tmp_path: Path, laid: Callable[[Order], Layout]) -> None:
    """Three gateways are ingresses too; secrets are in the environment, never in arguments."""
    layout = laid(order(tmp_path))
    programs = Programs(layout, KEYS)
    every = (*surroundings(layout), *programs.core(), programs.slot_agent(), *programs.edge())
    names = [program.name for program in every]
    assert names[:4] == ["mongod", "control", "planner", "slot-agent"]
    assert sum(name.startswith("gateway-") for name in names) == 7
    assert sum(name.startswith("node-agent-") for name in names) == 7
    ingresses = [p for p in programs.edge() if "--site" in p.argv]
    assert [p.argv[p.argv.index("--node") + 1] for p in ingresses] == ["node-1", "node-3", "node-5"]
    for program in programs.edge():
        assert not {"a", "b", "c", "shared"} & set(program.argv)


def test_the_key_of_a_language_model_is_for_those_who_ask_it(tmp_path: Path, laid: Callable[[Order], Layout]) -> None:
    """Planner and slot agent get it in their environment; nobody else does, and no file and no argument has it."""
    endpoint = LlmEndpoint(url="https://llm.example/v1", key_variable="OTHER_KEY")
    layout = laid(order(tmp_path, llm=LlmSettings(endpoints=(endpoint,))))
    layout.write()
    assert layout.key_variables == ("OTHER_KEY",)
    programs = Programs(layout, KEYS)
    every = (*surroundings(layout), *programs.core(), programs.slot_agent(), *programs.edge())
    assert {p.name for p in every if "sk-secret" in p.environ.values()} == {"planner", "slot-agent"}
    assert "sk-secret" not in layout.file.read_text()
    assert not [p.name for p in every if any("sk-secret" in word for word in p.argv)]


def test_environments_are_told_apart() -> None:
    """A child gets neither settings of ours nor anything of a language model; who asks one gets just that."""
    around = {"PATH": "/bin", "OPENAI_API_KEY": "a", "OPENAI_BASE_URL": "b", "OTHER_KEY": "c", "FAIRLEAD_SPEED": "2"}
    clean = clean_environment(around, "mark", ("OTHER_KEY",))
    assert clean == {"PATH": "/bin", "FAIRLEAD_RUN": "mark", "PYTHONUNBUFFERED": "1"}
    assert llm_environment(around, ("OTHER_KEY",)) == {"OPENAI_API_KEY": "a", "OPENAI_BASE_URL": "b", "OTHER_KEY": "c"}


def test_a_local_language_model_is_one_more_program(tmp_path: Path, laid: Callable[[Order], Layout]) -> None:
    """The settings name its address without a key, and give the planner longer; a deadline that was set stays."""
    layout = laid(order(tmp_path, local_llm=True))
    (endpoint,) = layout.settings.llm.endpoints
    assert endpoint.url == f"http://127.0.0.1:{layout.llm_port}/v1"
    assert endpoint.key_variable is None
    assert layout.settings.llm.planner_deadline_slots == 3.0
    assert [p.name for p in surroundings(layout)] == ["mongod", "llm"]
    assert str(layout.llm_port) in surroundings(layout)[1].argv
    settled = laid(order(tmp_path, local_llm=True, llm=LlmSettings(planner_deadline_slots=2.0)))
    assert settled.settings.llm.planner_deadline_slots == 2.0
    assert settled.llm_port != layout.llm_port


def test_a_local_language_model_needs_time(tmp_path: Path, laid: Callable[[Order], Layout]) -> None:
    """A slot of 10 s is enough, a shorter one is refused."""
    assert laid(order(tmp_path, local_llm=True, speed=3.0)).llm_port is not None
    with pytest.raises(ConfigError, match=r"at --speed 30 a slot lasts 1 s, allowed is 10 s"):
        laid(order(tmp_path, local_llm=True, speed=30.0))


def test_a_port_is_given_to_one_run_only() -> None:
    """What one run was given no other gets, also before anything listens there; afterwards it is free again."""
    one, other = Ports(), Ports()
    port = one.take()
    assert is_free(port)
    assert not other.claim(port)
    assert other.take(port) != port
    one.release()
    assert other.claim(port)
    other.release()


def test_a_port_in_use_is_refused_and_another_taken_by_default(tmp_path: Path, laid: Callable[[Order], Layout]) -> None:
    """Who asks for a port gets it or an error; who does not gets a free one."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = int(busy.getsockname()[1])
        with pytest.raises(ConfigError, match=f"port {port} of the control API is in use"):
            laid(replace(order(tmp_path), port=port))


def test_sed_static_is_given_the_searched_placement(tmp_path: Path, laid: Callable[[Order], Layout]) -> None:
    """Its file names every node; another policy finds none, also after a run that left one."""
    laid(order(tmp_path, policy="sed-static")).write()
    placed = yaml.safe_load((tmp_path / "static.json").read_text())
    assert sorted(one["node"] for one in placed) == [f"node-{at}" for at in range(1, 8)]
    laid(order(tmp_path)).write()
    assert not (tmp_path / "static.json").exists()


def test_a_cluster_of_ones_own_must_be_on_this_machine(tmp_path: Path, laid: Callable[[Order], Layout]) -> None:
    """Nodes elsewhere are run by single processes, not by `up`."""
    own = cluster("home3", lambda who: 1 if who == "node-1" else 20_000)
    document = own.to_document()
    document["nodes"][0]["keeper_url"] = "http://edge.example:9000"
    with pytest.raises(ConfigError, match="not on this machine"):
        laid(order(tmp_path, cluster=Cluster.model_validate(document)))
    with pytest.raises(ConfigError, match="at least one node"):
        laid(order(tmp_path, cluster=Cluster(nodes=(), models=(), sites=())))


def test_a_temporary_place_is_removed(tmp_path: Path, laid: Callable[[Order], Layout]) -> None:
    """Without a state directory there is one for the run only."""
    layout = laid(order(None))
    layout.write()
    assert layout.file.is_file()
    layout.remove()
    assert not layout.directory.exists()
    assert tmp_path.exists()
