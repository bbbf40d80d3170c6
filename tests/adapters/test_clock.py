"""One suite for the clock that people live by and for the one that tests move by hand."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.adapters.clock import ScaledClock, VirtualClock
from fairlead.contracts.ports import Clock

SPEED = 500.0


@dataclass(frozen=True, slots=True)
class Driven:
    """A clock and what makes its time pass by so many domain seconds."""

    clock: Clock
    go_on: Callable[[float], Awaitable[None]]


def scaled() -> Driven:
    """Return the real clock, fast enough that a minute passes in a blink."""
    clock = ScaledClock(SPEED, origin_s=time.time())
    return Driven(clock, clock.sleep_for)


def virtual() -> Driven:
    """Return the fake."""
    clock = VirtualClock(now_s=50.0, speed=SPEED)
    return Driven(clock, clock.advance)


EACH = pytest.mark.parametrize("make", [scaled, virtual])


@EACH
async def test_sleepers_wake_in_order_and_never_early(make: Callable[[], Driven]) -> None:
    """Whoever sleeps until an instant finds that it has come, and shorter sleeps end first."""
    driven = make()
    start_s = driven.clock.now_s()
    woken: list[float] = []

    async def sleep(for_s: float) -> None:
        await driven.clock.sleep_until(start_s + for_s)
        assert driven.clock.now_s() >= start_s + for_s
        woken.append(for_s)

    async with asyncio.TaskGroup() as group:
        for for_s in (40.0, 10.0, 25.0):
            group.create_task(sleep(for_s))
        await asyncio.sleep(0)
        await driven.go_on(60.0)
    assert woken == [10.0, 25.0, 40.0]


@EACH
async def test_sleep_for_counts_from_now(make: Callable[[], Driven]) -> None:
    """A sleep lasts at least as long as was asked."""
    driven = make()
    before_s = driven.clock.now_s()
    sleeper = asyncio.ensure_future(driven.clock.sleep_for(20.0))
    await asyncio.sleep(0)
    await driven.go_on(30.0)
    await sleeper
    assert driven.clock.now_s() - before_s >= 20.0 - 1e-3 * SPEED


@EACH
async def test_the_past_is_not_waited_for(make: Callable[[], Driven]) -> None:
    """An instant that has passed, or a negative duration, returns without anybody moving time."""
    driven = make()
    async with asyncio.timeout(5):
        await driven.clock.sleep_until(driven.clock.now_s() - 100.0)
        await driven.clock.sleep_for(-1.0)


@EACH
async def test_a_cancelled_sleeper_is_forgotten(make: Callable[[], Driven]) -> None:
    """Cancelling a sleep disturbs no other."""
    driven = make()
    start_s = driven.clock.now_s()
    gone, stays = (asyncio.ensure_future(driven.clock.sleep_until(start_s + 20.0)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await driven.go_on(40.0)
    await stays
    assert gone.cancelled()


@EACH
async def test_time_runs_forward_and_wall_time_with_it(make: Callable[[], Driven]) -> None:
    """Neither goes back; the domain is ahead of the wall by the speed."""
    driven = make()
    assert driven.clock.speed == SPEED
    domain_s, wall_s = driven.clock.now_s(), driven.clock.wall_s()
    await driven.go_on(50.0)
    assert driven.clock.now_s() >= domain_s + 50.0 - 1e-3 * SPEED
    assert driven.clock.wall_s() > wall_s


@given(st.floats(0.1, 1000), st.floats(0, 2e9))
def test_speed_one_is_the_wall_and_the_origin_is_common(speed: float, origin_s: float) -> None:
    """At speed 1 the domain is the real time; two processes with one origin and speed agree."""
    assert ScaledClock(1.0, origin_s).now_s() == pytest.approx(time.time(), abs=1.0)
    one, other = ScaledClock(speed, origin_s), ScaledClock(speed, origin_s)
    assert one.now_s() <= other.now_s()
