"""One suite for every runtime: the fake, commands, pods forked from a warm parent, and pods of a Kubernetes cluster."""

import asyncio
import contextlib
import functools
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fairlead.adapters import process_table
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.memory_runtime import Machine, MemoryRuntime
from fairlead.contracts.cluster import ModelSpec
from fairlead.contracts.containers import Container
from fairlead.contracts.errors import PodFault
from fairlead.contracts.ports import PodOrder, PodStatus, Runtime
from node_agent.pod_record import PodRecords
from node_agent.process_runtime import ProcessRuntime
from tests.kubernetes.lab import played, runtime_of
from tests.node_agent.pods import contained, kill, missing_program, model, node, warm_parent
from tests.waiting import until


@dataclass
class Bench:
    """A runtime under test, what it has said, and how to make its next one."""

    make: Callable[[], Runtime]
    model: Callable[..., ModelSpec]
    """Makes a model that this runtime can start."""
    crash: Callable[[Runtime, str], None]
    runtime: Runtime = field(init=False)
    said: list[PodStatus] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    watching: "asyncio.Task[None] | None" = None

    def begin(self) -> None:
        """Make a runtime and listen to it."""
        self.runtime = self.make()
        self.said.clear()

    def listen(self) -> None:
        """Note what it says."""
        self.watching = asyncio.create_task(self._note())

    async def _note(self) -> None:
        async for status in self.runtime.watch():
            self.said.append(status)

    async def end(self) -> None:
        """Let go of the pods."""
        if self.watching is not None:
            self.watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.watching
        await self.runtime.close()

    async def start(self, spec: ModelSpec) -> str:
        """Order a start and return the instance."""
        instance = f"{spec.id}-{next(self.numbers)}"
        await self.runtime.start(PodOrder("n1", spec, instance))
        return instance

    def states(self, name: str) -> list[str]:
        """Return the states that a model went through, each once in a row."""
        return [key for key, _ in itertools.groupby(s.state for s in self.said if s.model == name)]

    async def reached(self, name: str, state: str) -> PodStatus:
        """Wait until the model's last status has a state."""
        await until(lambda: self.states(name)[-1:] == [state], f"{name} is {state}")
        return [s for s in self.said if s.model == name][-1]


@contextlib.asynccontextmanager
async def memory(_: Path, __: str) -> AsyncIterator[Bench]:
    """Give the fake."""
    machine, clock = Machine.empty(), ScaledClock()

    def crash(runtime: Runtime, name: str) -> None:
        assert isinstance(runtime, MemoryRuntime)
        runtime.crash(name)

    yield Bench(lambda: MemoryRuntime(machine, clock), model, crash)


def crash_process(directory: Path) -> Callable[[Runtime, str], None]:
    """Return what kills a pod's process."""

    def crash(_: Runtime, name: str) -> None:
        (record,) = [r for r in PodRecords(directory).all() if r.model == name]
        assert record.pid is not None
        kill(record.pid)

    return crash


@contextlib.asynccontextmanager
async def commands(directory: Path, _: str) -> AsyncIterator[Bench]:
    """Give the process runtime with commands."""
    records, clock = directory / "pods", ScaledClock()
    yield Bench(lambda: ProcessRuntime(node(), records, clock, None), model, crash_process(records))


@contextlib.asynccontextmanager
async def forks(directory: Path, socket: str) -> AsyncIterator[Bench]:
    """Give the process runtime with a warm parent."""
    records, clock = directory / "pods", ScaledClock()
    forked = functools.partial(model, launcher="warm-parent")
    yield Bench(lambda: ProcessRuntime(node(), records, clock, socket), forked, crash_process(records))


