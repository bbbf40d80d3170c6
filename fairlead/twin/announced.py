"""Scenarios in which an operator says what will be: events that come true, and notes of events that never come.

Demand is steady but for events of ten minutes, every twenty minutes, or changes every fifteen, that begin inside
an epoch; each is noted ten minutes before. In the `-untrue` scenarios the notes are there and the events are not. All
numbers are own choices.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fairlead.contracts.notes import Note
from fairlead.twin.courses import Course, Span, orders_of, ranked

Notes = Callable[[Course], tuple[Note, ...]]
"""Equal courses have equal notes."""

FIRST_S, EVERY_S, FOR_S = 690.0, 1200.0, 600.0
"""After the warm-up; 690 s are inside of an epoch of 300 s, as an operator's times are."""

AHEAD_S = 600.0
"""So long before it begins an event is noted."""

EVENTS = 5
"""So many are noted: those of a window of 80 minutes and one more."""

SURGING = (("image", 3.0), ("vision-language", 5.0))
"""`city7-event`: models whose turn it is, and what their rate is multiplied by."""

CHANGE_S = 900.0
"""`catalogue-roomy-switch`: so long until other models are asked for."""

ACTIVE, NEW = 8, 4
"""`catalogue-roomy-…`: models that are asked for, and how many of them others take the place of in `-event`."""

VERSIONS = "ab"
"""`catalogue-roomy-upgrade`: what the ids of the two models of a kind end with (CONTROL §5: each twice)."""

MINUTE_S = 60.0

DIGITS = 2
"""Of rates in words, behind the point, requests a minute."""


@dataclass(frozen=True, slots=True)
class Event:
    """What comes for a while."""

    from_s: float
    until_s: float
    rates: tuple[tuple[str, float], ...]
    """Of all models meanwhile, sorted by id."""
    words: str


def nothing(course: Course) -> tuple[Note, ...]:
    """Return that nobody says anything."""
    return ()


def surging(course: Course) -> Iterator[Span]:
    """Yield city7's usual mix, with much more of one model in each event."""
    return _with(_surges(course), course.scaled(course.mix()))


def surges(course: Course) -> tuple[Note, ...]:
    """Return the notes of these."""
    return _noted(_surges(course))


def quiet(course: Course) -> Iterator[Span]:
    """Yield the first eight models of a fixed order, always."""
    yield Span(0.0, math.inf, _usual(course))


def appearing(course: Course) -> Iterator[Span]:
    """Yield the same, with other models in place of half of them in each event."""
    return _with(_appearances(course), _usual(course))


def news(course: Course) -> tuple[Note, ...]:
    """Return the notes of these."""
    return _noted(_appearances(course))


def rushing(course: Course) -> Iterator[Span]:
    """Yield the usual, and as much work again of one model more in each event."""
    return _with(_rushes(course), _usual(course))


def rushes(course: Course) -> tuple[Note, ...]:
    """Return the notes of these."""
    return _noted(_rushes(course))


def versioned(course: Course) -> Iterator[Span]:
    """Yield the first version of eight kinds of models, always."""
    yield Span(0.0, math.inf, _versions(course, 0))


def upgrading(course: Course) -> Iterator[Span]:
    """Yield the same until the first event; from each event on half of the kinds have their other version."""
    return _with(_upgrades(course), _versions(course, 0))


def upgrades(course: Course) -> tuple[Note, ...]:
    """Return the notes of these."""
    return _noted(_upgrades(course))


def switching(course: Course) -> Iterator[Span]:
    """Yield the usual until the first event, and from then on eight other models after every change."""
    return _with(_changes(course), _usual(course))


def switches(course: Course) -> tuple[Note, ...]:
    """Return the notes of these."""
    return _noted(_changes(course))


def _times(course: Course) -> Iterator[tuple[int, float]]:
    """Yield number and begin of each event, without end."""
    return ((k, course.warm_up_s + FIRST_S + k * EVERY_S) for k in itertools.count())


def _surges(course: Course) -> Iterator[Event]:
    usual = course.scaled(course.mix())
    for k, at_s in _times(course):
        chosen, factor = SURGING[(course.seed + k) % len(SURGING)]
        rates = tuple((model, rate * (factor if model == chosen else 1.0)) for model, rate in usual)
        yield Event(at_s, at_s + FOR_S, rates, f"stadium event, {chosen} {factor:g} times")


