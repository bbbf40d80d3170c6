"""How a loop behaves while something outside is away."""

import urllib.request

import pytest
import structlog
from prometheus_client import CollectorRegistry, Counter

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.outage import Outage, describe, persist
from fairlead.adapters.prometheus import exposed
from fairlead.contracts.errors import ConfigError, StoreUnavailable


def counter() -> Counter:
    """Return a counter of its own registry."""
    return Counter("failures", "In a test", registry=CollectorRegistry())


class Hurried(VirtualClock):
    """A clock that notes how long it was asked to sleep, and does not."""

    def __init__(self, speed: float = 1.0) -> None:
        super().__init__(0.0, speed)
        self.slept_s: list[float] = []

    async def sleep_for(self, for_s: float) -> None:
        """Return at once."""
        self.slept_s.append(for_s)


async def test_waits_double_up_to_a_bound_and_are_of_the_wall() -> None:
    """At speed 30 a wait of 0.05 wall seconds is 1.5 of the domain."""
    clock = Hurried(speed=30.0)
    outage = Outage("it", clock, counter())
    with structlog.testing.capture_logs() as logs:
        for _ in range(7):
            await outage.failed(StoreUnavailable("away"))
        assert outage.present
        outage.over()
        outage.over()
    assert [s / 30.0 for s in clock.slept_s] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    assert [entry["log_level"] for entry in logs] == ["warning", "info"]
    assert not outage.present


async def test_an_unexpected_error_is_logged_with_where_it_was() -> None:
    """As text: the place of the mistake, not the values of all variables."""
    outage = Outage("it", Hurried(), counter())
    try:
        [].pop()
    except IndexError as error:
        with structlog.testing.capture_logs() as logs:
            await outage.failed(error)
    assert logs[0]["log_level"] == "error"
    assert "test_outage.py" in logs[0]["trace"]


async def test_what_is_tried_until_it_is_there_is_given_back() -> None:
    """Only absence is waited out: a mistake in the configuration is not."""
    clock = Hurried()
    count = counter()
    answers: list[Exception | str] = [StoreUnavailable("away"), StoreUnavailable("away"), "store"]

    async def attempt() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await persist(Outage("it", clock, count), attempt) == "store"
    assert len(clock.slept_s) == 2
    answers.append(ConfigError("no URI"))
    with pytest.raises(ConfigError):
        await persist(Outage("it", clock, count), attempt)


def test_an_error_is_described_with_its_causes() -> None:
    """Outermost first, and only those that are not hidden."""
    error = StoreUnavailable("no answer")
    error.__cause__ = TimeoutError()
    assert describe(error) == "StoreUnavailable: no answer <- TimeoutError"
    hidden = StoreUnavailable("no answer")
    hidden.__context__, hidden.__suppress_context__ = KeyError("n1"), True
    assert describe(hidden) == "StoreUnavailable: no answer"


def test_metrics_answer_on_their_port_while_the_context_lasts() -> None:
    """On the address that was asked for; nothing listens without a port."""
    registry = CollectorRegistry()
    Counter("fairlead_things", "In a test", registry=registry).inc(3)
    with exposed(registry, None) as port:
        assert port is None
    with exposed(registry, 0) as port, urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert b"fairlead_things_total 3.0" in answer.read()
    other = "127.0.0.2"
    with (
        exposed(registry, 0, other) as port,
        urllib.request.urlopen(f"http://{other}:{port}/metrics", timeout=5) as answer,
    ):
        assert b"fairlead_things_total 3.0" in answer.read()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)