@contextlib.asynccontextmanager
async def kubernetes(_: Path, kubeconfig: str) -> AsyncIterator[Bench]:
    """Give the Kubernetes runtime."""
    async with played(kubeconfig) as playground:
        yield Bench(lambda: runtime_of(playground), contained, lambda _, name: playground.kubelet.kill(name))


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run one warm parent for all tests here and give its socket."""
    with warm_parent(tmp_path_factory.mktemp("warm")) as socket:
        yield socket


Made = contextlib.AbstractAsyncContextManager[Bench]


@pytest.fixture(params=[memory, commands, forks, kubernetes], ids=["memory", "commands", "forks", "kubernetes"])
def make(request: pytest.FixtureRequest) -> Callable[[Path], Made]:
    """Give what makes each runtime in turn; what it needs is there already, for to get it no loop may run."""
    needs = {"forks": "parent", "kubernetes": "kubeconfig"}.get(request.param.__name__)
    needed = request.getfixturevalue(needs) if needs else ""
    return lambda directory: request.param(directory, needed)


@pytest.fixture
async def bench(make: Callable[[Path], Made], tmp_path: Path) -> AsyncIterator[Bench]:
    """Give each runtime in turn; at the end no process of it is left."""
    async with make(tmp_path) as one:
        one.begin()
        assert await one.runtime.adopt() == ()
        one.listen()
        yield one
        await one.end()
        records = PodRecords(tmp_path / "pods").all()
        for record in records:
            assert record.pid is not None
            kill(record.pid)


async def test_a_pod_starts_is_ready_and_stops(bench: Bench) -> None:
    """In order, with its stages, its claim and a place where it answers."""
    instance = await bench.start(bench.model("a", start_s=0.3))
    ready = await bench.reached("a", "ready")
    assert (ready.instance, ready.memory_bytes, ready.reason) == (instance, 1_000_000_000, "")
    assert ready.url is not None
    assert [s.stage for s in bench.said][:2] == ["spawn", "load"]
    await bench.runtime.stop("a", grace_s=5.0)
    gone = await bench.reached("a", "gone")
    assert (gone.memory_bytes, gone.reason) == (0, "")
    assert bench.states("a") == ["starting", "ready", "stopping", "gone"]


async def test_a_pod_that_ends_by_itself_is_gone_for_a_reason(bench: Bench) -> None:
    """And its model can be started again."""
    await bench.start(bench.model("a"))
    await bench.reached("a", "ready")
    bench.crash(bench.runtime, "a")
    gone = await bench.reached("a", "gone")
    assert "ended by itself" in gone.reason
    second = await bench.start(bench.model("a"))
    assert (await bench.reached("a", "ready")).instance == second


async def test_a_model_has_one_pod(bench: Bench) -> None:
    """A second order for it is refused and changes nothing."""
    instance = await bench.start(bench.model("a"))
    with pytest.raises(PodFault):
        await bench.start(bench.model("a"))
    assert (await bench.reached("a", "ready")).instance == instance


async def test_a_stop_of_nothing_is_nothing(bench: Bench) -> None:
    """It may have ended just before."""
    await bench.runtime.stop("absent", grace_s=1.0)
    assert bench.said == []


async def test_a_starting_pod_can_be_stopped(bench: Bench) -> None:
    """It never becomes ready."""
    await bench.start(bench.model("a", start_s=30.0))
    await bench.reached("a", "starting")
    await bench.runtime.stop("a", grace_s=5.0)
    await bench.reached("a", "gone")
    assert "ready" not in bench.states("a")


async def test_pods_outlive_their_runtime_and_are_adopted(bench: Bench) -> None:
    """A successor finds ready and starting pods, sees them through, and can stop them."""
    first = await bench.start(bench.model("a", start_s=0.2))
    second = await bench.start(bench.model("b", start_s=1.5))
    await bench.reached("a", "ready")
    await bench.end()
    bench.begin()
    adopted = {s.model: s for s in await bench.runtime.adopt()}
    bench.listen()
    assert (adopted["a"].instance, adopted["a"].state) == (first, "ready")
    assert (adopted["b"].instance, adopted["b"].state) == (second, "starting")
    await bench.reached("b", "ready")
    for name in ("a", "b"):
        await bench.runtime.stop(name, grace_s=5.0)
        assert (await bench.reached(name, "gone")).reason == ""


async def test_an_adopted_pod_is_watched(bench: Bench) -> None:
    """Its end is noticed though it is nobody's child here."""
    await bench.start(bench.model("a"))
    await bench.reached("a", "ready")
    await bench.end()
    bench.begin()
    await bench.runtime.adopt()
    bench.listen()
    await bench.reached("a", "ready")
    bench.crash(bench.runtime, "a")
    assert "ended by itself" in (await bench.reached("a", "gone")).reason


async def test_who_listens_late_hears_the_present_first(bench: Bench) -> None:
    """One status for each pod, then changes."""
    await bench.start(bench.model("a"))
    await bench.reached("a", "ready")
    statuses = bench.runtime.watch()
    assert (await anext(statuses)).state == "ready"
    await statuses.aclose()  # type: ignore[attr-defined]


# --- what only real processes show


async def test_a_program_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    """Named, and without a trace: whoever listens hears of no pod that would have to end."""
    runtime = ProcessRuntime(node(), tmp_path, ScaledClock(), None)
    bench = Bench(lambda: runtime, model, crash_process(tmp_path))
    bench.begin()
    bench.listen()
    for other in ("b", "c"):  # it listens by the second time
        with pytest.raises(PodFault, match="/nowhere/to-be-found"):
            await bench.start(missing_program("a"))
        assert PodRecords(tmp_path).all() == ()
        await bench.start(model(other, manner="crash"))
        await bench.reached(other, "gone")
    assert bench.states("a") == []
    await bench.end()