def _order(course: Course) -> tuple[int, ...]:
    orders = orders_of(course)
    return orders[course.seed % len(orders)]


def _usual(course: Course) -> tuple[tuple[str, float], ...]:
    return course.scaled(ranked(_order(course), ACTIVE))


def _appearances(course: Course) -> Iterator[Event]:
    """Yield that models beyond the first eight take the place of half of these, in their turn."""
    order, usual = _order(course), dict(_usual(course))
    for k, at_s in _times(course):
        spare = [order[ACTIVE + (NEW * k + j) % (len(order) - ACTIVE)] for j in range(NEW)]
        swapped = [spare.pop(0) if rank % 2 else one for rank, one in enumerate(order[:ACTIVE])]
        rates = course.scaled(ranked((*swapped, *(one for one in order if one not in swapped)), ACTIVE))
        new = {m for m, rate in rates if rate and not usual[m]}
        gone = [m for m, rate in rates if not rate and usual[m]]
        words = f"launch: {_listed(rates, new)}; {' and '.join(gone)} stop"
        yield Event(at_s, at_s + FOR_S, rates, words)


def _rushes(course: Course) -> Iterator[Event]:
    """Yield that a model beyond the first eight, in its turn, is asked for beside them."""
    order, usual = _order(course), _usual(course)
    for k, at_s in _times(course):
        chosen = order[ACTIVE + k % (len(order) - ACTIVE)]
        alone = dict(course.scaled(tuple(float(one == chosen) for one in range(len(order)))))
        rates = tuple((model, rate + alone[model]) for model, rate in usual)
        words = f"contest: {_listed(rates, {model for model, rate in alone.items() if rate})}"
        yield Event(at_s, at_s + FOR_S, rates, words)


def _versions(course: Course, upgrades: int) -> tuple[tuple[str, float], ...]:
    """Return the rates after so many upgrades, of the kinds at even places of an order and of those at odd in turn."""
    ids = [model.id for model in course.cluster.models]
    order = []
    for place, kind in enumerate(dict.fromkeys(ids[one][:-1] for one in _order(course))):
        done = (upgrades + 1 - place % 2) // 2
        order.append(ids.index(kind + VERSIONS[done % len(VERSIONS)]))
    return course.scaled(ranked((*order, *(one for one in range(len(ids)) if one not in order)), ACTIVE))


def _upgrades(course: Course) -> Iterator[Event]:
    for k, at_s in _times(course):
        before, rates = dict(_versions(course, k)), _versions(course, k + 1)
        new = {model for model, rate in rates if rate and not before[model]}
        gone = [model for model, rate in rates if before[model] and not rate]
        words = f"upgrade: {_listed(rates, new)}; {' and '.join(gone)} stop"
        yield Event(at_s, at_s + EVERY_S, rates, words)


def _changes(course: Course) -> Iterator[Event]:
    """Yield that the models of another fixed order are asked for, one order after the other."""
    orders = orders_of(course)
    for k in itertools.count():
        at_s = course.warm_up_s + FIRST_S + k * CHANGE_S
        rates = course.scaled(ranked(orders[(course.seed + 1 + k) % len(orders)], ACTIVE))
        yield Event(
            at_s, at_s + CHANGE_S, rates, f"fair: {_listed(rates, {m for m, rate in rates if rate})}, others stop"
        )


def _listed(rates: tuple[tuple[str, float], ...], which: set[str]) -> str:
    """Return rates in an operator's words."""
    return ", ".join(f"{m} {round(MINUTE_S * rate, DIGITS):g} a minute" for m, rate in rates if m in which)


def _with(events: Iterator[Event], usual: tuple[tuple[str, float], ...]) -> Iterator[Span]:
    """Yield what is usual, and each event in its time."""
    at_s = 0.0
    for event in events:
        if at_s < event.from_s:
            yield Span(at_s, event.from_s, usual)
        yield Span(event.from_s, event.until_s, event.rates)
        at_s = event.until_s


def _noted(events: Iterator[Event]) -> tuple[Note, ...]:
    return tuple(
        Note(
            id=f"note-{k}",
            text=event.words,
            from_s=event.from_s,
            until_s=event.until_s,
            by="scenario",
            created_at_s=max(0.0, event.from_s - AHEAD_S),
        )
        for k, event in enumerate(itertools.islice(events, EVENTS))
    )