async def test_a_disk_that_takes_nothing_is_a_fault(tmp_path: Path) -> None:
    """Nobody would know of the pod afterwards."""
    directory = tmp_path / "pods"
    runtime = ProcessRuntime(node(), directory, ScaledClock(), None)
    directory.rmdir()
    with pytest.raises(PodFault, match="cannot be written down"):
        await runtime.start(PodOrder("n1", model("a"), "a-1"))
    directory.mkdir()
    await runtime.start(PodOrder("n1", model("a"), "a-2"))
    crash_process(directory)(runtime, "a")
    await runtime.close()


async def test_a_model_without_a_launch_is_a_fault(tmp_path: Path) -> None:
    """A container alone is nothing for a machine without containers."""
    runtime = ProcessRuntime(node(), tmp_path, ScaledClock(), None)
    spec = model("a").model_copy(update={"launch": None, "container": Container(image="a:1")})
    with pytest.raises(PodFault, match="has a container and no launch"):
        await runtime.start(PodOrder("n1", spec, "a-1"))
    assert PodRecords(tmp_path).all() == ()
    await runtime.close()


async def test_without_a_warm_parent_a_fork_is_a_fault(tmp_path: Path) -> None:
    """Whether none is set or none answers."""
    for path in (None, str(tmp_path / "absent")):
        runtime = ProcessRuntime(node(), tmp_path, ScaledClock(), path)
        with pytest.raises(PodFault, match="warm parent"):
            await runtime.start(PodOrder("n1", model("a", launcher="warm-parent"), "a-1"))
        await runtime.close()


async def test_the_warm_parent_refuses_more_memory_than_the_node_has(tmp_path: Path, parent: str) -> None:
    """Counting what starts and stops."""
    runtime = ProcessRuntime(node(gb=4), tmp_path, ScaledClock(), parent)
    await runtime.start(PodOrder("n1", model("a", launcher="warm-parent", gb=3), "a-1"))
    with pytest.raises(PodFault, match="claims 2000000000 bytes"):
        await runtime.start(PodOrder("n1", model("b", launcher="warm-parent", gb=2), "b-1"))
    crash_process(tmp_path)(runtime, "a")
    await runtime.close()


async def test_a_pod_that_ignores_the_request_to_end_is_ended(tmp_path: Path) -> None:
    """After its grace, with all of its group."""
    runtime = ProcessRuntime(node(), tmp_path, ScaledClock(), None)
    bench = Bench(lambda: runtime, model, crash_process(tmp_path))
    bench.begin()
    bench.listen()
    await bench.start(model("a", manner="stubborn"))
    await bench.reached("a", "ready")
    (record,) = PodRecords(tmp_path).all()
    await runtime.stop("a", grace_s=0.2)
    await bench.reached("a", "gone")
    assert record.pid is not None
    assert process_table.start_ticks(record.pid) is None
    await bench.end()


async def test_a_pod_that_ends_at_once_says_how(tmp_path: Path) -> None:
    """The exit status of a child is known."""
    runtime = ProcessRuntime(node(), tmp_path, ScaledClock(), None)
    bench = Bench(lambda: runtime, model, crash_process(tmp_path))
    bench.begin()
    bench.listen()
    await bench.start(model("a", manner="crash"))
    assert (await bench.reached("a", "gone")).reason == "ended by itself with exit status 7"
    await bench.end()


async def test_a_pod_without_a_usable_record_is_removed(tmp_path: Path) -> None:
    """An agent killed between a start and its note leaves a process that its successor ends."""
    first = ProcessRuntime(node(), tmp_path, ScaledClock(), None)
    await first.start(PodOrder("n1", model("a"), "a-1"))
    (record,) = PodRecords(tmp_path).all()
    assert record.pid is not None
    await first.close()
    PodRecords(tmp_path).put(record.model_copy(update={"pid": None, "start_ticks": None}))
    (tmp_path / "b.json").write_text("{half")
    second = ProcessRuntime(node(), tmp_path, ScaledClock(), None)
    assert await second.adopt() == ()
    pid, ticks = record.pid, record.start_ticks or 0
    await until(lambda: not process_table.is_alive(pid, ticks), "the orphan has ended")
    assert PodRecords(tmp_path).all() == ()
    await second.close()


async def test_a_record_of_another_boot_or_process_names_nobody(tmp_path: Path) -> None:
    """A pid that was given to somebody else is left alone."""
    first = ProcessRuntime(node(), tmp_path, ScaledClock(), None)
    await first.start(PodOrder("n1", model("a"), "a-1"))
    (record,) = PodRecords(tmp_path).all()
    await first.close()
    assert record.pid is not None
    for change in ({"boot": "another"}, {"start_ticks": 1}):
        records = PodRecords(tmp_path / "other")
        records.put(record.model_copy(update=change))
        second = ProcessRuntime(node(), tmp_path / "other", ScaledClock(), None)
        assert await second.adopt() == ()
        await second.close()
        assert process_table.is_alive(record.pid, record.start_ticks or 0)
    kill(record.pid)
